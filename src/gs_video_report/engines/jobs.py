"""What engines run in compute processes: glue between `media/` and the artifact store.

Each takes and returns plain JSON-able values (paths, numbers, dicts), so results go to the journal
unchanged. Heavy packages are imported inside, in the child only.
Never: knows a batch, opens the database.
"""

from __future__ import annotations

from dataclasses import asdict
from pathlib import Path
from typing import Any


def fingerprint(path: str) -> str:
    """SHA-256 of the whole content of `path`, hexadecimal."""
    from gs_video_report.media.fingerprint import fingerprint as compute

    return compute(path)


def probe(path: str) -> dict[str, Any]:
    """`media.probe.probe` as a dict."""
    from gs_video_report.media.probe import probe as run

    return asdict(run(path))


def extract_audio(path: str, out_path: str, track: int | None) -> dict[str, Any]:
    """Decode one audio track to raw s16le 16 kHz mono; the dict of `AudioTrack`."""
    from gs_video_report.media.audio import extract_audio as run

    return asdict(run(path, out_path, track))


def speech_params() -> dict[str, dict[str, Any]]:
    """Parameters of planning (`vad`) and recognition (`asr`): part of the steps' keys."""
    from gs_video_report.media.speech.asr import AsrParams
    from gs_video_report.media.speech.vad import VadParams

    return {"vad": asdict(VadParams()), "asr": asdict(AsrParams())}


def plan_speech(pcm_path: str) -> dict[str, Any]:
    """`chunks` as (start, end) in samples of 16 kHz, empty when there is no speech; and `speech`,
    where a voice is heard for certain, as (start_s, end_s)."""
    from gs_video_report.media.speech.vad import VadParams
    from gs_video_report.media.speech.vad import plan_speech as run

    plan = run(pcm_path, VadParams())
    return {"chunks": [(c.start, c.end) for c in plan.chunks], "speech": list(plan.speech)}


def detect_language(
    model_dir: str, pcm_path: str, chunks: list[tuple[int, int]]
) -> tuple[str, float]:
    """Spoken language (ISO 639-1) and its probability."""
    from gs_video_report.media.speech.asr import detect_language as run

    return run(model_dir, pcm_path, chunks)


def transcribe_chunk(
    model_dir: str, pcm_path: str, start: int, end: int, language: str, alone: bool, guessed: bool
) -> dict[str, Any]:
    """Text of one chunk with absolute times; the dict of `ChunkText`.

    `alone`: there is no other chunk. `guessed`: nobody told the language.
    """
    from gs_video_report.media.speech.asr import AsrParams
    from gs_video_report.media.speech.asr import transcribe_chunk as run

    how = {"alone": alone, "guessed": guessed}
    return asdict(run(model_dir, pcm_path, start, end, language, AsrParams(), **how))


def hear_only_chunk(
    model_dir: str, pcm_path: str, start: int, end: int
) -> tuple[str, float, dict[str, Any]]:
    """Language, its probability and text of a recording's only chunk.

    In one call, because the same process need not encode the sound twice.
    """
    language, probability = detect_language(model_dir, pcm_path, [(start, end)])
    text = transcribe_chunk(model_dir, pcm_path, start, end, language, alone=True, guessed=True)
    return language, probability, text


def relisten_params() -> dict[str, Any]:
    """Parameters of the second hearing: part of the step's key."""
    from gs_video_report.media.speech.relisten import RelistenParams

    return asdict(RelistenParams())


def relisten_chunk(
    model_dir: str,
    pcm_path: str,
    start: int,
    end: int,
    language: str,
    present: dict[str, Any],
    only_language: bool,
    foreign: bool = False,
) -> dict[str, Any]:
    """Hear one chunk again and decide which text to keep; the dict of `Rehearing`."""
    from gs_video_report.media.speech.relisten import relisten_chunk as run

    where = (model_dir, pcm_path, start, end, language, present, only_language)
    return asdict(run(*where, foreign=foreign))


def find_slides(path: str, out_dir: str, cache_root: str) -> dict[str, Any]:
    """Find the slides, put their images into the artifact store; the dict of `SlideFind`.

    Each slide gets `key`, its name in the artifact store.
    """
    from gs_video_report.cache import store_file
    from gs_video_report.media.slides.find import SlideParams
    from gs_video_report.media.slides.find import find_slides as run

    found = asdict(run(path, out_dir, SlideParams()))
    for slide in found["slides"]:
        slide["key"] = store_file(cache_root, str(Path(out_dir) / slide["file"]), ".jpg")
    return found


def read_slide(image_path: str, language: str) -> dict[str, Any]:
    """Text on one slide image; the dict of `SlideText`."""
    from gs_video_report.media.ocr import read_slide as run

    return asdict(run(image_path, language))


def read_subtitles(path: str, kind: str, index: int) -> dict[str, Any]:
    """Parse a sidecar file (`kind == "sidecar"`) or embedded stream `index` of `path`."""
    from gs_video_report.media.subtitles import read as subtitles

    if kind == "sidecar":
        file = Path(path)
        return asdict(subtitles.parse_subtitles(file.read_bytes(), file.suffix.lower()))
    return asdict(subtitles.read_embedded(path, index))


def resolve_model(name: str, cache_root: str) -> dict[str, Any]:
    """Find, join and verify the speech model; the dict of `SpeechModel`."""
    from gs_video_report.media.speech.asr_models import resolve_model as run

    return {
        k: str(v) if isinstance(v, Path) else v
        for k, v in asdict(run(name, Path(cache_root))).items()
    }


def compose(payload: dict[str, Any]) -> dict[str, Any]:
    """Extractive chapters, summary and key terms; see `engines.compose` for the payload."""
    from gs_video_report.report.model import Segment, Slide
    from gs_video_report.text.analysis import analyze

    segments = [Segment(start, end, text) for start, end, text in payload["segments"]]
    slides = [
        Slide(t, end, "", 0, 0, text=text, title=title, kind=kind)
        for t, end, title, text, kind in payload["slides"]
    ]
    chapters = tuple((a, b, title) for a, b, title in payload["chapters"])
    result = analyze(
        segments,
        slides,
        payload["language"],
        payload["duration_s"],
        container_chapters=chapters,
    )
    return asdict(result)

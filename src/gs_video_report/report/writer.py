"""One report in all asked formats: render to bytes (pure), then write each file atomically.

Truth: the JSON is the marker of completeness and is written last; a reader who finds it finds
every other file of the report whole.
Writes: `<stem>.<ext>` in the report's folder, nothing else.
Raises: ConfigError for an unknown format; TemplateError from layouts; DiskFullError and
OutputNotWritable when writing.
"""

from __future__ import annotations

import hashlib
import os
from collections.abc import Callable, Iterable, Mapping
from pathlib import Path

from gs_video_report.batch.data_models import OutputFile
from gs_video_report.errors import ConfigError
from gs_video_report.report.model import Slide, VideoReport
from gs_video_report.report.paths import (
    DEFAULT_PATTERN,
    output_paths,
    relative_source,
    stem_of,
)
from gs_video_report.templates.loader import Template

__all__ = [
    "DEFAULT_PATTERN",
    "FORMATS",
    "check_formats",
    "kind_of",
    "names_of",
    "output_paths",
    "relative_source",
    "render_all",
    "stem_of",
    "write_report",
]

FORMATS = ("md", "html", "srt", "vtt", "json", "chapters")
_ALIASES = {"markdown": "md", "htm": "html", "webvtt": "vtt", "youtube": "chapters"}
_KINDS = {".json": "json", ".md": "markdown", ".html": "html", ".srt": "srt", ".vtt": "vtt"}
CHAPTERS_SUFFIX = ".chapters.txt"

ImageSource = Callable[[Slide], bytes | None]
"""Bytes of a slide's picture (JPEG, PNG or WebP); None when there is none any more."""


def check_formats(formats: Iterable[str]) -> tuple[str, ...]:
    """Known format names in the fixed order of `FORMATS`, aliases resolved, each once.

    Raises: ConfigError for an unknown one.
    """
    wanted = {_ALIASES.get(f.strip().lower(), f.strip().lower()) for f in formats}
    unknown = sorted(wanted - set(FORMATS))
    if unknown:
        raise ConfigError(f"unknown format {unknown[0]!r}", hint=f"known: {', '.join(FORMATS)}")
    return tuple(f for f in FORMATS if f in wanted)


def render_all(
    report: VideoReport,
    template: Template,
    formats: Iterable[str],
    stem: str,
    image: ImageSource | None = None,
) -> dict[str, bytes]:
    """File names (relative to the report's folder) and contents, in the order of writing.

    Markdown and JSON name pictures by `slide.image`; HTML holds the bytes that `image` gives.
    `<stem>.chapters.txt` comes with any format besides JSON, if YouTube would accept the list.
    Subtitles of a translation are `<stem>.<language>.srt`. No speech: no subtitle files.

    Raises: ConfigError, TemplateError, and what `image` raises.
    """
    wanted = check_formats(formats)
    files: dict[str, bytes] = {}
    if "md" in wanted:
        from gs_video_report.report.markdown import to_markdown

        files[f"{stem}.md"] = _encode(to_markdown(report, template))
    if "html" in wanted:
        from gs_video_report.report.html import to_html

        files[f"{stem}.html"] = to_html(report, template, image)
    files |= _subtitles(report, template, wanted, stem)
    if set(wanted) - {"json"}:
        files |= _chapters(report, stem)
    if "json" in wanted:
        from gs_video_report.report.json_out import to_json

        files[f"{stem}.json"] = to_json(report)
    return files


def names_of(
    report: VideoReport, template: Template, formats: Iterable[str], stem: str
) -> tuple[str, ...]:
    """Names of the files that `render_all` makes, in its order. Raises: ConfigError."""
    wanted = check_formats(formats)
    names = [f"{stem}.{kind}" for kind in ("md", "html") if kind in wanted]
    for name in _subtitle_stems(report, template, stem):
        names += [f"{name}.{kind}" for kind in ("srt", "vtt") if kind in wanted]
    if set(wanted) - {"json"}:
        names += _chapters(report, stem)
    return (*names, f"{stem}.json") if "json" in wanted else tuple(names)


def with_json(formats: Iterable[str]) -> tuple[str, ...]:
    """The formats and JSON, which every report has."""
    return (*(f for f in formats if f != "json"), "json")


def output_on_disk(path: Path, output_dir: Path, kind: str) -> OutputFile:
    """The entry of a file that is there, with its size and SHA-256.

    Raises: OSError (stat), FileMissingError, FileUnreadableError.
    """
    from gs_video_report.files import sha256_file

    name = Path(os.path.relpath(path, output_dir)).as_posix()
    return OutputFile(name, kind, path.stat().st_size, sha256_file(path))


def write_report(
    output_dir: Path, rel_dir: str, stem: str, files: Mapping[str, bytes]
) -> tuple[OutputFile, ...]:
    """Write the files of one report below `output_dir`; JSON last. Returns what was written.

    Raises: DiskFullError, OutputNotWritable; files that are complete stay.
    """
    from gs_video_report.files import write_atomic

    folder = output_dir / rel_dir if rel_dir else output_dir
    written: list[OutputFile] = []
    for name in sorted(files, key=lambda n: (n == f"{stem}.json", n)):
        data = files[name]
        write_atomic(folder / name, data)
        path = f"{rel_dir}/{name}" if rel_dir else name
        digest = hashlib.sha256(data).hexdigest()
        written.append(OutputFile(path, kind_of(name), len(data), digest))
    return tuple(written)


def kind_of(name: str) -> str:
    """The `OutputFile.kind` of a file of a report."""
    if name.endswith(CHAPTERS_SUFFIX):
        return "chapters"
    return _KINDS.get(Path(name).suffix, "asset")


def _subtitles(
    report: VideoReport, template: Template, wanted: tuple[str, ...], stem: str
) -> dict[str, bytes]:
    if not {"srt", "vtt"} & set(wanted):
        return {}
    from gs_video_report.report.subtitles_out import make_cues, to_srt, to_vtt

    names = {
        name: make_cues(report.segments, translated=translated)
        for name, translated in _subtitle_stems(report, template, stem).items()
    }
    writers = {"srt": to_srt, "vtt": to_vtt}
    return {
        f"{name}.{kind}": _encode(writers[kind](cues))
        for name, cues in names.items()
        for kind in ("srt", "vtt")
        if kind in wanted
    }


def _subtitle_stems(report: VideoReport, template: Template, stem: str) -> dict[str, bool]:
    """Stem of each subtitle file, and whether it is the translation; empty without speech."""
    if not any(s.text.strip() for s in report.segments):
        return {}
    stems = {stem: False}
    if any(s.translation for s in report.segments):
        language = "translated" if template.language == "source" else template.language
        stems[f"{stem}.{language}"] = True
    return stems


def _chapters(report: VideoReport, stem: str) -> dict[str, bytes]:
    from gs_video_report.report.subtitles_out import youtube_chapters

    text = youtube_chapters(report.chapters, report.media.duration_s)
    return {} if text is None else {f"{stem}{CHAPTERS_SUFFIX}": _encode(text)}


def _encode(text: str) -> bytes:
    return text.encode("utf-8", "replace")

"""Hear doubtful stretches of a report that a remote engine wrote again, on this machine.

Truth: the journal's `rehear` steps, under the text they are about: a report that is made again from
the answers in the journal gets the same better text (`apply`), and so does every other report with
these words. What may replace a text is decided as in `media.relisten`; a model that tells no
certainty of its words counts as sure as the recogniser usually is (`ASSUMED_LOGPROB`).
True here: what depends on replaced words is looked at again: statements are proved anew, and key
terms counted anew. Chapters and statements themselves stay as the model wrote them.
Never: sends anything, writes a report, hears a stretch a third time.
Raises: as `stages`.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import replace
from typing import Any

from gs_video_report.engines import jobs, second_hearing, stages
from gs_video_report.engines.base import TaskContext
from gs_video_report.engines.llm import answer as answers
from gs_video_report.engines.llm import citations
from gs_video_report.errors import PermanentError
from gs_video_report.report import quality_speech
from gs_video_report.report.model import KeyTerm, Notice, Segment, VideoReport

STEP, STEP_VERSION = "rehear", 1
ASSUMED_LOGPROB = -0.35
"""Of words whose writer tells no certainty: what the recogniser's own good passages have."""
MAX_ROUNDS = 8
"""A text that was replaced may be in doubt again, elsewhere."""
NOTICE = "heard_again_here"
_LONGEST_WORD = 12
"""Longer ones are text without spaces, which is cut into letters."""


async def apply(ctx: TaskContext, report: VideoReport) -> VideoReport:
    """`report` with all better texts that were found for its words before; runs nothing."""
    known = ctx.known
    if known is None:
        return report
    for _ in range(MAX_ROUNDS):
        decided = await known(STEP, _params(report))
        if not decided:
            break
        before, report = report, patched(report, decided)
        if report.segments == before.segments:
            break
    return report


async def decide(ctx: TaskContext, report: VideoReport, model: Mapping[str, Any]) -> VideoReport:
    """Hear what is in doubt in `report` again; the report with every better text in its place.

    Args:
        model: the speech model, as `jobs.resolve_model` gives it.
    """
    await stages.probe(ctx)
    track = await stages.audio(ctx)
    pcm = stages._pcm_path(ctx, track["track_index"])
    plan, speech = await stages._plan(ctx, track, pcm)
    doubtful = doubtful_parts(report, plan, speech)
    guess = report.language_probability
    is_guess = guess is not None and guess < quality_speech.SURE_LANGUAGE
    parts = list(range(len(plan))) if is_guess and not _heard_again(report) else doubtful
    if not parts:
        raise PermanentError(
            "no voice is heard on this machine in the stretches that are in doubt",
            hint="look at them: gsvr batch quality names their times",
        )
    params, language = _params(report), _language(ctx, report, model)
    await stages._samples(ctx, track, pcm)  # once, before several chunks want it
    done = 0

    async def one(part: int) -> dict[str, Any]:
        nonlocal done
        start, end = plan[part]

        async def run() -> Any:
            path = await stages._samples(ctx, track, pcm)
            present = text_of_chunk(report.segments, start, end)
            where = (
                str(model["path"]),
                path,
                start,
                end,
                language,
                present,
                part not in doubtful,
                True,
            )
            heard = await stages.compute(ctx, jobs.relisten_chunk, *where)
            return {"start": start, "end": end, "model": model["name"], **heard}

        value: dict[str, Any] = await ctx.step(STEP, run, part=part, params=params)
        done += 1
        ctx.progress("transcribe", done, len(parts))
        return value

    values = await stages.bounded((one(part) for part in parts), limit=stages.width(ctx))
    return patched(report, dict(zip(parts, values, strict=True)))


def doubtful_parts(
    report: VideoReport,
    plan: Sequence[tuple[int, int]],
    speech: tuple[tuple[float, float], ...],
) -> list[int]:
    """Indices of the chunks of `plan` (samples) in doubt that were not heard again yet. Pure.

    Args:
        speech: where a voice is heard, seconds.
    """
    spans = second_hearing.spans_in_doubt(report.segments, speech, report.language)
    heard = [(s["start_s"], s["end_s"]) for s in _heard_again(report)]
    rate = stages.SAMPLE_RATE

    def touches(part: tuple[int, int], places: Sequence[tuple[float, float]]) -> bool:
        return any(a < part[1] / rate and part[0] / rate < b for a, b in places)

    return [n for n, part in enumerate(plan) if touches(part, spans) and not touches(part, heard)]


def text_of_chunk(segments: Sequence[Segment], start: int, end: int) -> dict[str, Any]:
    """What stands in samples [start, end), as the recogniser would tell it. Pure."""
    start_s, end_s = start / stages.SAMPLE_RATE, end / stages.SAMPLE_RATE
    told: list[dict[str, Any]] = []
    texts: list[str] = []
    for segment in segments:
        words = [w for w in _words(segment) if start_s <= (w[0] + w[1]) / 2 < end_s]
        if not words:
            continue
        texts.append("".join(word[2] for word in words).strip())
        logprob = ASSUMED_LOGPROB if segment.confidence is None else segment.confidence
        told.append({
            "start_s": max(start_s, words[0][0]),
            "end_s": min(end_s, words[-1][1]),
            "text": "".join(word[2] for word in words).strip(),
            "avg_logprob": logprob,
            "words": [
                {"start_s": max(start_s, a), "end_s": min(end_s, b), "text": text}
                for a, b, text in words
            ],
        })  # fmt: skip
    return {"text": " ".join(texts), "segments": told}


def _words(segment: Segment) -> Iterator[tuple[float, float, str]]:
    """(start_s, end_s, text) of each; without times of their own they share it evenly."""
    if segment.words:
        yield from ((w.start_s, w.end_s, w.text) for w in segment.words)
        return
    words = [f" {word}" for word in segment.text.split()]
    if any(len(word) > _LONGEST_WORD for word in words) and not segment.text.isascii():
        words = list(segment.text)
    each = (segment.end_s - segment.start_s) / max(1, len(words))
    for n, word in enumerate(words):
        at = segment.start_s + n * each
        yield at, at + each, word


# --- the report that follows ---------------------------------------------------------------------


def patched(report: VideoReport, decided: Mapping[int, Mapping[str, Any]]) -> VideoReport:
    """`report` with what was decided about it; pure.

    Args:
        decided: values of the `rehear` steps.
    """
    values = sorted(decided.values(), key=lambda value: int(value["start"]))
    segments = report.segments
    for value in values:
        if value["kept"] is not None:
            segments = _replaced(segments, value)
    told = [second_hearing.told(v["start"], v["end"], dict(v)) for v in values]
    made = report.provenance
    heard = {"heard_again": [*_heard_again(report), *told]}
    report = replace(report, provenance=replace(made, parameters={**made.parameters, **heard}))
    if segments == report.segments:
        return report
    return _proved(replace(report, segments=segments), str(values[0]["model"]), _count(values))


def _replaced(segments: Sequence[Segment], value: Mapping[str, Any]) -> tuple[Segment, ...]:
    """The lines whose middle lies in the chunk give way to what was heard there."""
    start_s, end_s = value["start"] / stages.SAMPLE_RATE, value["end"] / stages.SAMPLE_RATE
    others = [s for s in segments if not start_s <= (s.start_s + s.end_s) / 2 < end_s]
    return tuple(sorted([*others, *stages.segments_of([value["kept"]])], key=lambda s: s.start_s))


def _proved(report: VideoReport, model: str, replaced: int) -> VideoReport:
    """Statements and key terms looked at again, with the new words."""
    known = citations.sources(report.segments, report.slides)
    summary = citations.check_points(report.summary, known)
    sections = citations.check_sections(report.sections, known)
    proofs = citations.count_proofs(summary, *(s.items for s in sections))
    notices = [n for n in report.notices if n.code not in ("unproved", NOTICE)]
    places = "1 stretch was" if replaced == 1 else f"{replaced} stretches were"
    notices.append(
        Notice(
            NOTICE,
            f"In the transcript {places} heard again and replaced on this machine, with the speech "
            f"model {model}; chapters and statements are those of the first text.",
        )
    )
    if proofs.proved < proofs.total:
        missing = proofs.total - proofs.proved
        message = (
            f"{missing} of {proofs.total} statements give no quote that occurs in the "
            "transcript or on a slide; they are marked."
        )
        notices.append(Notice("unproved", message, "warning"))
    return replace(
        report,
        summary=summary,
        sections=sections,
        key_terms=_counted(report),
        notices=tuple(notices),
    )


def _counted(report: VideoReport) -> tuple[KeyTerm, ...]:
    names = [one.term for one in report.key_terms]
    found = answers.key_terms(names, report.segments, report.slides)
    pairs = zip(report.key_terms, found, strict=True)
    return tuple(replace(new, score=old.score) for old, new in pairs)


def _count(values: Sequence[Mapping[str, Any]]) -> int:
    return sum(value["kept"] is not None for value in values)


def _heard_again(report: VideoReport) -> list[dict[str, Any]]:
    return list(report.provenance.parameters.get("heard_again") or ())


def _params(report: VideoReport) -> dict[str, Any]:
    """Key of the decisions: the words they are about, whoever wrote them."""
    words = [[round(s.start_s, 2), round(s.end_s, 2), s.text] for s in report.segments]
    return {"v": STEP_VERSION, "params": jobs.relisten_params(), "text": stages.digest(words)}


def _language(ctx: TaskContext, report: VideoReport, model: Mapping[str, Any]) -> str:
    """What the recogniser is told; the report's own language, or the one that was asked for."""
    wanted = str(ctx.options.get("language", "auto"))
    if not model["multilingual"]:
        return "en"
    return report.language or ("en" if wanted == "auto" else wanted)

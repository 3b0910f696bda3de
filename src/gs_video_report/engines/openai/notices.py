"""What the reader of a report should know of the model that wrote it. Pure."""

from __future__ import annotations

from collections.abc import Sequence

from gs_video_report.engines.llm import citations, prompts
from gs_video_report.engines.openai.material import Material, Written
from gs_video_report.engines.openai.options import Model, OpenAIOptions
from gs_video_report.report.model import Notice, VideoReport
from gs_video_report.templates.loader import Template


def notices_of(
    template: Template,
    model: Model,
    options: OpenAIOptions,
    report: VideoReport,
    written: Written,
    material: Material,
) -> list[Notice]:
    """All notices on what was written from `material`, the most important first."""
    if not written.parts:
        return [
            Notice("nothing_to_write", f"Nothing was said or shown that {model.name} could use.")
        ]
    notices = [_who_wrote(written, material, model.name, options.host)]
    notices += _proof_notice(report)
    notices += _left_out(written, model.name)
    notices += _undone(template)
    if template.language != "source" and material.segments:
        notices += _translation_notice(template, model.name, written, material)
    if model.price is None and not options.is_local:
        notices.append(
            Notice("price_unknown", f"The price of {model.name} is not known; no cost is counted.")
        )
    return notices


def _translation_notice(
    template: Template, model: str, written: Written, material: Material
) -> Sequence[Notice]:
    target = template.language
    if prompts.same_language(material.language, target):
        return ()
    lines = sum(bool(s.text.strip()) for s in material.segments)
    missing = lines - len(written.translations)
    name = prompts.language_name(target)
    if missing:
        message = f"{missing} of {lines} lines were not translated into {name}."
        return (Notice("not_translated", message, "warning"),)
    message = f"The transcript was translated into {name} by {model}."
    return (Notice("translated", message),)


def _who_wrote(written: Written, material: Material, model: str, host: str) -> Notice:
    what = ", ".join(written.used).replace("_", " ") or "nothing"
    seen = written.pictures
    sources = ["the transcript"] if material.segments else []
    if any(slide.text for slide in material.slides):
        sources.append("the texts on the slides")
    if seen:
        sources.append("one picture" if seen == 1 else f"{seen} pictures")
    *first, last = sources or ["nothing"]
    given = f"{', '.join(first)} and {last}" if first else last
    parts = f", in {written.parts} parts" if written.parts > 1 else ""
    return Notice("written_by_model", f"Written by {model} at {host} from {given}{parts}: {what}.")


def _undone(template: Template) -> list[Notice]:
    """A text model gets the transcript and must not change it."""
    undone = [what for what in template.needs_llm if what.lower().startswith("corrected")]
    if not undone:
        return []
    message = f"Not done by the openai engine, which keeps the transcript: {', '.join(undone)}."
    return [Notice("not_done", message)]


def _proof_notice(report: VideoReport) -> list[Notice]:
    count = citations.count_proofs(report.summary, *(s.items for s in report.sections))
    unproved = count.total - count.proved
    if not unproved:
        return []
    message = (
        f"The quotes of {unproved} of {count.total} statements were not found in the recording; "
        "these statements are marked as unproved."
    )
    return [Notice("unproved", message, "warning" if unproved * 2 > count.total else "info")]


def _left_out(written: Written, model: str) -> list[Notice]:
    notices = []
    if not written.answer.complete:
        message = f"The answer of {model} was cut off; some lists may be incomplete."
        notices.append(Notice("answer_cut", message, "warning"))
    names = ("summary", "chapters", "key_terms")
    missing = [n.replace("_", " ") for n in names if n not in written.used]
    if missing:
        what = " and no usable ".join(missing)
        message = f"{model} gave no usable {what}; taken from the words themselves."
        notices.append(Notice("not_written", message))
    return notices

"""Read SRT, WebVTT and ASS/SSA text into raw cues, forgiving what real files get wrong. Pure."""

from __future__ import annotations

import re
from collections.abc import Iterator

from gs_video_report.media.subtitles.cues import Cue
from gs_video_report.media.subtitles.text import plain

_TIME = r"(?:(\d{1,6})\s?[:：]\s?)?(\d{1,3})\s?[:：]\s?(\d{1,2})(?:\s?[.,:;，。]\s?(\d{1,9}))?"
_TIMING = re.compile(rf"^\s*{_TIME}\s*(?:-{{1,2}}|—|–)\s?>\s*(?:{_TIME})?")
_NUMBER = re.compile(r"^\s*\d+\s*$")
_VTT_BLOCK = re.compile(r"^(?:NOTE|STYLE|REGION)\b")
_ASS_TIME = re.compile(r"^\s*(\d+):(\d{1,2}):(\d{1,2})(?:[.,:](\d{1,3}))?\s*$")
_ASS_EVENT = re.compile(r"^\s*Dialogue\s*:", re.IGNORECASE | re.MULTILINE)
_ASS_FIELDS = ("layer", "start", "end", "style", "name", "marginl", "marginr", "marginv", "effect")


def read_cues(text: str, format_hint: str = "") -> list[Cue]:
    """Cues in file order, markup gone, nothing repaired; empty when there are none.

    `format_hint`: `srt`, `vtt`, `ass`, `ssa` or "", with or without a dot; the content decides
    when it disagrees. An end that is missing is the start.
    """
    ass = format_hint.lower().lstrip(".") in ("ass", "ssa")
    if _ASS_EVENT.search(text) and (ass or "-->" not in text):
        return list(_ass(text))
    return list(_timed_blocks(text))


# --- SRT and WebVTT ----------------------------------------------------------------------------


def _timed_blocks(text: str) -> Iterator[Cue]:
    lines = text.replace("\r\n", "\n").replace("\r", "\n").split("\n")
    marks = [(i, m) for i, line in enumerate(lines) if (m := _TIMING.match(line))]
    ends: list[int | None] = [*(i for i, _ in marks[1:]), None]
    for (i, match), following in zip(marks, ends, strict=False):
        body = _body(lines[i + 1 : following], last=following is None)
        start = _seconds(match.groups()[:4])
        end = _seconds(match.groups()[4:]) if match.group(6) else start
        content, speaker = plain("\n".join(body))
        yield Cue(start, end, content, speaker)


def _body(lines: list[str], *, last: bool) -> list[str]:
    """The text of a cue: without the number or name of the next cue, comments and style blocks."""
    if not last:
        lines = _without_identifier(lines)
    out: list[str] = []
    blank, skipping = False, False
    for line in lines:
        if not line.strip():
            blank, skipping = True, False
            continue
        skipping = skipping or (blank and bool(_VTT_BLOCK.match(line)))
        blank = False
        if not skipping:
            out.append(line)
    return out


def _without_identifier(lines: list[str]) -> list[str]:
    """The line right before a timing line is its number, or its name if it stands alone."""
    if not lines or not lines[-1].strip():
        end = len(lines)
        while end and not lines[end - 1].strip():
            end -= 1
        numbered = end > 1 and _NUMBER.match(lines[end - 1]) and not lines[end - 2].strip()
        return lines[: end - 1] if numbered else lines
    alone = len(lines) > 1 and not lines[-2].strip()
    if _NUMBER.match(lines[-1]) or alone:
        return lines[:-1]
    return lines


def _seconds(parts: tuple[str | None, ...]) -> float:
    hours, minutes, seconds, fraction = parts
    whole = int(hours or 0) * 3600 + int(minutes or 0) * 60 + int(seconds or 0)
    return whole + (float(f"0.{fraction}") if fraction else 0.0)


# --- ASS and SSA -------------------------------------------------------------------------------


def _ass(text: str) -> Iterator[Cue]:
    fields: tuple[str, ...] = _ASS_FIELDS
    in_events = False
    for line in text.splitlines():
        head, _, rest = line.partition(":")
        key = head.strip().lower()
        if line.strip().startswith("["):
            in_events = line.strip().lower() == "[events]"
        elif key == "format" and in_events:
            fields = tuple(name.strip().lower() for name in rest.split(","))[:-1]
        elif key == "dialogue":
            cue = _ass_event(rest, fields)
            if cue is not None:
                yield cue


def _ass_event(rest: str, fields: tuple[str, ...]) -> Cue | None:
    values = rest.split(",", len(fields))
    if len(values) <= len(fields):
        return None
    row = dict(zip(fields, (v.strip() for v in values), strict=False))
    start, end = _ASS_TIME.match(row.get("start", "")), _ASS_TIME.match(row.get("end", ""))
    if start is None or end is None:
        return None
    content, speaker = plain(values[len(fields)])
    return Cue(
        _seconds(start.groups()),
        _seconds(end.groups()),
        content,
        speaker or row.get("name") or None,
    )


def ass_packet_text(event: str) -> tuple[str, str | None]:
    """(text, speaker) of an event as decoders give it: order, layer, style, name, ..., text."""
    values = event.split(",", 8)
    if len(values) < 9:
        return plain(event)
    content, speaker = plain(values[8])
    return content, speaker or values[3].strip() or None

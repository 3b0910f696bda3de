"""Name a chapter: by the heading of its slide, else by its most telling phrase. Pure."""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Sequence
from itertools import pairwise

from gs_video_report.text import phrasing
from gs_video_report.text.document import Document, SlideText
from gs_video_report.text.key_terms import phrase_totals, phrases_of_part
from gs_video_report.text.tokens import is_cjk, length_in_words

_LONGEST_TITLE = 70
_SHORTEST_TITLE = 3
_SHORTEST_CJK_TITLE = 2
_LETTER_SHARE = 0.6
_SLIDE_EARLY_S = 8.0
_SECOND_WORTH = 0.55
_HEADLINE_WORDS = 6
_OPENING_WORDS = 7
_OPENING_CJK = 16


def slide_title(slide: SlideText) -> str:
    """The heading of a slide if it can be a chapter title, else ""."""
    title = slide.title or (slide.new_lines[0] if slide.new_lines else "")
    return title if slide.kind != "camera" and _fits(title) else ""


def _fits(title: str) -> bool:
    shortest = _SHORTEST_CJK_TITLE if is_cjk(title) else _SHORTEST_TITLE
    if not shortest <= len(title) <= _LONGEST_TITLE or re.search(r"https?:|www\.|@", title):
        return False
    solid = [c for c in title if not c.isspace()]
    return sum(c.isalpha() for c in solid) >= _LETTER_SHARE * len(solid)


def chapter_titles(document: Document, edges: Sequence[float]) -> list[str]:
    """One title per part between `edges`, never empty, never the same twice."""
    totals = phrase_totals(document)
    used: set[str] = set()
    out: list[str] = []
    for begin, end in pairwise(edges):
        inside = sentences_between(document, begin, end)
        options = _from_slides(document, begin, end)
        if not options or options[0].casefold() in used:
            options += _from_speech(document, inside, totals)
        title = next((o for o in options if o.casefold() not in used), f"{len(out) + 1}")
        used.add(title.casefold())
        out.append(title)
    return out


def sentences_between(document: Document, begin: float, end: float) -> list[int]:
    """Indices of the sentences that start in [begin, end)."""
    return [i for i, s in enumerate(document.sentences) if begin <= s.start_s < end]


def _from_slides(document: Document, begin: float, end: float) -> list[str]:
    """Headings shown in the part, longest on screen first; a heading that opens it wins."""
    shown: dict[str, float] = {}
    for slide in document.slides:
        title = slide_title(slide)
        seconds = min(slide.end_s, end) - max(slide.t_s, begin)
        if not title or seconds <= 0:
            continue
        opens = abs(slide.t_s - begin) <= _SLIDE_EARLY_S or (begin == 0 and not shown)
        if slide.t_s < begin - _SLIDE_EARLY_S and seconds < 0.5 * (end - begin):
            continue
        shown[title] = shown.get(title, 0.0) + seconds + (end - begin) * opens
    return sorted(shown, key=lambda t: (-shown[t], t))


def _from_speech(
    document: Document, inside: Sequence[int], totals: Counter[tuple[str, ...]]
) -> list[str]:
    """The headline of the best phrases, single phrases, then openings of sentences."""
    ranked = phrases_of_part(document, inside, totals)
    options: list[str] = []
    if ranked:
        options.append(_headline(document.language, ranked))
        options += [_capital(text) for _, text in ranked[1:4]]
    openings = (
        _opening(phrasing.clean(document.sentences[i].text, document.language)) for i in inside
    )
    return options + [opening for opening in openings if opening]


def _headline(language: str, ranked: Sequence[tuple[float, str]]) -> str:
    """The best phrase, joined by the next one when that is nearly as good and both are short."""
    score, first = ranked[0]
    for other_score, other in ranked[1:6]:
        apart = (
            first.casefold() not in other.casefold() and other.casefold() not in first.casefold()
        )
        short = length_in_words(first) + length_in_words(other) <= _HEADLINE_WORDS
        if apart and short and other_score >= _SECOND_WORTH * score:
            joiner = "、" if is_cjk(first) else ", "
            return _capital(first) + joiner + other
    return _capital(first)


def _capital(text: str) -> str:
    return text[:1].upper() + text[1:]


def _opening(text: str) -> str:
    """The first words of a sentence, with an ellipsis when it goes on."""
    text = text.rstrip(".。!！?？…")
    if is_cjk(text) and len(text) > _OPENING_CJK:
        return text[:_OPENING_CJK].rstrip("，、 ") + "…"
    words = text.split()
    if len(words) > _OPENING_WORDS:
        return " ".join(words[:_OPENING_WORDS]).rstrip(",;:") + "…"
    return text

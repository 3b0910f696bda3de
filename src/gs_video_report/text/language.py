"""Guess the language of a text from its script and its function words.

Pure. Meant for subtitles without a language tag, so for at least a few lines of text.
"""

from __future__ import annotations

import re
from collections import Counter

from gs_video_report.text.stopwords import function_words, languages

_SCRIPTS: tuple[tuple[str, str], ...] = (
    ("kana", r"[\u3041-\u30ff]"),
    ("hangul", r"[\uac00-\ud7a3]"),
    ("han", r"[\u3400-\u9fff]"),
    ("th", r"[\u0e01-\u0e5b]"),
    ("lo", r"[\u0e80-\u0eff]"),
    ("km", r"[\u1780-\u17ff]"),
    ("my", r"[\u1000-\u109f]"),
    ("ka", r"[\u10a0-\u10ff]"),
    ("hy", r"[\u0531-\u058f]"),
    ("el", r"[\u0370-\u03ff]"),
    ("he", r"[\u0590-\u05ff]"),
    ("ar", r"[\u0600-\u06ff]"),
    ("hi", r"[\u0900-\u097f]"),
    ("bn", r"[\u0980-\u09ff]"),
    ("ta", r"[\u0b80-\u0bff]"),
    ("te", r"[\u0c00-\u0c7f]"),
    ("cyrillic", r"[\u0400-\u04ff]"),
    ("latin", r"[A-Za-z\u00c0-\u024f]"),
)
_COUNTERS = tuple((name, re.compile(pattern)) for name, pattern in _SCRIPTS)
_WORD = re.compile(r"[^\W\d_]+(?:['’][^\W\d_]+)*")
_SAMPLE_CHARS = 20_000
_IDEOGRAPHIC_WEIGHT = 3
"""One Han, Hangul or kana character says about as much as three letters."""
_OTHER_SCRIPTS = frozenset({"zh", "ja", "ko", "ru"})
_MIN_SHARE = 0.12
"""Below this share of known function words a Latin-script text stays unknown."""
_UKRAINIAN = re.compile(r"[іїєґІЇЄҐ]")
_RUSSIAN = re.compile(r"[ыэъёЫЭЪЁ]")
_FARSI = re.compile(r"[پچژگ]")


def guess_language(text: str) -> str:
    """ISO 639-1 code of the language of `text`, or "" when it is not clear.

    Scripts used by one language decide alone; Latin-script text needs about ten words and is
    decided by the share of function words (Dunning 1994 discusses the approach and its limits).
    """
    sample = text[:_SAMPLE_CHARS]
    counts = {name: len(pattern.findall(sample)) for name, pattern in _COUNTERS}
    for name in ("kana", "hangul", "han"):
        counts[name] *= _IDEOGRAPHIC_WEIGHT
    if sum(counts.values()) == 0:
        return ""
    if (
        counts["kana"]
        and counts["kana"] * 8 >= counts["han"]
        and counts["kana"] * 2 >= counts["latin"]
    ):
        return "ja"
    script = max(counts, key=lambda name: counts[name])
    if script == "latin":
        return _by_function_words(sample)
    if script == "cyrillic":
        return _cyrillic(sample)
    if script == "ar" and _FARSI.search(sample):
        return "fa"
    return {"han": "zh", "hangul": "ko", "kana": "ja"}.get(script, script)


def _cyrillic(sample: str) -> str:
    if _UKRAINIAN.search(sample) and not _RUSSIAN.search(sample):
        return "uk"
    return "ru"


def _by_function_words(sample: str) -> str:
    words = [word.casefold().replace("’", "'") for word in _WORD.findall(sample)]
    if len(words) < 3:
        return ""
    counts = Counter(words)
    shares = {
        language: sum(n for word, n in counts.items() if word in function_words(language))
        / len(words)
        for language in languages()
        if language not in _OTHER_SCRIPTS
    }
    ranked = sorted(shares.items(), key=lambda item: (-item[1], item[0]))
    (best, share), (_, second) = ranked[0], ranked[1]
    return best if share >= _MIN_SHARE and share > second else ""

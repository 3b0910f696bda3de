"""Reduce a word to the form under which its variants are counted together.

Light suffix stripping: the S-stemmer for English (Harman 1991), short lists of inflectional
endings for other languages in the manner of Savoy (2006). Keys are for counting, never shown.
Pure.
"""

from __future__ import annotations

import unicodedata

_MIN_STEM = 4

_ENDINGS: dict[str, tuple[str, ...]] = {
    "de": ("ern", "em", "en", "er", "es", "e", "n", "s"),
    "fr": ("es", "s", "x", "e"),
    "es": ("es", "s"),
    "pt": ("es", "s"),
    "it": ("i", "e", "a", "o"),
    "nl": ("en", "s", "e"),
    "sv": ("arna", "erna", "orna", "ar", "er", "or", "en", "et", "n"),
    "ru": (
        "иями", "ями", "ами", "ией", "иям", "иях", "ого", "его", "ому", "ему", "ыми", "ими",
        "ая", "яя", "ое", "ее", "ые", "ие", "ый", "ий", "ой", "ей", "ом", "ем", "ам", "ям", "ах",
        "ях", "ов", "ев", "ую", "юю", "ых", "их", "ым", "им", "ия", "ию", "ии",
        "а", "я", "о", "е", "ы", "и", "у", "ю", "ь", "й",
    ),
    "pl": (
        "iami", "ami", "ach", "iach", "ego", "emu", "owi", "ymi", "imi", "ych", "ich", "ów", "om",
        "em", "ej", "ie", "ia", "ią", "ię", "a", "ą", "e", "ę", "y", "i", "u", "o",
    ),
}  # fmt: skip


def normalise(word: str) -> str:
    """NFKC, case folded, straight apostrophes."""
    return unicodedata.normalize("NFKC", word).casefold().replace("’", "'")


def stem(word: str, language: str) -> str:
    """The counting key of a word; acronyms and short words keep their letters.

    `word` is as written (its case tells acronyms). Unknown languages: only normalised.
    """
    key = normalise(word)
    if len(word) > 1 and word.isupper() and len(word) <= 6:
        return key
    if language in ("en", ""):
        return _english(key)
    for ending in _ENDINGS.get(language, ()):
        if key.endswith(ending) and len(key) - len(ending) >= _MIN_STEM:
            return key[: -len(ending)]
    return key


def _english(key: str) -> str:
    for possessive in ("'s", "s'"):
        if key.endswith(possessive):
            key = key[: -len(possessive)] + ("s" if possessive == "s'" else "")
    if len(key) <= 3:
        return key
    if key.endswith("ies") and not key.endswith(("eies", "aies")):
        return key[:-3] + "y" if len(key) > 4 else key
    if key.endswith(("sses", "shes", "ches", "xes", "zes")):
        return key[:-2]
    if key.endswith("es") and not key.endswith(("aes", "ees", "oes")):
        return key[:-1]
    if key.endswith("s") and not key.endswith(("us", "ss", "is")):
        return key[:-1]
    return key

"""Function words, weak words and fillers per language.

Function words carry grammar, not subject: they never begin or end a key term and weigh nothing
when sentences are compared. Weak words are content words that fit every lecture ("example",
"问题"): they weigh half and cannot be a key term alone. Lists are short, our own, lower case;
languages are ISO 639-1 codes. A language without a list gets `frequent_short_words()`.
Truth: data/words.txt, read once per process on first use.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable
from functools import cache

from gs_video_report.text.data import languages_of, section

_SHORT_WORD = 4
_FREQUENT_SHARE = 0.012
_MOST_FREQUENT = 40


@cache
def languages() -> tuple[str, ...]:
    """Languages with a list of function words, sorted."""
    return languages_of("words.txt", "function")


@cache
def extra_words(language: str) -> tuple[str, ...]:
    """Terms that the dictionary of an unspaced script lacks; may be empty."""
    return tuple(" ".join(section("words.txt", "extra", language)).split())


@cache
def function_words(language: str) -> frozenset[str]:
    """Function words of the language, lower case; empty for a language without a list."""
    return frozenset(" ".join(section("words.txt", "function", language)).split())


@cache
def weak_words(language: str) -> frozenset[str]:
    """Content words that say little about the subject; empty where no list exists."""
    return frozenset(" ".join(section("words.txt", "weak", language)).split())


@cache
def hesitations(language: str) -> frozenset[str]:
    """Sounds of thinking ("um"), cut wherever they stand; empty where no list exists."""
    return frozenset(" ".join(section("words.txt", "hesitation", language)).split())


@cache
def openers(language: str) -> frozenset[str]:
    """Words that may be cut from a sentence start when a comma follows; may be empty."""
    return frozenset(" ".join(section("words.txt", "opener", language)).split())


@cache
def word_set(table: str, language: str) -> frozenset[str]:
    """A table of words.txt that only some languages have; empty for the others.

    `before_verb`, `after_verb`: neighbours of verbs; `head`: weak words that may end a term.
    """
    return frozenset(" ".join(section("words.txt", table, language)).split())


def frequent_short_words(words: Iterable[str]) -> frozenset[str]:
    """Guess function words of an unknown language: short words that make up much of the text.

    Zipf's law puts function words on top of every frequency list and the law of abbreviation
    makes them short (Zipf 1949). At most 40 words of up to 4 letters, each at least 1.2 % of all
    words. Empty for texts under 100 words, where frequencies say nothing.
    """
    counts = Counter(word.casefold() for word in words)
    total = sum(counts.values())
    if total < 100:
        return frozenset()
    short = [
        (n, w) for w, n in counts.items() if len(w) <= _SHORT_WORD and n / total >= _FREQUENT_SHARE
    ]
    return frozenset(w for _, w in sorted(short, reverse=True)[:_MOST_FREQUENT])

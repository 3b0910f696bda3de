"""Cut text into words with a place, a counting key and a weight, in any language.

Words of spaced scripts by Unicode rules; Chinese and Thai by dictionary, Japanese by script
runs (`unspaced.py`). A weight says how much a word tells about the subject: 0 for function
words, 1 for nouns and everything unknown.
Pure apart from reading word data once. Limits: Lao, Khmer and Burmese are cut at their spaces.
"""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field
from typing import Self

from gs_video_report.text.stems import normalise, stem
from gs_video_report.text.stopwords import (
    frequent_short_words,
    function_words,
    hesitations,
    languages,
    weak_words,
)
from gs_video_report.text.unspaced import (
    chinese_words,
    cut_chinese,
    cut_japanese,
    cut_thai,
    simplify,
    thai_words,
)

_MARKS = (
    "\u0300-\u036f\u0591-\u05c7\u0610-\u061a\u064b-\u065f\u0670"
    "\u0900-\u0dff\u1000-\u109f\u1780-\u17ff"
)
_HAN = "\u3400-\u9fff\uf900-\ufaff々〆"
_KANA = "\u3041-\u30ff"
_THAI = "\u0e01-\u0e3a\u0e40-\u0e4e"
_LETTER = rf"[^\W{_HAN}{_KANA}{_THAI}]|[{_MARKS}]"
_RUN = re.compile(
    rf"(?P<east>[{_HAN}{_KANA}]+)|(?P<thai>[{_THAI}]+)"
    rf"|(?P<number>\d+(?:[.,:]\d+)*%?(?![^\W\d_]))"
    rf"|(?P<word>(?:{_LETTER})+(?:['’.\-](?:{_LETTER})+)*(?:\+\+|\#)?)"
)
_CJK = re.compile(rf"[{_HAN}{_KANA}]")
_ELISION = re.compile(
    r"(?:[cdjlmnst]|qu|jusqu|lorsqu|puisqu|dell|nell|all|dall|sull|un|quell)['’]", re.IGNORECASE
)
_JOSA = re.compile(
    r"(?:으로부터|에서는|에게서|이라는|라는|에서|에게|부터|까지|으로|처럼|보다|이나|이란|은|는|이|가|을|를|에|의|로|와|과|도|만|란)$"
)
_CLASS_WEIGHT = {"n": 1.0, "l": 0.7, "v": 0.6, "a": 0.5, "x": 0.3}
WEAK_WEIGHT = 0.4
"""Weight of a content word that fits every subject."""
_NUMBER_WEIGHT = 0.2
_ADVERB_WEIGHT = 0.3
_SINGLE_WEIGHT = 0.3
_RECURRING = 3
_TOGETHER = 0.5


@dataclass(frozen=True, slots=True)
class Token:
    """One word of a text."""

    text: str
    """As written."""
    key: str
    """Counting key: variants of a word share it."""
    start: int
    """Offset in the text, in characters."""
    end: int
    weight: float
    """0 function word ... 1 carries the subject."""


def is_cjk(text: str) -> bool:
    """True if `text` holds Han characters or kana."""
    return _CJK.search(text) is not None


def length_in_words(text: str) -> float:
    """Length of a text in words; 1.6 Han, kana or Thai characters (3 for Thai) count as one."""
    cjk = len(_CJK.findall(text))
    thai = len(re.findall(rf"[{_THAI}]", text))
    spaced = sum(1 for match in _RUN.finditer(text) if match.lastgroup in ("word", "number"))
    return spaced + cjk / 1.6 + thai / 4.0


@dataclass(slots=True)
class Tokenizer:
    """Cuts the texts of one recording; make it with `for_texts()`.

    Attributes:
        language: ISO 639-1 code, "" for unknown.
        extra_stop: function words guessed for a language without a list.
        joined: pairs of Han characters outside the dictionary that keep recurring together.
    """

    language: str
    extra_stop: frozenset[str] = frozenset()
    joined: frozenset[str] = frozenset()
    _japanese: bool = field(default=False, init=False)

    def __post_init__(self) -> None:
        self._japanese = self.language == "ja"

    @classmethod
    def for_texts(cls, language: str, texts: Iterable[str]) -> Self:
        """A tokenizer that has seen all texts, so that it knows what keeps recurring."""
        base = language.split("-")[0].lower()
        texts = list(texts)
        if base in ("zh", "yue"):
            return cls("zh", joined=_recurring_pairs(texts))
        if base in languages() or base == "th":
            return cls(base)
        words = (m.group() for t in texts for m in _RUN.finditer(t) if m.lastgroup == "word")
        return cls(base, extra_stop=frequent_short_words(words))

    def tokens(self, text: str) -> list[Token]:
        """All words of `text` in order; punctuation and spaces are left out."""
        out: list[Token] = []
        for match in _RUN.finditer(text):
            kind, run, at = match.lastgroup, match.group(), match.start()
            if kind == "east":
                self._east(run, at, out)
            elif kind == "thai":
                self._thai(run, at, out)
            elif kind == "number":
                out.append(Token(run, run, at, at + len(run), _NUMBER_WEIGHT))
            else:
                self._word(run, at, out)
        return out

    # --- spaced scripts

    def _word(self, word: str, at: int, out: list[Token]) -> None:
        end = at + len(word)
        if self.language in ("fr", "it"):
            elided = _ELISION.match(word)
            if elided and elided.end() < len(word):
                middle = at + elided.end()
                out.append(Token(elided.group(), normalise(elided.group()), at, middle, 0.0))
                word, at = word[elided.end() :], middle
        if self.language == "ko" and len(word) > 2 and not self._stop(normalise(word)):
            particle = _JOSA.search(word)
            if particle and particle.start() >= 2:
                noun = word[: particle.start()]
                out.append(Token(noun, noun, at, at + len(noun), self._weight(noun, noun)))
                at += len(noun)
                word = particle.group()
                out.append(Token(word, word, at, end, 0.0))
                return
        out.append(
            Token(word, stem(word, self.language), at, end, self._weight(word, normalise(word)))
        )

    def _stop(self, plain: str) -> bool:
        language = self.language or "en"
        return (
            plain in function_words(language)
            or plain in hesitations(language)
            or plain in self.extra_stop
        )

    def _weight(self, word: str, plain: str) -> float:
        if self._stop(plain):
            return 0.0
        if len(plain) == 1 and not word.isupper():
            return 0.0
        weak = weak_words(self.language)
        if plain in weak or stem(word, self.language) in weak:
            return WEAK_WEIGHT
        if self.language == "en" and plain.endswith("ly") and len(plain) > 5:
            return _ADVERB_WEIGHT
        if self.language != "en" and plain.isascii() and plain in function_words("en"):
            return 0.0 if self.language in ("zh", "ja", "ko", "th") else 1.0
        return 1.0

    # --- unspaced scripts

    def _east(self, run: str, at: int, out: list[Token]) -> None:
        japanese = self._japanese or (self.language != "zh" and re.search("[\u3041-\u30ff]", run))
        words = cut_japanese(run) if japanese else self._join(cut_chinese(run))
        weigh = _japanese_weight if japanese else self._chinese_weight
        for word in words:
            key = word if japanese else simplify(word)
            out.append(Token(word, key, at, at + len(word), weigh(key)))
            at += len(word)

    def _join(self, words: Sequence[str]) -> list[str]:
        out: list[str] = []
        for word in words:
            single = self.joined and out and len(word) == len(out[-1]) == 1
            if single and simplify(out[-1] + word) in self.joined:
                out[-1] += word
            else:
                out.append(word)
        return out

    def _chinese_weight(self, word: str) -> float:
        if word in function_words("zh") or word in hesitations("zh"):
            return 0.0
        if len(word) == 1:
            return _SINGLE_WEIGHT if chinese_words().classes.get(word) == "n" else 0.1
        if word in weak_words("zh"):
            return WEAK_WEIGHT
        return _CLASS_WEIGHT[chinese_words().classes.get(word, "n")]

    def _thai(self, run: str, at: int, out: list[Token]) -> None:
        classes = thai_words().classes
        for word in cut_thai(run):
            known = 0.0 if classes.get(word) == "x" else 1.0
            weight = known if len(word) > 2 else 0.0
            out.append(Token(word, word, at, at + len(word), weight))
            at += len(word)


def _japanese_weight(word: str) -> float:
    if word in function_words("ja") or "\u3041" <= word[0] <= "\u309f":
        return 0.0
    return 1.0 if len(word) > 1 else _SINGLE_WEIGHT


def _recurring_pairs(texts: Sequence[str]) -> frozenset[str]:
    """Pairs of single characters that stand together at least 3 times and in half their uses."""
    singles: Counter[str] = Counter()
    pairs: Counter[str] = Counter()
    for text in texts:
        for match in re.finditer(rf"[{_HAN}]+", text):
            words = cut_chinese(match.group())
            for i, word in enumerate(words):
                if len(word) > 1 or word in function_words("zh"):
                    continue
                singles[simplify(word)] += 1
                if i + 1 < len(words) and len(words[i + 1]) == 1:
                    pairs[simplify(word + words[i + 1])] += 1
    stop = function_words("zh")
    return frozenset(
        pair
        for pair, n in pairs.items()
        if n >= _RECURRING
        and pair[1] not in stop
        and n >= _TOGETHER * min(singles[pair[0]], singles[pair[1]])
    )

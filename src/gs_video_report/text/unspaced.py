"""Find words in scripts without spaces: Chinese and Thai by dictionary, Japanese by script.

Dictionary segmentation is the most probable path through the graph of all dictionary words with
unigram probabilities (the method of jieba, Sun 2012; Viterbi 1967). Parts that the dictionary
does not know come out as single characters; `tokens.py` joins those that keep recurring.
Truth: data/*.txt, read once per process on first use. Never: network, temporary files.
"""

from __future__ import annotations

import math
import re
from dataclasses import dataclass
from functools import cache

from gs_video_report.text.data import read_text
from gs_video_report.text.stopwords import extra_words

_BUCKET = 4.0
"""The data files hold round(4 * ln(frequency))."""
_EXTRA_BUCKET = 24


@dataclass(frozen=True, slots=True)
class WordList:
    """A dictionary with log probabilities and word classes."""

    log_p: dict[str, float]
    classes: dict[str, str]
    """Word -> `n`, `v`, `a`, `l`, `x`; see data/README.md."""
    longest: int
    unknown: float
    """Log probability of a character that no word covers."""


@cache
def chinese_words() -> WordList:
    """The Chinese dictionary; about 0.1 s on first call, 20 MB while the process lives."""
    return _load("zh_words.txt.gz", extra_words("zh"))


@cache
def thai_words() -> WordList:
    """The Thai dictionary."""
    return _load("th_words.txt.gz", ())


def _load(name: str, extra: tuple[str, ...]) -> WordList:
    buckets: dict[str, int] = {}
    classes: dict[str, str] = {}
    for line in read_text(name).splitlines():
        kind, bucket, *words = line.split(" ")
        buckets.update(dict.fromkeys(words, int(bucket)))
        classes.update(dict.fromkeys(words, kind))
    for word in extra:
        buckets.setdefault(word, _EXTRA_BUCKET)
        classes.setdefault(word, "n")
    by_bucket = {b: math.exp(b / _BUCKET) for b in set(buckets.values())}
    log_total = math.log(sum(by_bucket[b] for b in buckets.values()))
    log_of = {b: b / _BUCKET - log_total for b in by_bucket}
    log_p = {word: log_of[b] for word, b in buckets.items()}
    return WordList(log_p, classes, max(map(len, log_p)), -log_total)


@cache
def _traditional() -> dict[int, str]:
    pairs = "".join(read_text("zh_traditional.txt").split())
    return {ord(pairs[i]): pairs[i + 1] for i in range(0, len(pairs), 2)}


def simplify(text: str) -> str:
    """Traditional characters replaced one by one, for look-up; same length, never for display."""
    return text.translate(_traditional())


def cut(text: str, words: WordList) -> list[str]:
    """Split a run of one script into words; `"".join(cut(t)) == t`.

    Most probable path, from right to left; linear in `len(text)` times the longest word.
    """
    n = len(text)
    best: list[tuple[float, int]] = [(0.0, n)] * (n + 1)
    for i in range(n - 1, -1, -1):
        best[i] = (words.unknown + best[i + 1][0], i + 1)
        for j in range(i + 1, min(n, i + words.longest) + 1):
            p = words.log_p.get(text[i:j])
            if p is not None and p + best[j][0] > best[i][0]:
                best[i] = (p + best[j][0], j)
    out: list[str] = []
    i = 0
    while i < n:
        out.append(text[i : best[i][1]])
        i = best[i][1]
    return out


_THAI_MARK = re.compile(r"[\u0e31\u0e33-\u0e3a\u0e45\u0e47-\u0e4e]")


def cut_chinese(text: str) -> list[str]:
    """Words of a run of Han characters, simplified or traditional; joins back to `text`."""
    folded = cut(simplify(text), chinese_words())
    out: list[str] = []
    at = 0
    for word in folded:
        out.append(text[at : at + len(word)])
        at += len(word)
    return out


def cut_thai(text: str) -> list[str]:
    """Words of a run of Thai; no word begins with a vowel sign or tone mark."""
    out: list[str] = []
    for word in cut(text, thai_words()):
        if out and (_THAI_MARK.match(word) or (len(word) == 1 and len(out[-1]) == 1)):
            out[-1] += word
        else:
            out.append(word)
    return out


_JAPANESE_RUN = re.compile(
    r"[\u3400-\u9fff々〆ヶ]+|[\u30a1-\u30faー]+|[\u3041-\u309f]+|[^\u3041-\u30ff\u3400-\u9fff々〆]+"
)


def cut_japanese(text: str) -> list[str]:
    """Runs of kanji, katakana and hiragana; content words are mostly the first two kinds."""
    return _JAPANESE_RUN.findall(text)

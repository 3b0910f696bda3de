"""Key terms of a recording: words and phrases of up to 3 words that characterise it.

Candidates are runs of content words, as in RAKE (Rose et al. 2010). They are ranked by C-value
(Frantzi, Ananiadou and Mima 2000), which takes from a phrase the uses it owes to longer ones,
times spread and case features in the manner of YAKE (Campos et al. 2020). Words of slides count
several times. Pure.
"""

from __future__ import annotations

import math
import re
from collections import Counter
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field

from gs_video_report.report.model import KeyTerm
from gs_video_report.text.document import Document
from gs_video_report.text.stopwords import word_set
from gs_video_report.text.tokens import WEAK_WEIGHT, Token, is_cjk

MAX_WORDS = 3
_MAX_CJK_CHARS = 10
_SLIDE_USES = 2.0
_TITLE_USES = 3.0
_BINS = 12
"""Equal parts of the recording over which the spread of a term is counted."""
_FEW, _MANY = 5, 24
_WORTH = 0.1
"""Terms below this share of the best score are left out."""
_INNER_LINKS = {
    "en": {"of"},
    "fr": {"de", "du", "des", "d'", "d’", "à"},
    "es": {"de", "del"},
    "pt": {"de", "do", "da", "dos", "das"},
    "it": {"di", "del", "della", "dei"},
}
_JOINING_GAP = re.compile(r"[ \u00a0]?|-")
_VERB_LIKE = {"en": re.compile(r"(?:[^aeiou]ing|[^e]ed)$")}
_POSSESSIVE = re.compile(r"['’]s$")
_NOUN_WEIGHT = 0.7
_VERB_ALONE, _VERB_LAST = 0.3, 0.6
_PART_FOCUS = 1.5
_ANNOUNCING, _ANNOUNCED_FACTOR = 3, 1.6
_LONG_TEXT = 60
_VARIANT_SHARE = 0.25
_RECURRING = 2.0
_MOST_SINGLE_USES = 5
_COMPOUNDING, _PAIR_FACTOR = frozenset({"en", "zh", "ja"}), 1.1
"""Languages in which two content words in a row, said once, are mostly a compound."""
_ACRONYM = re.compile(r"[A-Z][A-Z0-9]{1,6}s?")
_ACRONYM_FACTOR, _NAME_FACTOR = 1.6, 1.25
_LENGTH_POWER, _USES_POWER, _SPREAD = 1.8, 0.8, 0.25


@dataclass(slots=True)
class _Candidate:
    keys: tuple[str, ...]
    forms: Counter[str] = field(default_factory=Counter)
    spoken: int = 0
    shown: float = 0.0
    slides: int = 0
    first_s: float = math.inf
    bins: set[int] = field(default_factory=set)
    capital: int = 0
    verbal: int = 0
    weight: float = 0.0

    @property
    def uses(self) -> float:
        return self.spoken + self.shown


def extract_key_terms(document: Document, limit: int | None = None) -> tuple[KeyTerm, ...]:
    """The most telling terms, best first; scores 0..1 with the best at 1.

    `limit` None: 5 to 24, growing with the square root of the length. `count` is how often the
    term is said (on slides, if it is never said). Empty without content words.
    """
    candidates = _collect(document)
    scores = _scores(document, candidates)
    wanted = limit if limit is not None else _wanted(document.duration_s)
    chosen = _choose(candidates, scores, wanted)
    best = max((scores[c.keys] for c in chosen), default=0.0)
    return tuple(
        KeyTerm(
            _display(c),
            round(scores[c.keys] / best, 3),
            c.spoken or c.slides,
            round(c.first_s, 3) if math.isfinite(c.first_s) else None,
        )
        for c in chosen
    )


def phrase_totals(document: Document) -> Counter[tuple[str, ...]]:
    """How often each possible term is said in the whole recording, for `phrases_of_part()`."""
    return Counter({keys: c.spoken for keys, c in _collect(document).items()})


def phrases_of_part(
    document: Document, indices: Sequence[int], totals: Counter[tuple[str, ...]]
) -> list[tuple[float, str]]:
    """(score, term) of the sentences at `indices`, best first; terms rarer elsewhere win.

    For naming a part: the score of a term in the part times the share of its uses that are here;
    what the first sentences say counts more.
    """
    inside = _collect(document, indices)
    announced = _collect(document, indices[:_ANNOUNCING])
    long = sum(totals.values()) > _LONG_TEXT
    ranked = []
    for keys, score in _scores(document, inside).items():
        if score > 0 and (totals[keys] > 1 or not long):
            share = inside[keys].spoken / max(totals[keys], 1)
            boost = _ANNOUNCED_FACTOR if keys in announced else 1.0
            ranked.append((score * share**_PART_FOCUS * boost, _display(inside[keys])))
    return sorted(ranked, key=lambda item: (-item[0], item[1]))


def _wanted(duration_s: float) -> int:
    return max(_FEW, min(_MANY, round(6 + 2.4 * math.sqrt(duration_s / 60))))


# --- candidates --------------------------------------------------------------------------------


def _collect(
    document: Document, indices: Sequence[int] | None = None
) -> dict[tuple[str, ...], _Candidate]:
    found: dict[tuple[str, ...], _Candidate] = {}
    width = max(document.duration_s, 1e-9) / _BINS
    every = range(len(document.sentences)) if indices is None else indices
    for i in every:
        sentence = document.sentences[i]
        span = sentence.end_s - sentence.start_s
        words = document.tokens[i]
        for a, b in _phrases(sentence.text, words, document.language):
            phrase = words[a:b]
            candidate = _note(found, sentence.text, phrase)
            at = sentence.start_s + span * phrase[0].start / max(len(sentence.text), 1)
            candidate.spoken += 1
            candidate.first_s = min(candidate.first_s, at)
            candidate.bins.add(min(int(at / width), _BINS - 1))
            candidate.verbal += _looks_verbal(words, a, b, document.language)
            candidate.capital += phrase[0].start > 0 and phrase[0].text[:1].isupper()
    if indices is None:
        _collect_slides(document, found, width)
    return found


def _collect_slides(
    document: Document, found: dict[tuple[str, ...], _Candidate], width: float
) -> None:
    seen: set[str] = set()
    for slide in document.slides:
        for line in slide.new_lines:
            if line.casefold() in seen:
                continue
            seen.add(line.casefold())
            is_title = line == slide.title
            words = document.tokenizer.tokens(line)
            for a, b in _phrases(line, words, document.language):
                candidate = _note(found, line, words[a:b])
                candidate.shown += _TITLE_USES if is_title else _SLIDE_USES
                candidate.slides += 1
                candidate.first_s = min(candidate.first_s, slide.t_s)
                candidate.bins.add(min(int(slide.t_s / width), _BINS - 1))


def _note(
    found: dict[tuple[str, ...], _Candidate], text: str, phrase: Sequence[Token]
) -> _Candidate:
    keys = tuple(t.key for t in phrase)
    candidate = found.get(keys)
    if candidate is None:
        content = [t.weight for t in phrase if t.weight > 0]
        candidate = found[keys] = _Candidate(keys, weight=sum(content) / len(content))
    candidate.forms[text[phrase[0].start : phrase[-1].end]] += 1
    return candidate


def _phrases(text: str, words: Sequence[Token], language: str) -> Iterator[tuple[int, int]]:
    """Ranges of 1 to 3 neighbouring words that could be a term."""
    for i, first in enumerate(words):
        if first.weight < WEAK_WEIGHT:
            continue
        for j in range(i, min(i + MAX_WORDS, len(words))):
            if j > i and not _joined(text, words[j - 1], words[j]):
                break
            if words[j].weight >= WEAK_WEIGHT and _is_term(words[i : j + 1], language):
                yield i, j + 1


def _joined(text: str, left: Token, right: Token) -> bool:
    gap = text[left.end : right.start]
    if is_cjk(left.text) and is_cjk(right.text):
        return not gap
    return bool(_JOINING_GAP.fullmatch(gap))


def _is_term(phrase: Sequence[Token], language: str) -> bool:
    last = phrase[-1]
    if last.weight < WEAK_WEIGHT or not any(c.isalpha() for t in phrase for c in t.text):
        return False
    if is_cjk(last.text):
        return _is_cjk_term(phrase)
    links = _INNER_LINKS.get(language, set())
    if any(t.weight < WEAK_WEIGHT and t.key not in links for t in phrase[1:-1]):
        return False
    if len(phrase) == 1:
        return last.weight >= _NOUN_WEIGHT and len(last.text) > 1
    if last.weight <= WEAK_WEIGHT and last.key not in word_set("head", language):
        return False
    weak = sum(t.weight <= WEAK_WEIGHT for t in phrase)
    repeated = len({t.key for t in phrase}) < len(phrase)
    return weak * 2 < len(phrase) + 1 and last.weight > 0 and not repeated


def _is_cjk_term(phrase: Sequence[Token]) -> bool:
    chars = sum(len(t.text) for t in phrase)
    if chars < 2 or chars > _MAX_CJK_CHARS:
        return False
    if any(t.weight < _NOUN_WEIGHT for t in phrase):
        return False
    return len({t.key for t in phrase}) == len(phrase)


# --- ranking -----------------------------------------------------------------------------------


def _scores(
    document: Document, candidates: dict[tuple[str, ...], _Candidate]
) -> dict[tuple[str, ...], float]:
    longer: dict[tuple[str, ...], list[_Candidate]] = {}
    for c in candidates.values():
        for part in _parts(c.keys):
            if part in candidates and c.uses >= 2:
                longer.setdefault(part, []).append(c)
    total = sum(c.uses for c in candidates.values() if len(c.keys) == 1)
    needed = 2.0 if total > _LONG_TEXT else 1.0
    return {
        keys: _score(document, c, longer.get(keys, ()))
        for keys, c in candidates.items()
        if c.uses >= needed
    }


def _parts(keys: tuple[str, ...]) -> Iterator[tuple[str, ...]]:
    n = len(keys)
    for size in range(1, n):
        for i in range(n - size + 1):
            yield keys[i : i + size]


def _score(document: Document, c: _Candidate, longer: Sequence[_Candidate]) -> float:
    uses = c.uses
    if longer:
        uses -= sum(x.uses for x in longer) / len(longer)
    if uses <= 0:
        return 0.0
    content = len([k for k in c.keys if k not in _INNER_LINKS.get(document.language, set())])
    c_value = math.pow(math.log2(1 + content), _LENGTH_POWER) * math.pow(uses, _USES_POWER)
    if c.uses < _RECURRING and not c.capital:
        pair = content == 2 and document.language in _COMPOUNDING
        c_value = _PAIR_FACTOR if pair else 1.0
    spread = 1 + _SPREAD * math.log(len(c.bins) or 1)
    return c_value * spread * _case_factor(c) * c.weight**2 * _verb_penalty(c, document.language)


def _case_factor(c: _Candidate) -> float:
    """Acronyms and names are terms more often than other words."""
    form = max(c.forms, key=lambda f: (c.forms[f], f))
    if any(_ACRONYM.fullmatch(word) for word in form.split()):
        return _ACRONYM_FACTOR
    return _NAME_FACTOR if c.capital >= max(1, c.spoken / 2) else 1.0


def _looks_verbal(words: Sequence[Token], i: int, j: int, language: str) -> bool:
    """True if the neighbours of words[i:j] are those of a verb: "it asks", "asks the"."""
    if j < len(words) and words[j].key in word_set("after_verb", language):
        return True
    return j == i + 1 and i > 0 and words[i - 1].key in word_set("before_verb", language)


def _verb_penalty(c: _Candidate, language: str) -> float:
    if c.verbal * 2 >= max(c.spoken, 1) and c.verbal:
        return _VERB_ALONE
    verb_like = _VERB_LIKE.get(language)
    if verb_like is None:
        return 1.0
    last = bool(verb_like.search(c.keys[-1]))
    if not last:
        return 1.0
    return _VERB_ALONE if len(c.keys) == 1 else _VERB_LAST


def _choose(
    candidates: dict[tuple[str, ...], _Candidate], scores: dict[tuple[str, ...], float], wanted: int
) -> list[_Candidate]:
    ranked = sorted(
        (c for c in candidates.values() if scores.get(c.keys, 0.0) > 0),
        key=lambda c: (-scores[c.keys], c.first_s, c.keys),
    )
    chosen: list[_Candidate] = []
    for c in ranked:
        if len(chosen) == wanted or scores[c.keys] < _WORTH * scores[ranked[0].keys]:
            break
        once = sum(other.uses < _RECURRING for other in chosen)
        if c.uses < _RECURRING and once == _MOST_SINGLE_USES:
            continue
        if not any(_same(c, other) for other in chosen):
            chosen.append(c)
    return chosen


def _same(c: _Candidate, chosen: _Candidate) -> bool:
    """True when `c` adds little to a chosen term: mostly used inside it, or nearly its words."""
    mine, other = set(c.keys), set(chosen.keys)
    if _flat(c.keys) == _flat(chosen.keys):
        return True
    if mine < other:
        return c.uses <= 2 * chosen.uses
    if other < mine:
        return chosen.uses <= 1.5 * c.uses or c.uses < 0.34 * chosen.uses
    shared = len(mine & other)
    return shared >= 2


def _flat(keys: Sequence[str]) -> str:
    """Hyphen and space do not make another term."""
    return "".join(keys).replace("-", "")


def _display(c: _Candidate) -> str:
    """The shortest common form (mostly the singular); lower case wins over a sentence start."""
    folded: Counter[str] = Counter()
    for form, n in c.forms.items():
        folded[form.casefold()] += n
    total = sum(folded.values())
    top = min(
        (form for form, n in folded.items() if n >= _VARIANT_SHARE * total),
        key=lambda form: (len(form), form),
    )
    variants = [(n, form) for form, n in c.forms.items() if form.casefold() == top]
    lower = sum(n for n, form in variants if form[:1].islower())
    if lower and lower * 3 >= sum(n for n, _ in variants):
        variants = [(n, form) for n, form in variants if form[:1].islower()]
    best = max(variants, key=lambda item: (item[0], item[1]))[1]
    return _POSSESSIVE.sub("", best)

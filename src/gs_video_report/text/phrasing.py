"""What a sentence looks like from outside: filler, greeting, question, pointer, signal, fragment.

Word patterns per language for scoring and cleaning quotes. Unknown languages only get the rules
that need no words. Truth of the patterns: data/phrases.txt.
"""

from __future__ import annotations

import re
from functools import cache

from gs_video_report.text.data import section
from gs_video_report.text.stopwords import hesitations, openers
from gs_video_report.text.tokens import is_cjk, length_in_words

_FLAGS = re.IGNORECASE

_QUESTION = re.compile(r"[?？؟][\"'”’」）)]*$|[吗呢]$")
_NOT_SPEECH = re.compile(r"[\[(（【♪♫*][^\])）】♪♫*]*[\])）】♪♫*]")
_LEAD = re.compile(r"^[\s\-–—>•·,，、.…;；:：]+")
_TERMINAL = re.compile(r"[.!?。！？…؟।][\"'”’」』）)]*$")
_DANGLING = re.compile(r"[,，、;；:：\-–—]$")


@cache
def _pattern(table: str, language: str) -> re.Pattern[str] | None:
    lines = section("phrases.txt", table, language)
    return re.compile("|".join(lines), _FLAGS) if lines else None


def _has(table: str, text: str, language: str) -> bool:
    pattern = _pattern(table, language)
    return bool(pattern and pattern.search(text))


def _begins(table: str, text: str, language: str) -> bool:
    pattern = _pattern(table, language)
    return bool(pattern and pattern.match(text))


def is_small_talk(text: str, language: str) -> bool:
    """Greetings, thanks, housekeeping: not about the subject."""
    return _has("small_talk", text, language)


def has_signal(text: str, language: str) -> bool:
    """Words by which speakers mark what matters (cue method, Edmundson 1969)."""
    return _has("signal", text, language)


def is_pointer(text: str, language: str) -> bool:
    """True if the sentence begins by pointing at the one before ("This means ...")."""
    return _begins("pointer", text, language)


def is_personal(text: str, language: str) -> bool:
    """The speaker about himself or to the listener."""
    return _has("personal", text, language)


def is_outline(text: str, language: str) -> bool:
    """An announcement of what comes, not the thing itself."""
    return _has("outline", text, language)


def opens_topic(text: str, language: str) -> bool:
    """True if the sentence begins like a new part of a talk."""
    lead_in = _pattern("lead_in", language)
    skipped = lead_in.match(text) if lead_in else None
    return _begins("new_topic", text[skipped.end() :] if skipped else text, language)


def is_question(text: str) -> bool:
    """Ends with a question mark or a Chinese question particle."""
    return bool(_QUESTION.search(text.strip()))


def is_dangling(text: str) -> bool:
    """Ends with a comma or dash: cut off in the middle."""
    return bool(_DANGLING.search(text.strip()))


def has_terminal(text: str) -> bool:
    """Ends with a full stop or its like."""
    return bool(_TERMINAL.search(text.strip()))


def clean(quote: str, language: str) -> str:
    """A quote as a readable sentence: hesitations and openers cut, capital, full stop.

    Words are only ever removed, never changed; may return "" when nothing but filler is left.
    """
    text = _NOT_SPEECH.sub(" ", quote)
    text = _without_hesitations(text, language)
    text = _without_openers(_LEAD.sub("", text), language)
    text = re.sub(r"\s+([,.;:!?])", r"\1", re.sub(r"\s+", " ", text)).strip()
    if not text:
        return ""
    text = _without_announcement(text, language)
    return _closed(_commas_at_seams(text[0].upper() + text[1:]))


_CLAUSE_END = re.compile(r"[，,]|(?<=[\u3400-\u9fff]) (?=[\u3400-\u9fff])")
_WORTH_KEEPING = 9.0


def _without_announcement(text: str, language: str) -> str:
    """Cuts a first clause that only announces ("接下来我们看 ...") when enough is left."""
    end = _CLAUSE_END.search(text) if language == "zh" else None
    if end is None or not (
        opens_topic(text, language) or is_outline(text[: end.start()], language)
    ):
        return text
    rest = text[end.end() :].strip()
    return rest if length_in_words(rest) >= _WORTH_KEEPING else text


def _without_hesitations(text: str, language: str) -> str:
    words = hesitations(language)
    if not words:
        return text
    either = "|".join(sorted(map(re.escape, words), key=len, reverse=True))
    if language in ("zh", "ja"):
        return re.sub(rf"(?:^|(?<=[，。、\s]))(?:{either})+[，、…\s]*", "", text)
    return re.sub(rf",?\s*(?<![\w'’-])(?:{either})(?![\w'’-])[,.…]*", "", text, flags=_FLAGS)


def _without_openers(text: str, language: str) -> str:
    words = openers(language)
    while words:
        match = re.match(
            r"([^\s,，、.。…]+(?: [^\s,，]+)?)[,，、…]\s*|(?:okay|ok|and|but) ", text, _FLAGS
        )
        if not match or (match.group(1) and match.group(1).casefold() not in words):
            break
        if match.group(1) is None and language != "en":
            break
        text = text[match.end() :]
    return text


_SEAM = re.compile(r"(?<=[\u3041-\u30ff\u3400-\u9fff]) (?=[\u3041-\u30ff\u3400-\u9fff])")


def _commas_at_seams(text: str) -> str:
    """Spaces between Han characters are where unpunctuated segments met."""
    return _SEAM.sub("、" if re.search(r"[\u3041-\u30ff]", text) else "，", text)


def _closed(text: str) -> str:
    if has_terminal(text):
        return text
    text = text.rstrip(",，、;；:：-–— ")
    if re.search(r"[\u0e00-\u0e7f]$", text):
        return text
    return text + ("。" if is_cjk(text[-1:]) else ".")

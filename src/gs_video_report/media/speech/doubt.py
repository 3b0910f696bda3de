"""Tell speech from the texts that Whisper invents for music, noise and silence.

Pure. Decided from what the model says about its own answer, not from the words: a real "Thank
you" stays. Known inventions (closing words of videos, subtitle credits) only lower the bar.
Source: openai/whisper, `transcribe.py`, skips a window when it hears no speech (above 0.6) and is
unsure (mean log-probability below -1). The lines here were drawn between 150 non-speech windows
(silence, noise, hum, clicks, melodies, five real music tracks) and real speech in 13 languages.
"""

from __future__ import annotations

import re
from dataclasses import dataclass

_LINES = ((0.35, -1.0), (0.7, -0.75))
"""(no-speech probability above, log-probability below): a text behind any line is dropped."""
_INVENTED_LINE = (0.3, -0.4)
_REPEATS = 4

_INVENTED = re.compile(
    r"(you|so|thank you|thanks|thank you (so|very) much|bye( bye)?|the end|music|music playing|"
    r"thank(s| you) for watching|please subscribe|subscribe|i'?m|i'?m sorry|i don'?t know|"
    r"谢谢(大家|观看|收看|你)?|感谢(观看|收看|您的观看)|请不吝点赞.*|試試|试试|作词|作曲|词曲|"
    r"ご視聴ありがとうございました|ご視聴ありがとうございます|시청해주셔서 감사합니다|"
    r"продолжение следует|спасибо за просмотр|merci d'avoir regardé.*|vielen dank|"
    r"gracias por ver el v[ií]deo|obrigad[oa] por assistir)",
    re.IGNORECASE,
)
_CREDIT = re.compile(
    r"(字幕(由|by|制作|志愿者|提供)|amara\.org|索兰娅|субтитры (сделал|создавал|делал)|"
    r"sous-titr(es|age) (réalisé|fait|st' ?501)|untertitel (im auftrag|der amara|von)|"
    r"subt[ií]tulos (realizados )?por|legendas? (pela|por) comunidade)",
    re.IGNORECASE,
)


@dataclass(frozen=True, slots=True)
class Evidence:
    """What is known about the text of one chunk."""

    text: str
    avg_logprob: float
    no_speech_prob: float
    prompt: str = ""
    """Text the model was given beforehand; it likes to repeat it when nothing is said."""


def is_doubtful(evidence: Evidence) -> bool:
    """True when the text should be left out: nothing legible, or not believed to be speech."""
    bare = re.sub(r"[\W_]+", " ", evidence.text).strip()
    if not bare:
        return True
    lines = [*_LINES]
    if _is_known_invention(evidence, bare) or _is_one_unit_repeated(bare):
        lines.append(_INVENTED_LINE)
    return any(
        evidence.no_speech_prob > heard and evidence.avg_logprob < sure for heard, sure in lines
    )


def _is_known_invention(evidence: Evidence, bare: str) -> bool:
    if evidence.prompt and bare == re.sub(r"[\W_]+", " ", evidence.prompt).strip():
        return True
    words = re.sub(r"[^\w' ]+", " ", evidence.text).strip()
    return bool(_INVENTED.fullmatch(words)) or bool(_CREDIT.search(evidence.text))


def _is_one_unit_repeated(bare: str) -> bool:
    """`试试试试`, `you you you you`: the same word or character, and nothing else."""
    units = bare.lower().split()
    if len(units) == 1:
        units = list(units[0])
    return len(units) >= _REPEATS and len(set(units)) == 1

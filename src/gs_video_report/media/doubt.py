"""Tell speech from the texts that Whisper invents for music, noise and silence.

Pure. Source of the rule: openai/whisper, `transcribe.py`: no speech heard, and unsure of it.
"""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class Evidence:
    """What is known about the text of one chunk."""

    text: str
    seconds: float
    avg_logprob: float
    no_speech_prob: float
    compression_ratio: float
    prompt: str = ""


def is_doubtful(evidence: Evidence) -> bool:
    """True when the text should be left out."""
    if not any(character.isalnum() for character in evidence.text):
        return True
    return evidence.no_speech_prob > 0.6 and evidence.avg_logprob < -1.0

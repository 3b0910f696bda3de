"""How much memory a compute process needs at least for the stages on this machine. Pure.

Measured with Whisper base (a model file of 145 MB) over two hours of sound, and with slides of
720p: 484 MB at the peak for listening, 474 MB for reading slides; both keep what they loaded, so a
process that has listened went to 803 MB as it read 640 slides (benchmarks/long_recording.py).
Figures for other models follow from the size of their file.
"""

from __future__ import annotations

from dataclasses import dataclass

SPEECH_BYTES = 300_000_000
"""Python, decoders, the runtime and the sound of one chunk."""
MODEL_FACTOR = 1.1
"""A model in memory, as a multiple of its file."""
OCR_BYTES = 350_000_000
"""What reading slides adds to a process that has listened."""
COORDINATOR_BYTES = 60_000_000
"""The process that hands out the work."""


def process_bytes(model_bytes: int, *, ocr: bool) -> int:
    """Resident bytes that the largest process reaches.

    Args:
        model_bytes: size of the speech model's file.
        ocr: slides are read, too.
    """
    return int(SPEECH_BYTES + MODEL_FACTOR * model_bytes) + (OCR_BYTES if ocr else 0)


@dataclass(frozen=True, slots=True)
class Shortage:
    """A process gets less than the work needs."""

    message: str
    hint: str


def shortage(need: int, allowed: int, fraction: float, limit: int | None) -> Shortage | None:
    """What to say when a process needs `need` bytes and gets `allowed`; None when that is enough.

    Args:
        allowed: resident bytes at which a process is stopped; 0 = no limit.
        fraction: the part of the whole that one process may have.
        limit: what the user allowed in all; None = what the machine has.
    """
    if not allowed or allowed >= need:
        return None
    least = _megabytes(int(max(need / fraction, need + COORDINATOR_BYTES)))
    what = f"a process needs up to {_megabytes(need)} MB and gets {allowed // 1_000_000}"
    less = "--no-ocr or a smaller --asr-model need less"
    if limit is None:
        message = f"this machine has little memory: {what}; videos may fail for it"
        return Shortage(message, f"{least} MB in all would do; {less}")
    message = f"memory_limit: {limit // 1_000_000} MB is too little for this batch: {what}"
    return Shortage(message, f"set it to at least {least}MB; {less}")


def _megabytes(count: int) -> int:
    """Whole tens of megabytes, rounded up."""
    return -(-count // 10_000_000) * 10

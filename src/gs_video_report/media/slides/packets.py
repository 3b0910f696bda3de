"""What the sizes of packets tell about a group of pictures, before anything is decoded. Pure.

Truth: a picture that stands still costs next to nothing: its packets are a few thousandths of the
key frame's. A new page must be coded from nothing somewhere, so its packet is a good part of a key
frame, whatever the codec, the resolution or the quality. So sizes are measured in key frames.
Never: decodes; decides about slides (that is `slides.change`).
Source: measured on the made recordings of `benchmarks/slides_heldout.py` (first set): packets of
pages that stand still 0.001 to 0.003 key frames in the median, the first packet of a new page 0.18
to 2.6, single bullets and rows 0.01 to 0.1.
"""

from __future__ import annotations

from collections.abc import Collection, Sequence
from dataclasses import dataclass

STILL = 0.012
"""Key frames; packets below it hold no change that lasts, when both key frames look alike."""
STILL_STRICT = 0.006
"""The same, when something changed from one key frame to the next."""
_LEVEL_TIMES, _LEVEL_CAP = 3.0, 0.015
"""Packets up to so many times the quiet ones of their group are still, within a cap."""
_LEAST_BYTES = 40
_PIXELS_PER_BYTE = 20_000
"""A packet that says "as before" for each block grows with the picture."""
LONGEST_STEP_S = 0.5
"""Between two pictures that are looked at, where nothing stands still."""
LAST_S = 0.3
"""Before a key frame, seconds: what changes there is dated by the key frame."""
_SPIKE_SHARE = 0.15
_SPIKE_TIMES = 2.0


@dataclass(frozen=True, slots=True)
class Evidence:
    """What one group of pictures may hold."""

    live: tuple[int, ...]
    """Indexes of the packets that may change the picture, rising; the key frame is none."""
    spikes: tuple[int, ...]
    """Those among them that stand out of the others: a page may come and go there."""
    packets: int

    @property
    def mostly_still(self) -> bool:
        """At least half of the packets say "as before"."""
        return len(self.live) * 2 <= self.packets

    def with_lead_in(self, count: int) -> set[int]:
        """The live packets and up to `count` before each."""
        return {at for live in self.live for at in range(max(0, live - count), live + 1)}

    def next_live(self, index: int) -> int | None:
        """The first live packet behind `index`; None when all is still from there on."""
        return next((at for at in self.live if at > index), None)

    def spike_follows(self, index: int) -> bool:
        """Whether a spike comes behind `index`."""
        return bool(self.spikes) and self.spikes[-1] > index


def weigh(
    sizes: Sequence[int],
    key_bytes: int,
    pixels: int,
    *,
    alike: bool,
    needed: Collection[int] = (),
    last: Collection[int] = (),
) -> Evidence:
    """Tell the live packets of a group from those that say "as before".

    Args:
        sizes: bytes of all packets in the order of the file; the first one is the key frame.
        key_bytes: what a key frame takes here: the smaller of the two at both ends of the group.
        pixels: of a picture.
        alike: the key frames at both ends show the same.
        needed: indexes that are live whatever their size.
        last: indexes shown so shortly before the next key frame that no page can come and go
            there; encoders often spend much on the very last one.
    """
    share = STILL if alike else STILL_STRICT
    quiet = sorted(sizes[1:] or [0])[(len(sizes) - 1) // 4]
    level = min(_LEVEL_TIMES * quiet, _LEVEL_CAP * key_bytes)
    least = max(share * key_bytes, level, _LEAST_BYTES + pixels / _PIXELS_PER_BYTE)
    live = tuple(at for at, size in enumerate(sizes) if at and (size > least or at in needed))
    if not live:
        return Evidence((), (), len(sizes))
    usual = sorted(sizes[at] for at in live)[(len(live) - 1) * 9 // 10]
    few = len(live) * 2 <= len(sizes)
    big = max(_SPIKE_SHARE * key_bytes, 0.0 if few else _SPIKE_TIMES * usual)
    spikes = tuple(at for at in live if sizes[at] > big and at not in last)
    return Evidence(live, spikes, len(sizes))


def backward(times_s: Sequence[float]) -> tuple[frozenset[int], frozenset[int]]:
    """Indexes of packets shown before one that precedes them in the file.

    Those are predicted from both sides, and pictures predicted forwards hardly ever refer to them.

    Args:
        times_s: when the picture of each packet of a group is shown, in the order of the file.

    Returns:
        Those that nobody misses, or that only the group before can show; and those between
        pictures more than `LONGEST_STEP_S` apart: there a small packet may show early what comes
        next.
    """
    free: set[int] = set()
    needed: set[int] = set()
    before_s = latest_s = float("-inf")
    for index, at_s in enumerate(times_s):
        if at_s > latest_s:
            before_s, latest_s = latest_s, at_s
        elif at_s < times_s[0] or at_s >= before_s >= latest_s - LONGEST_STEP_S:
            free.add(index)
        else:
            needed.add(index)
    return frozenset(free), frozenset(needed)

"""Say which packets a picture needs that is to be exactly as it was recorded.

Truth: where packets were left out, the decoder shows on what it has: good enough to tell pages
apart, but someone who moved may leave a ghost. A picture that is written is decoded again, from its
key frame on, unless all that was left out before it are pictures that no other one refers to, or
that have been found to be none in this recording (`Trust`). Groups too long to be held are not
decoded again, nor are pictures that end inside them: those stay as they were seen.
Never: decodes (that is `slides.reader`); knows other codecs than H.264, as only there packets are
left out.
Source: ITU-T H.264, 7.3.1 (`nal_ref_idc`) and Annex B; ISO/IEC 14496-15 for lengths instead of
start codes.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from typing import Any

_SLICES = range(1, 6)
"""Types of units that hold a part of a picture."""
_START = b"\x00\x00\x01"
_LOOK_BYTES = 4096
"""Of a packet: parameters and messages before the first slice take less."""


@dataclass(frozen=True, slots=True, eq=False)
class Origin:
    """Where a frame comes from: a group of pictures of which packets were left out."""

    packets: list[Any]
    """All of the group, the key frame first, in the order of the file."""
    sent: frozenset[int]
    """Times (`pts`) of those that were decoded."""
    length_bytes: int
    """Of the length before each unit; 0: units begin with start codes."""
    forward: bool
    """All that is predicted forwards was decoded, to the last packet."""

    def needed(self, stamp: int | None) -> list[Any]:
        """What is to be decoded for the picture of time `stamp`, whose packet comes last.

        Empty: the frame at hand is exact, or its packet is not in the group.
        """
        at = next((at for at, each in enumerate(self.packets) if each.pts == stamp), None)
        if at is None or stamp is None:
            return []
        before = self.packets[:at]
        gone = (each for each in before if each.pts not in self.sent)
        if not any(is_reference(bytes(each)[:_LOOK_BYTES], self.length_bytes) for each in gone):
            return []
        return self.packets[: at + 1]


@dataclass(slots=True)
class Trust:
    """Whether pictures predicted forwards are the same without those predicted from both sides.

    Most encoders never refer to those; one that does shows it, as what it leaves out is seen.
    The first picture of a recording is tried, and one of `EVERY` from then on, until one differs.
    """

    EVERY = 8

    _asked: int = 0
    _broken: bool = False

    def must_try(self, origin: Origin) -> bool:
        """Whether the next picture of this origin is to be decoded exactly."""
        if self._broken or not origin.forward:
            return True
        self._asked += 1
        return self._asked % self.EVERY == 1

    def tried(self, origin: Origin, *, same: bool) -> None:
        """What came of it."""
        self._broken |= origin.forward and not same


def origin_of(
    packets: list[Any], decoded: Iterable[Any], extradata: bytes | None, *, forward: bool
) -> Origin:
    """The origin of frames of a group, of which only `decoded` was sent to the decoder."""
    data = extradata or b""
    length_bytes = (data[4] & 3) + 1 if len(data) > 4 and data[0] == 1 else 0
    return Origin(packets, frozenset(each.pts for each in decoded), length_bytes, forward)


def is_reference(data: bytes, length_bytes: int) -> bool:
    """Whether other pictures may refer to the one in this packet; in doubt, they may."""
    for head in _unit_heads(data, length_bytes):
        if head & 31 in _SLICES:
            return bool(head >> 5 & 3)
    return True


def _unit_heads(data: bytes, length_bytes: int) -> Iterator[int]:
    """The first byte of each unit."""
    at = 0
    while length_bytes and at + length_bytes < len(data):
        length = int.from_bytes(data[at : at + length_bytes], "big")
        yield data[at + length_bytes]
        at += length_bytes + length
    while not length_bytes and 0 <= (found := data.find(_START, at)) < len(data) - len(_START):
        at = found + len(_START)
        yield data[at]

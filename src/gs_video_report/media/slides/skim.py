"""Choose which packets of a recording are decoded at all: most of a lecture never changes.

Truth: nothing is left out unless two things agree. The sizes of packets (`slides.packets`) tell
where a picture can change; the key frames at both ends of a group are always decoded, and tell
whether something did. Where a page stands still, its key frame is shown on. Where something always
moves (a camera inset, noise) and both ends show the page that is known, what lies between is not
looked at. Everything else is decoded as far as it matters, in doubt to the end.
Never: trusts a damaged group, a stream without times, or a key frame that cannot stand alone: such
are decoded packet by packet.
"""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import Any

from gs_video_report.media.slides.change import cells_changed
from gs_video_report.media.slides.exact import Origin
from gs_video_report.media.slides.packets import LAST_S, Evidence, backward, weigh
from gs_video_report.media.slides.reader import Group, Reader
from gs_video_report.media.slides.sampler import Sampler

_LEAD_IN = 4
"""Packets decoded before a live one: behind a gap the decoder keeps its first pictures back."""


@dataclass(frozen=True, slots=True)
class _Look:
    """A key frame, decoded on its own."""

    packet: Any
    t_s: float
    frame: Any
    gray: Any


@dataclass(slots=True)
class Skimmer:
    """Feeds the sampler, group by group."""

    reader: Reader
    sampler: Sampler
    _origin: Origin | None = None
    """Of the frames that are decoded now, where packets are left out."""
    _next: _Look | None = None
    """The key frame of the group that comes."""
    _blind: bool = False
    """Key frames of this stream do not stand alone."""
    _inside: bool = False
    """The group before was cut and goes on."""
    _key_bytes: int = 0
    """Of the key frame of a group that was cut."""

    def take(self, group: Group) -> None:
        """Look at one group as closely as it needs; damaged ones are decoded packet by packet."""
        self._look_at(group)
        self.sampler.write(None if self.reader.is_busy else self.reader.exactly)

    def _look_at(self, group: Group) -> None:
        inside, self._inside = self._inside, group.cut
        if not self.reader.stamped or self._blind or not group.sound:
            self._feed_all(group.packets)
            return
        if group.cut or inside:
            self._feed_part(group, inside)
            return
        self._feed(self.reader.rest())
        self._origin = None
        first = self._look(group.packets[0])
        after = None if group.next_key is None else self._look(group.next_key)
        self._next = after
        if first is None or (after is None and group.next_key is not None):
            self._blind = first is None and not group.packets[0].is_corrupt
            self._feed_all(group.packets)
            return
        self._skim(group, first, after)
        self.sampler.shown_until(self.reader.end_of(group))

    def finish(self) -> None:
        """No group follows."""
        self._feed(self.reader.rest())

    def _look(self, packet: Any) -> _Look | None:
        if self._next is not None and self._next.packet is packet:
            return self._next
        t_s, frame = self.reader.time_of(packet), self.reader.picture(packet)
        if t_s is None or frame is None:
            return None
        return _Look(packet, t_s, frame, self.sampler.gray(frame))

    def _feed(self, frames: Any) -> None:
        for t_s, frame in frames:
            self.sampler.feed(t_s, frame, self._origin)

    def _feed_all(self, packets: list[Any]) -> None:
        self._origin = None
        self._feed(self.reader.decode(packets))

    def _feed_part(self, group: Group, inside: bool) -> None:
        """A part of a long group: no key frame at its end tells whether something changed."""
        self._origin = None
        if not inside:
            self._feed(self.reader.rest())
            self._key_bytes = group.packets[0].size
        if not self.reader.copies_gaps:
            self._feed_all(group.packets)
            return
        free, needed = backward(self._times(group))
        group, needed = _without(group, free, needed)
        sizes = [packet.size for packet in group.packets]
        evidence = weigh(sizes, self._key_bytes, self.reader.pixels, alike=False, needed=needed)
        count = len(sizes)
        wanted = set(range(count))
        if evidence.mostly_still:
            ends = {0, *range(max(0, count - _LEAD_IN), count)}
            wanted = evidence.with_lead_in(_LEAD_IN) | ends
        chosen = (group.packets[at] for at in sorted(wanted))
        self._feed(self.reader.decode(chosen, gaps=True))

    def _times(self, group: Group) -> list[float]:
        return [self.reader.time_of(packet) or 0.0 for packet in group.packets]

    def _skim(self, group: Group, first: _Look, after: _Look | None) -> None:
        whole = group.packets
        free, needed = backward(self._times(group))
        if self.reader.copies_gaps and free:
            group, needed = _without(group, free, needed)
        evidence = self._weigh(group, first, after, needed)
        shown = self.reader.shown(first.frame)
        if shown is not None:
            self.sampler.feed(*shown)
        if not evidence.live:
            return
        if after is not None and self._may_leave(evidence, 0, after):
            self.sampler.pause(after.t_s)
            return
        if self.reader.copies_gaps and evidence.mostly_still:
            self._feed_live(group, evidence, whole)
        else:
            if len(group.packets) < len(whole):
                self._origin = self.reader.origin(whole, group.packets, forward=True)
            self._feed_until_calm(group, evidence, after)

    def _weigh(
        self, group: Group, first: _Look, after: _Look | None, needed: frozenset[int]
    ) -> Evidence:
        alike = after is not None and not cells_changed(first.gray, after.gray).any()
        sizes = [packet.size for packet in group.packets]
        least = sizes[0] if after is None else min(sizes[0], after.packet.size)
        end_s = float("inf") if after is None else after.t_s - LAST_S
        last = {at for at, at_s in enumerate(self._times(group)) if at_s >= end_s}
        pixels = self.reader.pixels
        return weigh(sizes, least, pixels, alike=alike, needed=needed, last=last)

    def _may_leave(self, evidence: Evidence, index: int, after: _Look) -> bool:
        """Behind packet `index` nothing will be found before the next key frame."""
        if evidence.spike_follows(index) or not self.sampler.is_calm:
            return False
        return self.sampler.explains(after.gray)

    def _feed_live(self, group: Group, evidence: Evidence, whole: list[Any]) -> None:
        chosen = [group.packets[at] for at in sorted({0, *evidence.with_lead_in(_LEAD_IN)})]
        self._origin = self.reader.origin(whole, chosen, forward=False)
        self._feed(self.reader.decode(chosen, gaps=True))
        self._feed(self.reader.rest())

    def _feed_until_calm(self, group: Group, evidence: Evidence, after: _Look | None) -> None:
        samples = self.sampler.samples
        for index, packet in enumerate(group.packets):
            self._feed(self.reader.decode((packet,), gaps=self.reader.copies_gaps))
            if evidence.next_live(index) is None:
                break
            if after is not None and self.sampler.samples != samples:
                samples = self.sampler.samples
                if self._may_leave(evidence, index, after):
                    self._feed(self.reader.rest())
                    self.sampler.pause(after.t_s)
                    return
                if not evidence.spike_follows(index) and self._settles(after):
                    return
        self._feed(self.reader.rest())

    def _settles(self, after: _Look) -> bool:
        """What came is what the next key frame shows: it need not be watched until it settles."""
        if not self.sampler.settle(after.frame, after.t_s):
            return False
        self.reader.drop()
        return True


def _without(
    group: Group, free: frozenset[int], needed: frozenset[int]
) -> tuple[Group, frozenset[int]]:
    """The group without the packets that nobody misses; the needed ones at their new places."""
    kept = [at for at in range(len(group.packets)) if at not in free]
    places = frozenset(place for place, at in enumerate(kept) if at in needed)
    return replace(group, packets=[group.packets[at] for at in kept]), places

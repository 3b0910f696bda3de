"""Whether a service that nobody can reach is down, and who may try it again, and when.

An outage must not use up the tries of tasks: they wait, and one at a time looks whether the other
side is back. A fault of one recording, or of one host among others, must not look like an outage:
its tasks use up their tries as always.
Source of the states: the circuit breaker (Nygard, "Release It!", 2007): closed, open, and one
probe at a time with growing waits; the waits have jitter, as in `retry`.
Pure: the clock and the random number come from the caller. Nothing survives the process, so a
resumed batch simply tries.
Never: sleeps, prints, knows tasks beyond their number.
"""

from __future__ import annotations

from dataclasses import dataclass, field

from gs_video_report.errors import DownloadError, GsvrError, Unreachable

ENGINE = ""
"""The source that stands for the engine's own service; all others are names of hosts."""
INTERNET = "*"
"""All hosts of downloads together: down when several of them are and none answers."""
OPEN_AFTER = 3
"""Failures in a row, without an answer between them, that make an outage."""
FIRST_WAIT_S = 2.0
LONGEST_WAIT_S = 30.0
"""Between two probes."""
DEFAULT_LIMIT_S = 1800.0
"""After so long an outage the batch is paused."""
_MAX_DOUBLINGS = 10


@dataclass(frozen=True, slots=True)
class Sign:
    """A failure that may be part of an outage."""

    source: str
    label: str
    """The other side, in words for people."""
    certain: bool
    """There was no connection at all, or the other side says itself that it is not available.
    Otherwise (a cut, no answer in time, an internal error) the request may be the reason."""
    reason: str = ""


def sign_of(error: GsvrError) -> Sign | None:
    """The sign that an error is; None when the other side answered."""
    certain = bool(error.data.get("certain"))
    if isinstance(error, Unreachable):
        label = str(error.data.get("service") or "the service")
        return Sign(ENGINE, label, certain, error.message)
    host = str(error.data.get("host") or "")
    if isinstance(error, DownloadError) and error.data.get("unreachable") and host:
        return Sign(host, host, certain, error.message)
    return None


@dataclass(frozen=True, slots=True)
class Outage:
    """A service that is down."""

    source: str
    label: str
    since: float
    """Monotonic seconds of the first failure."""
    reason: str
    """Message of the last failure."""


@dataclass(slots=True)
class _Source:
    """What is known of one source."""

    streak: int = 0
    """Failures since the last answer."""
    since: float = 0.0
    tasks: set[int] = field(default_factory=set)
    """Of the streak, until it is an outage."""
    hosts: set[str] = field(default_factory=set)
    """Of the streak; for INTERNET."""
    answers: int = 0
    free: dict[int, tuple[int, int]] = field(default_factory=dict)
    """Task -> (how often it was let off, answers of the source at that time)."""
    is_open: bool = False
    label: str = ""
    reason: str = ""
    probe_at: float = 0.0
    probes: int = 0
    """Failures since it is open."""
    probing: bool = False

    def fail(self, sign: Sign, task_id: int, now: float, rand: float, first_wait_s: float) -> None:
        if self.streak == 0:
            self.since = now
        self.streak += 1
        self.label, self.reason = sign.label, sign.reason
        if not self.is_open:
            self.tasks.add(task_id)
            self.hosts.add(sign.source)
        if self.is_open and now < self.probe_at:
            return  # no probe: a request that was under way when it went down
        self.probing = False
        self.probes += self.is_open
        wait_s = min(LONGEST_WAIT_S, first_wait_s * 2.0 ** min(self.probes, _MAX_DOUBLINGS))
        self.probe_at = now + wait_s * (0.5 + rand / 2)

    def clear(self) -> None:
        """It answered."""
        self.streak, self.probes, self.is_open, self.probing = 0, 0, False, False
        self.answers += 1
        self.tasks.clear()
        self.hosts.clear()


@dataclass(slots=True)
class OutageWatch:
    """The sources of one run."""

    first_wait_s: float = FIRST_WAIT_S
    """Before the first probe; doubled from probe to probe."""
    _sources: dict[str, _Source] = field(default_factory=dict)
    _host_answered_at: float = float("-inf")
    _hosts_seen: set[str] = field(default_factory=set)
    """Up to two hosts that have answered; enough to know whether another one did."""

    def failed(self, sign: Sign, task_id: int, now: float, rand: float) -> float | None:
        """Note a failure.

        Args:
            rand: uniform in [0, 1).

        Returns: seconds after which the task may try again without loss of a try; None when the
            failure counts against the task.
        """
        source = self._source(sign.source)
        source.fail(sign, task_id, now, rand, self.first_wait_s)
        if sign.source != ENGINE:
            self._failed_host(sign, task_id, now, rand)
            if self._is_broken(sign.source, source):
                source.is_open = False
                return None
        alone = len(source.tasks) < 2 and not (sign.certain and sign.source == ENGINE)
        if source.streak >= OPEN_AFTER and not alone:
            source.is_open = True
        if self.is_down(sign.source):
            source.free.clear()
            # others come first at the next probe, or one bad recording would do them all
            return 2 * max(self.first_wait_s / 2, self._gate(sign.source).probe_at - now)
        return self._let_off(sign, source, task_id, now)

    def _failed_host(self, sign: Sign, task_id: int, now: float, rand: float) -> None:
        everything = self._source(INTERNET)
        everything.fail(sign, task_id, now, rand, self.first_wait_s)
        everything.label = "the internet"
        if everything.streak >= OPEN_AFTER and len(everything.hosts) > 1:
            everything.is_open = True

    def _is_broken(self, host: str, source: _Source) -> bool:
        """Others answer while this host does not: it is not the network."""
        if self._source(INTERNET).is_open:
            return False
        if source.answers == 0:
            return bool(self._hosts_seen - {host})
        return self._host_answered_at >= source.since

    @staticmethod
    def _let_off(sign: Sign, source: _Source, task_id: int, now: float) -> float | None:
        """Before it is known to be an outage: a few times for each task, and again while nobody
        at all gets an answer and the failure cannot be the task's."""
        times, answers = source.free.get(task_id, (0, source.answers))
        silent = answers == source.answers and sign.certain and sign.source == ENGINE
        if times >= OPEN_AFTER - 1 and not silent:
            return None
        source.free[task_id] = (times + 1, source.answers)
        return source.probe_at - now

    def answered(self, name: str, now: float) -> Outage | None:
        """Note an answer, whatever it said. Returns: the outage that it ended, if there was one."""
        if name != ENGINE:
            self._host_answered_at = now
            if len(self._hosts_seen) < 2:
                self._hosts_seen.add(name)
        names = [name] if name == ENGINE else [name, INTERNET]
        ended = [self._outage(n) for n in names if self._source(n).is_open]
        for n in names:
            self._source(n).clear()
        return ended[-1] if ended else None

    def is_down(self, name: str) -> bool:
        """Whether `name` is part of an outage now."""
        return self._gate(name).is_open

    def may_probe(self, name: str, now: float) -> bool:
        """Whether a caller may try `name` now; a caller that may, while it is down, is the only
        one until `done()`, a failure or an answer."""
        gate = self._gate(name)
        if not gate.is_open:
            return True
        if gate.probing or now < gate.probe_at:
            return False
        gate.probing = True
        return True

    def done(self, name: str) -> None:
        """The probe has ended, with or without an answer."""
        self._gate(name).probing = False

    def wait_s(self, name: str, now: float) -> float:
        """Seconds until the next probe, 0 or more."""
        return max(0.0, self._gate(name).probe_at - now)

    def outages(self) -> list[Outage]:
        """All outages of now, the engine's first."""
        return [self._outage(n) for n in sorted(self._sources) if self._sources[n].is_open]

    def _gate(self, name: str) -> _Source:
        """The source whose state decides about `name`."""
        everything = self._sources.get(INTERNET)
        if name != ENGINE and everything is not None and everything.is_open:
            return everything
        return self._source(name)

    def _source(self, name: str) -> _Source:
        return self._sources.setdefault(name, _Source())

    def _outage(self, name: str) -> Outage:
        source = self._sources[name]
        return Outage(name, source.label, source.since, source.reason)

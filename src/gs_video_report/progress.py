"""How a plain function says how far it is, without knowing who listens.

Functions in `media/` call `report(done, total)`. In a compute process the sink sends it to the
coordinator (which also feeds the stall timer); everywhere else it does nothing.
"""

from __future__ import annotations

from collections.abc import Callable

_sink: Callable[[float, float], None] | None = None


def report(done: float, total: float) -> None:
    """Report progress in the unit of the caller's work; total 0 means unknown. Cheap."""
    if _sink is not None:
        _sink(done, total)


def set_sink(sink: Callable[[float, float], None] | None) -> None:
    """Install (or remove) the listener of this process."""
    global _sink  # one listener per process, set once by the compute child
    _sink = sink

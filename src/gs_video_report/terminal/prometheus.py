"""Measurements in the text format of Prometheus. Pure.

The format: https://prometheus.io/docs/instrumenting/exposition_formats/ (text, version 0.0.4).
True here: each family has one HELP and one TYPE line and its samples stand together; there are no
times on samples, so the text fits node_exporter's textfile collector, which refuses them.
"""

from __future__ import annotations

import math
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field

KINDS = ("gauge", "counter", "histogram")


@dataclass(frozen=True, slots=True)
class Sample:
    """One line: labels and value; `suffix` is `_bucket`, `_sum` or `_count` for histograms."""

    value: float
    labels: Mapping[str, str] = field(default_factory=dict)
    suffix: str = ""


@dataclass(frozen=True, slots=True)
class Family:
    """One measurement with all its samples."""

    name: str
    """`gsvr_...`, with the unit; counters end with `_total`."""
    kind: str
    """One of KINDS."""
    help: str
    samples: tuple[Sample, ...]


def histogram(
    bounds: Sequence[float],
    counts: Sequence[int],
    total: int,
    seconds: float,
    labels: Mapping[str, str],
) -> tuple[Sample, ...]:
    """The samples of one histogram.

    Args:
        bounds: upper bounds, rising, without infinity.
        counts: measurements at or below each bound (cumulative).
        total: all measurements.
        seconds: their sum.
    """
    pairs = [(_number(b), c) for b, c in zip(bounds, counts, strict=True)] + [("+Inf", total)]
    buckets = [Sample(count, {**labels, "le": bound}, "_bucket") for bound, count in pairs]
    return (*buckets, Sample(seconds, labels, "_sum"), Sample(total, labels, "_count"))


def exposition(families: Iterable[Family]) -> str:
    """The whole text, ending with a newline. Families without samples are left out."""
    lines: list[str] = []
    for family in families:
        if family.samples:
            lines.append(f"# HELP {family.name} {_escaped(family.help, quote=False)}")
            lines.append(f"# TYPE {family.name} {family.kind}")
            lines += [_line(family.name, sample) for sample in family.samples]
    return "\n".join(lines) + "\n"


def _line(name: str, sample: Sample) -> str:
    labels = ",".join(f'{key}="{_escaped(text)}"' for key, text in sample.labels.items())
    braces = f"{{{labels}}}" if labels else ""
    return f"{name}{sample.suffix}{braces} {_number(sample.value)}"


def _escaped(text: str, *, quote: bool = True) -> str:
    """Backslash and newline are escaped, in values of labels also the double quote."""
    plain = text.encode("utf-8", "replace").decode("utf-8")
    plain = plain.replace("\\", "\\\\").replace("\n", "\\n")
    return plain.replace('"', '\\"') if quote else plain


def _number(value: float) -> str:
    if math.isnan(value):
        return "NaN"
    if math.isinf(value):
        return "+Inf" if value > 0 else "-Inf"
    return str(int(value)) if value == int(value) and abs(value) < 1e15 else repr(float(value))

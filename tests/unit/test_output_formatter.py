"""The facade: every name is there, and nothing is loaded before it is used."""

from __future__ import annotations

import subprocess
import sys

import pytest

from gs_video_report.batch import output_formatter


def test_every_public_name_can_be_taken() -> None:
    for name in output_formatter.__all__:
        assert getattr(output_formatter, name).__module__.startswith("gs_video_report.terminal.")


def test_the_public_names_are_the_ones_with_a_home() -> None:
    assert set(output_formatter.__all__) == set(output_formatter._HOME_OF)


def test_an_unknown_name_is_an_attribute_error() -> None:
    with pytest.raises(AttributeError, match="no attribute 'fancy'"):
        output_formatter.fancy  # noqa: B018


def test_tables_do_not_load_the_live_screen() -> None:
    script = (
        "import sys\n"
        "from gs_video_report.batch.output_formatter import batch_list, dry_run, summary_lines\n"
        "print([m for m in ('rich.live', 'rich.console', 'rich.table') if m in sys.modules])"
    )
    done = subprocess.run(
        [sys.executable, "-c", script], capture_output=True, text=True, check=True
    )
    assert done.stdout == "[]\n"

"""The long forms, by one command.

    python -m tests.reliability --kills 1000 --seed 7            strike real processes (storm.py)
    python -m tests.reliability --kills 30 --spoken              on speech and slides, all formats
    python -m tests.reliability --cuts 2000 --seed 7             power cuts (power.py)
    python -m tests.reliability --kills 30 --input examples      the same storm on your recordings
    python -m tests.reliability --mutants 1000 --seed 7          files made wrong (fuzz.py)
    python -m tests.reliability --rich 300 --seed 7              with speech, slides, OCR (rich.py)

`--report FILE` keeps what was found; `--nice 19` leaves the machine to others. The exit code is 1
if anything was wrong. The seed decides what is struck; what a stroke meets also depends on how the
processes run side by side.
"""

from __future__ import annotations

import argparse
import asyncio
import os
import random
import sys
import tempfile
import time
from pathlib import Path

from tests.reliability import shim
from tests.reliability.scene import (
    CHEAP,
    FULL,
    Scene,
    fake_model,
    fast_folder,
    small_library,
    spoken_library,
)
from tests.reliability.storm import Storm

NUMBERS_PER_SEED = 1_000_000
"""Mutations are numbered; the same number makes the same file."""


def main() -> None:
    """Run what was asked for, tell it, and exit."""
    options = arguments()
    os.nice(options.nice)
    began = time.monotonic()
    with tempfile.TemporaryDirectory(prefix="gsvr-reliability-", dir=fast_folder()) as name:
        folder = Path(name)
        told, wrong = [], False
        if options.kills:
            text, bad = kills(folder, options)
            told.append(text)
            wrong = wrong or bad
        if options.cuts:
            from tests.reliability.power import long_form

            text, bad = long_form(folder, options.cuts, options.seed)
            told.append(text)
            wrong = wrong or bad
        if options.mutants:
            text, bad = mutants(folder / "mutants", options)
            told.append(text)
            wrong = wrong or bad
        if options.rich:
            text, bad = rich_batches(folder / "rich", options)
            told.append(text)
            wrong = wrong or bad
    told.append(f"seed {options.seed}, {time.monotonic() - began:.0f} s")
    print("\n".join(told))
    if options.report:
        options.report.write_text("\n".join(told) + "\n", encoding="utf-8")
    sys.exit(int(wrong))


def arguments() -> argparse.Namespace:
    """The command line."""
    parser = argparse.ArgumentParser(prog="python -m tests.reliability", description=__doc__)
    parser.add_argument("--kills", type=int, default=0, help="strokes that must hit")
    parser.add_argument("--cuts", type=int, default=0, help="power cuts to play through")
    parser.add_argument("--mutants", type=int, default=0, help="made of each small file")
    parser.add_argument("--rich", type=int, default=0, help="mutated recordings with speech")
    parser.add_argument("--seed", type=int, default=1)
    parser.add_argument("--processes", type=int, default=3, help="gsvr processes at once, at most")
    parser.add_argument("--input", type=Path, help="recordings [eight tiny ones, made here]")
    parser.add_argument(
        "--spoken", action="store_true", help="two recordings with speech and slides instead"
    )
    parser.add_argument("--nice", type=int, default=0)
    parser.add_argument("--report", type=Path, help="file for the result")
    options = parser.parse_args()
    if not (options.kills or options.cuts or options.mutants or options.rich):
        parser.error("nothing to do: give --kills, --cuts, --mutants or --rich")
    if (options.kills or options.cuts) and shim.missing():
        parser.error(shim.missing())
    return options


def kills(folder: Path, options: argparse.Namespace) -> tuple[str, bool]:
    """The storm; (what to tell, whether anything was wrong)."""
    if options.input:
        inputs, extra = options.input.resolve(), ()
    elif options.spoken:
        inputs, extra = spoken_library(folder / "in"), FULL
    else:
        inputs = small_library(folder / "in")
        extra = (*CHEAP, "--asr-model", str(fake_model(folder / "model")))
    reference = Scene(folder / "reference", inputs, extra)
    with shim.Faults(folder, reference.root) as faults:
        reference.faults = faults
        first = reference.finish()
        changes = faults.count
    storm = Storm(
        folder, reference, random.Random(options.seed), options.processes,
        spread=max(60, changes // 2),
        tell=lambda text: print(text, flush=True),
    )  # fmt: skip
    tally = storm.run(options.kills)
    told = f"undisturbed: exit {first}, {changes} changes to files\n{tally.text()}"
    return told, bool(tally.problems) or first not in (0, 3)


def mutants(folder: Path, options: argparse.Namespace) -> tuple[str, bool]:
    """Mutations of every small file; (what to tell, whether anything was wrong)."""
    from tests.reliability.fuzz import decode_all
    from tests.reliability.originals import all_originals

    files = all_originals(folder / "originals")
    first = NUMBERS_PER_SEED * options.seed
    numbers = range(first, first + options.mutants * len(files))
    outcome = asyncio.run(
        decode_all(
            files, numbers, folder / "made", processes=2, tell=lambda t: print(t, flush=True)
        )
    )
    return f"{len(files)} originals\n{outcome.text()}", bool(outcome.problems)


def rich_batches(folder: Path, options: argparse.Namespace) -> tuple[str, bool]:
    """Batches of mutated recordings with speech; (what to tell, whether anything was wrong)."""
    from tests.reliability.rich import blocks

    first = NUMBERS_PER_SEED * options.seed
    numbers = range(first, first + options.rich)
    outcome = blocks(folder, numbers, tell=lambda t: print(t, flush=True))
    return outcome.text(), bool(outcome.problems)


if __name__ == "__main__":
    main()

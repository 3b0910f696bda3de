"""Recall, false alarms and speed of the slide detector on synthetic recordings with known truth.

    python benchmarks/slides_truth.py [STYLE ...] [--keep FOLDER] [--json OUT]

For each style of tests/support/media_video.py: slides and small replacements wanted and found
(within 1.2 s), false ones, those allowed where every choice is arbitrary (film), builds merged,
how late the times are, and seconds of video per second of one core, decoding included.
"""

from __future__ import annotations

import argparse
import json
import sys
import tempfile
import time
from dataclasses import asdict, dataclass
from pathlib import Path

sys.path.insert(0, str(Path(__file__).resolve().parents[1]))

from tests.support.media_video import BY_NAME, STYLES, Style, make_video, score

from gs_video_report.media.slides.find import SlideParams, find_slides


@dataclass(frozen=True)
class Row:
    """One style."""

    style: str
    wanted: int
    hits: int
    false: int
    allowed: int
    builds: int
    builds_wanted: int | None
    late_ms: int
    """Largest distance from the true time."""
    speed: float
    """Seconds of video per CPU second."""


def measure(style: Style, folder: Path) -> Row:
    """Make the recording if it is not there, and run the detector on it."""
    path = folder / f"{style.name}{style.suffix}"
    if not path.exists():
        make_video(style, folder)
    began = time.process_time()
    found = find_slides(str(path), str(folder / f"{style.name}.slides"), SlideParams())
    cpu_s = time.process_time() - began
    result = score([*style.slides, *style.replaced], [s.t_s for s in found.slides])
    return Row(
        style=style.name,
        wanted=result.wanted,
        hits=result.hits,
        false=result.false,
        allowed=style.extra,
        builds=sum(s.builds for s in found.slides),
        builds_wanted=style.builds,
        late_ms=round(1000 * max((abs(late) for late in result.late_s), default=0.0)),
        speed=round(style.duration_s / max(cpu_s, 1e-3), 1),
    )


def main() -> int:
    """Parse the command line, print a table; 1 when a style is worse than promised."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])  # type: ignore[union-attr]
    parser.add_argument("styles", nargs="*", choices=[[], *BY_NAME], help="default: all")
    parser.add_argument("--keep", type=Path, help="keep the recordings and pictures here")
    parser.add_argument("--json", type=Path, help="write the figures to this file")
    arguments = parser.parse_args()
    chosen = [BY_NAME[name] for name in arguments.styles] or list(STYLES)
    with tempfile.TemporaryDirectory() as temporary:
        folder = arguments.keep or Path(temporary)
        folder.mkdir(parents=True, exist_ok=True)
        print("style             found  false (allowed)  builds   late ms   x CPU")
        rows = []
        for style in chosen:
            row = measure(style, folder)
            rows.append(row)
            wanted_builds = "-" if row.builds_wanted is None else row.builds_wanted
            print(
                f"{row.style:16} {row.hits:3}/{row.wanted:<3} {row.false:4} ({row.allowed})"
                f"{row.builds:10}/{wanted_builds:<4}{row.late_ms:7}{row.speed:8}"
            )
    wanted, hits = sum(r.wanted for r in rows), sum(r.hits for r in rows)
    false = sum(max(0, r.false - r.allowed) for r in rows)
    print(f"recall {hits}/{wanted}, false beyond the allowed {false}")
    if arguments.json:
        arguments.json.write_text(json.dumps([asdict(r) for r in rows], indent=1) + "\n")
    return int(hits < wanted or false > 0)


if __name__ == "__main__":
    sys.exit(main())

"""Character errors of gsvr's OCR on slides whose text is known, as found in compressed recordings.

    python benchmarks/ocr.py [--folder DIR] [--seed 11] [--only NAME ...] [--drawn] [--json OUT]

The recordings are those of `benchmarks/slides.py`, drawn at the first call. Each picture that gsvr
keeps is read with `read_slide`, and compared with the lines that are on that page in the end.
`--drawn` reads the drawn pages instead: what is lost then is not the encoder's doing.

Measure: per known line, the fewest edits that turn it into some stretch of what was read (Sellers
1980), without spaces, NFKC; the sum over the characters of the known lines. So the order of blocks
and the furniture of a template (footer, page numbers, names in an inset) do not count as errors.
Chinese needs a font with Chinese characters where the pages are drawn; without it, it is left out.
"""

from __future__ import annotations

import argparse
import json
import sys
import tempfile
import unicodedata
from collections.abc import Iterator, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path

ROOT = Path(__file__).resolve().parents[1]
sys.path[0:1] = [str(ROOT)]

from benchmarks import slides_pages as sp  # noqa: E402
from benchmarks.slides import EARLY_S, LATE_S, prepare, styles, truth_of  # noqa: E402
from gs_video_report.media.ocr import read_slide  # noqa: E402
from gs_video_report.media.slides.find import SlideParams, find_slides  # noqa: E402

DRAWN_SIZE = (1280, 720)


@dataclass(frozen=True)
class Read:
    """One page: how many characters it has, how many were read wrongly."""

    recording: str
    language: str
    characters: int
    errors: int
    text: str


def folded(text: str) -> str:
    """Without spaces, NFKC: full-width forms are the same letters."""
    return "".join(unicodedata.normalize("NFKC", text).split())


def line_errors(line: str, read: str) -> int:
    """Fewest edits between `line` and any stretch of `read` (Sellers 1980)."""
    column = list(range(len(line) + 1))
    best = column[-1]
    for letter in read:
        above, column[0] = column[0], 0
        for index, wanted in enumerate(line, 1):
            diagonal = above + (wanted != letter)
            above = column[index]
            column[index] = min(diagonal, above + 1, column[index - 1] + 1)
        best = min(best, column[-1])
    return best


def compared(recording: str, language: str, lines: Sequence[str], picture: Path) -> Read:
    """Read one picture and count."""
    text = read_slide(str(picture), language).text
    known = [folded(line) for line in lines if folded(line)]
    errors = sum(line_errors(line, folded(text)) for line in known)
    return Read(recording, language, sum(map(len, known)), errors, text)


def from_recording(name: str, path: Path, work: Path) -> Iterator[Read]:
    """The pages with text of one recording whose picture was kept."""
    truth = truth_of(path)
    pictures = [
        (s.t_s, work / s.file) for s in find_slides(str(path), str(work), SlideParams()).slides
    ]
    for turn in truth["turns"]:
        first, last = turn["start_s"] - EARLY_S, turn["end_s"] + LATE_S
        kept = [picture for at, picture in pictures if first <= at <= last]
        if kept and turn["lines"]:
            yield compared(name, turn["language"], turn["lines"], kept[0])


def from_drawing(work: Path) -> Iterator[Read]:
    """Pages as drawn, 720p PNG: English on four looks, Chinese if there is a font."""
    grounds = {
        "white": sp.Look(sp.flat((255, 255, 255)), furniture=sp.thin_footer),
        "photo": sp.Look(sp.dimmed, (255, 255, 255), (255, 220, 120), same_ground=False, seed=5),
    }
    for name, look in grounds.items():
        for number in range(8):
            pages = [sp.bullets(look, DRAWN_SIZE, number, number + 3)]
            if name == "white":
                pages += [sp.table(look, DRAWN_SIZE, number, number)]
            yield from (_drawn(name, page, work) for page in pages)
    dark = sp.Look(sp.flat((30, 31, 40)), (220, 222, 230), (120, 190, 255))
    for number in range(len(sp.CODE)):
        yield _drawn("code", sp.code(dark, DRAWN_SIZE, number, number), work)
    if sp.has_chinese():
        look = sp.Look(sp.paper, (50, 35, 30), (160, 30, 30), language="zh")
        for number in range(len(sp.TOPICS_ZH)):
            yield _drawn("paper", sp.bullets(look, DRAWN_SIZE, number, number), work)


def _drawn(name: str, page: sp.Page, work: Path) -> Read:
    file = work / "page.png"
    page.picture.save(file)
    return compared(name, page.language, page.lines, file)


def main(argv: Sequence[str] | None = None) -> int:
    """Read and print; exit code 1 when nothing was read."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--folder", type=Path, default=Path(tempfile.gettempdir()) / "gsvr-slides")
    parser.add_argument("--set", choices=("first", "second", "all"), default="all")
    parser.add_argument("--seed", type=int, default=11)
    parser.add_argument("--only", nargs="+", default=None, help="names of recordings")
    parser.add_argument("--drawn", action="store_true")
    parser.add_argument("--json", type=Path, default=None)
    args = parser.parse_args(argv)
    if not sp.has_chinese():
        print("no font with Chinese characters: Chinese is left out", file=sys.stderr)
    rows: list[Read] = []
    with tempfile.TemporaryDirectory() as work:
        if args.drawn:
            rows += from_drawing(Path(work))
        else:
            wanted = {
                n: s for n, s in styles(args.set).items() if args.only is None or n in args.only
            }
            for name, path in prepare(wanted, args.folder, args.seed).items():
                rows += from_recording(name, path, Path(work) / name)
                print(f"... {name}", file=sys.stderr, flush=True)
    print_table(rows)
    if args.json is not None:
        args.json.write_text(json.dumps([asdict(r) for r in rows], ensure_ascii=False, indent=1))
    return 0 if rows else 1


def print_table(rows: Sequence[Read]) -> None:
    """One line per recording and language, one per language."""
    print(f"{'recording':18}{'language':>9}{'pages':>7}{'characters':>12}{'errors':>8}{'CER':>8}")
    names = dict.fromkeys((row.recording, row.language) for row in rows)
    groups = {key: [r for r in rows if (r.recording, r.language) == key] for key in names}
    groups |= {("all", lang): [r for r in rows if r.language == lang] for _, lang in names}
    for (name, language), group in groups.items():
        count, wrong = sum(r.characters for r in group), sum(r.errors for r in group)
        rate = 100 * wrong / max(1, count)
        print(f"{name:18}{language:>9}{len(group):7}{count:12}{wrong:8}{rate:7.2f} %")


if __name__ == "__main__":
    raise SystemExit(main())

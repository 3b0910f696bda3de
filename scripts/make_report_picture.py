"""Make `docs/images/report.png`: a real report of an example, in a real browser.

    gsvr batch process -d examples -o OUT -t summary_report
    python scripts/make_report_picture.py OUT/summary_report/week01/intro.html

and, for the Chinese pages:

    gsvr batch process -d examples -o OUT -t chinese_transcript
    python scripts/make_report_picture.py OUT/chinese_transcript/week02/二分查找.html \\
        --at 29.5 --target docs/images/report.zh-CN.png

Needs Chromium and Pillow. The page is opened as a file with the network off, as a reader would;
the recording really plays, so that sentence, slide and chapter are lit and the controls are gone.
"""

from __future__ import annotations

import argparse
import io
import sys
import tempfile
from pathlib import Path
from urllib.parse import quote

ROOT = Path(__file__).parents[1]
TARGET = ROOT / "docs" / "images" / "report.png"
WIDTH, HEIGHT = 1400, 900
LEAD_S = 5.0
"""The recording plays for so long before the picture is taken; browsers hide controls after 3 s."""
COLOURS = 256
LIMIT_BYTES = 400_000


def take(html: Path, at_s: float) -> bytes:
    """A picture of the page at `at_s` seconds of its recording, as PNG."""
    from tests.support.cdp import chromium

    with tempfile.TemporaryDirectory() as folder, chromium(Path(folder) / "profile") as browser:
        page = browser.page()
        page.size(WIDTH, HEIGHT)
        page.prefer(scheme="light")
        page.open("file://" + quote(str(html.resolve())))
        page.until("media.readyState >= 3")
        page.run(f"void (media.currentTime = {max(0.0, at_s - LEAD_S)})")
        page.until("!media.seeking")
        page.run("media.play()")
        page.until(f"media.currentTime >= {at_s}", timeout_s=LEAD_S + 15)
        page.until("document.querySelector('.s[aria-current]')")
        page.screenshot(Path(folder) / "page.png")
        return (Path(folder) / "page.png").read_bytes()


def small(png: bytes) -> bytes:
    """The same picture with a palette: a page has few colours."""
    from PIL import Image

    out = io.BytesIO()
    picture = Image.open(io.BytesIO(png)).convert("RGB")
    picture.quantize(COLOURS, dither=Image.Dither.NONE).save(out, "PNG", optimize=True)
    return out.getvalue()


def main() -> None:
    """Take the picture and write it."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])  # type: ignore[union-attr]
    parser.add_argument("html", type=Path, help="a report that was made before")
    parser.add_argument("--at", type=float, default=17.6, help="seconds into the recording")
    parser.add_argument("--target", type=Path, default=TARGET)
    options = parser.parse_args()
    data = small(take(options.html, options.at))
    if len(data) > LIMIT_BYTES:
        sys.exit(f"the picture has {len(data)} bytes, more than {LIMIT_BYTES}")
    options.target.write_bytes(data)


if __name__ == "__main__":
    sys.path.insert(0, str(ROOT))
    main()

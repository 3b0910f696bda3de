"""Make the two spoken test clips in tests/support/media again, with their truth.json.

Run:  python tests/support/make_media.py
Needs what examples/make_examples.py needs (see its header); the tests need none of it.
"""

from __future__ import annotations

import sys
from pathlib import Path

HERE = Path(__file__).resolve().parent
EXAMPLES = HERE.parents[1] / "examples"


def main() -> None:
    """Make the clips with the examples' own script."""
    sys.path.insert(0, str(EXAMPLES))
    from lectures import CLIPS
    from make_examples import make

    make(CLIPS, HERE / "media", [])


if __name__ == "__main__":
    main()

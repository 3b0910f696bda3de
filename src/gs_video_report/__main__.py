"""The `gsvr` script and `python -m gs_video_report`: start up without the cyclic collector.

Imports only allocate, so collecting during them is wasted time (6 % of `gsvr --help`);
`boundary` turns the collector on again before a command works.
"""

from __future__ import annotations

import gc


def main() -> None:
    """Entry point of the `gsvr` script."""
    gc.disable()
    from gs_video_report.cli import main as run

    run()


if __name__ == "__main__":
    main()

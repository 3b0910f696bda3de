"""`python -m gs_video_report` is `gsvr`."""

from gs_video_report.cli import main

main()

"""gs-video-report: turn collections of videos into reports, durably."""

__version__ = "0.1.0"

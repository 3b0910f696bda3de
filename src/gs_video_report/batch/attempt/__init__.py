"""One attempt at one video: its source, steps, calls, report and errors."""

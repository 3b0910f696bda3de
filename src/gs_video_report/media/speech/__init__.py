"""Speech to timed text, on this machine."""

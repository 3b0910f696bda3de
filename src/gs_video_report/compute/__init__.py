"""Out-of-process computing that can be killed."""

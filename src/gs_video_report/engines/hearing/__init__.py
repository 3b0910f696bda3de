"""Chunks in doubt are heard a second time."""

"""Checkpoint files: format, contents, and when to write one."""

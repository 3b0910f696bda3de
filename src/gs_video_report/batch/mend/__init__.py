"""Finished reports: judge, check, hear again, write anew, restore."""

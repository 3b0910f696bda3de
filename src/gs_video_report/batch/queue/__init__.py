"""The verbs on batches and tasks, and all that reads or writes their tables."""

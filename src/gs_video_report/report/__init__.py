"""The report model and its renderers: pure functions of a VideoReport."""

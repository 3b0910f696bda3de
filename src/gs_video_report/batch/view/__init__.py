"""A batch seen from another process: live picture and metrics."""

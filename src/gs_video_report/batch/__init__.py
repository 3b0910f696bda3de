"""The durable core: queue, pool, journal, limiter, checkpoints, and the faces of progress."""

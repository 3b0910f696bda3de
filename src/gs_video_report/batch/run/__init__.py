"""One run of a batch: rounds, what runs beside them, what is told, the end."""

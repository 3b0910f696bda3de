"""Plain functions on media files: probe, decode, transcribe, find slides, read them. Knows no batch."""

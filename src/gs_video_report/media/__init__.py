"""Plain functions on media files: probe, decode, transcribe, slides, OCR. Knows no batch."""

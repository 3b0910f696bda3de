"""Read subtitles of every kind."""

"""Any OpenAI-compatible server: it writes from transcript and slides."""

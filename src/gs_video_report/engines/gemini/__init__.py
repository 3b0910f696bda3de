"""The Gemini API: uploads once, asks stretch by stretch."""

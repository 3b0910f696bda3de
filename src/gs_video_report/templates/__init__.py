"""Prompt and layout templates: loading, checking, rendering in a sandbox."""

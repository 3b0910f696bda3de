"""Extractive text analysis without a language model: summary, key terms, chapters."""

"""Folders and lists become a stream of inputs and problems."""

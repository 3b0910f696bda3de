"""Find the slides of a recording."""

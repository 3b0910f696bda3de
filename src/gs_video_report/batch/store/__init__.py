"""The SQLite file: opening, grouped commits, rows and values, locks, clocks."""

"""The frozen picture of a run, its speed, the time left."""

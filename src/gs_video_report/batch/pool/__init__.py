"""What the worker pool needs: tasks in work, their ends, how a run ended, signals."""

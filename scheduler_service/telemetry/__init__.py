"""What happened: the records of runs and the verdicts on them, written through one door and read through one module."""

"""What the verdicts of experiments err and cost, beside those of the method of before: `python -m benchmarks.experiments`."""

"""What the verdicts of experiments err and cost, beside the method of before: `python -m benchmarks.experiments`."""

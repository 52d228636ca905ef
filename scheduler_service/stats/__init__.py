"""Statistics of experiments: pure functions of plain values; formulas and sources in docs/statistics.md."""

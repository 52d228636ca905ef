"""The usual way to put the same scheduler behind HTTP, to hold ours against: see `benchmarks.serving`."""

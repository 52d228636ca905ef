"""Slow, broken and hostile clients against a running service, and what its other clients see meanwhile."""

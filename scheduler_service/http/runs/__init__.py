"""A run from its request to its record, and what runs beside it."""

"""A run from its request to its record; shadow runs and replays."""

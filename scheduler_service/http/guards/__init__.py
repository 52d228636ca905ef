"""Checks that a request has to pass before it is handled: keys, rate limits, free queue places."""

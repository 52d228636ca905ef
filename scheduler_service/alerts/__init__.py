"""Alerts: what is wrong, decided by rules, and the channels that tell people."""

"""Experiments: their definition, the assignment of users, the examination, and the changes."""

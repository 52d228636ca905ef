"""Sockets, processes and threads: how an application is served, and where it computes."""

"""Experiments: what one is, who falls into which arm, and the file that holds them."""

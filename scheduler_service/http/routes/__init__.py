"""One module per resource: its handlers, with their contracts."""

"""What a request has to pass before anybody works for it: keys, limits, room."""

"""What clients send and get, as data: routes, bodies, answers, problems; and the documentation that is made from it."""

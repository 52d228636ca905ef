"""Due dates and deadlines of work points: bounds, and the search under the objective that is asked for."""

"""The recorded runs, pairs, replays and alerts: one writer, the queries, and the maintenance of the database."""

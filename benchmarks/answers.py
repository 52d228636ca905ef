"""How good the schedules are that a server answered, from the records in its database."""

import sqlite3
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

PROVED_GAP = 1e-7
"""A record with a smaller gap is of a proved optimum: its makespan and its bound are the same number."""


@dataclass(frozen=True)
class OfBody:
    """The runs of one request body."""

    runs: int
    mean_h: float
    shortest_h: float


@dataclass(frozen=True)
class Answers:
    """The recorded runs of a load."""

    runs: int  # of distinct users
    mean_gap: float  # share: answered makespan over the bound that is proved, minus 1
    proved_share: float  # of the runs, 0..1: the schedule is a proved optimum
    by_body: Mapping[int, OfBody]

    def excess(self, shortest_h: Mapping[int, float]) -> float:
        """Mean over the runs: how much longer a schedule is than the shortest one known of its body, as a share."""
        longer = [body.runs * (body.mean_h / shortest_h[number] - 1.0) for number, body in self.by_body.items()]
        return max(0.0, sum(longer) / max(self.runs, 1))  # not -0.0, which rounding makes of equal schedules


def answers(database: Path, user: str, n_bodies: int) -> Answers:
    """The successful runs of the users `<user><number>`, each of which sent body `number % n_bodies`."""
    query = (
        "SELECT CAST(substr(user_id, :after) AS INTEGER) % :bodies AS body, COUNT(DISTINCT user_id), AVG(makespan), "
        "MIN(makespan), AVG(gap), AVG(gap < :proved) FROM runs "
        "WHERE substr(user_id, 1, :length) = :user AND success GROUP BY body"
    )
    named = {"after": len(user) + 1, "length": len(user), "user": user, "bodies": n_bodies, "proved": PROVED_GAP}
    with sqlite3.connect(database) as connection:
        rows = connection.execute(query, named).fetchall()
    runs = sum(row[1] for row in rows)

    def mean(column: int) -> float:
        return sum(row[1] * row[column] for row in rows) / runs if runs else float("nan")

    by_body = {int(row[0]): OfBody(int(row[1]), float(row[2]), float(row[3])) for row in rows}
    return Answers(runs, mean(4), mean(5), by_body)


def shortest(known: Sequence[Answers]) -> dict[int, float]:
    """Body -> the shortest makespan that anybody answered, hours."""
    found: dict[int, float] = {}
    for each in known:
        for number, body in each.by_body.items():
            found[number] = min(body.shortest_h, found.get(number, float("inf")))
    return found

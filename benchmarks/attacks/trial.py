"""One row against one service: the attack beside clients that do nothing wrong, and what came of it."""

import time
from dataclasses import dataclass
from typing import Any

from benchmarks.attacks.beat import Seen, beats, quantile
from benchmarks.attacks.crowd import Attacking, Outcome
from benchmarks.attacks.rows import Row
from benchmarks.attacks.target import Target

LOOK_EVERY_S = 0.25
END_S = 12.0
"""How long an attacker's process may take beyond its time."""
REST_S = 1.0
"""After an attack, until the memory is looked at."""
MAX_LIVE_P99_MS = 50.0


@dataclass(frozen=True)
class Trial:
    """What a row did to the service and its other clients."""

    row: Row
    live: Seen
    runs: Seen
    outcome: Outcome
    rss_mib: tuple[float, float, float]  # before, at most, after
    cpu_share: float  # of one core, while it went on
    waited_share: float  # of the time: the event loop was ready, and others had the processor
    left: int  # connections of the attackers that were still open
    closed_s: tuple[float, ...]  # ages of those that the service closed, as far as they were seen

    @property
    def growth_mib(self) -> float:
        return self.rss_mib[1] - self.rss_mib[0]

    @property
    def machine_late_ms(self) -> float:
        """How late the system woke the client that asks `/health/live`, p99: no server can do better."""
        return 1e3 * quantile(self.live.late_s, 0.99)

    @property
    def faults(self) -> list[str]:
        """Why the row counts as failed; none if it was held."""
        found = self._other_faults()
        if self.is_late:
            found.append(f"p99 of /health/live {self.live.ms(0.99):.0f} ms")
        return found

    @property
    def is_late(self) -> bool:
        return self.live.ms(0.99) > MAX_LIVE_P99_MS

    @property
    def is_only_late(self) -> bool:
        return self.is_late and not self._other_faults()

    def _other_faults(self) -> list[str]:
        found = list(self.outcome.wrong)
        if self.live.failed:
            found.append(f"/health/live failed {len(self.live.failed)} times: {self.live.failed[0][:80]}")
        if self.runs.failed and not self.row.may_refuse_runs:
            found.append(f"{len(self.runs.failed)} schedules of others failed: {self.runs.failed[0][:80]}")
        if self.growth_mib > self.row.max_growth_mib:
            found.append(f"{self.growth_mib:.0f} MiB more, {self.row.max_growth_mib:.0f} are allowed")
        if self.row.must_end and self.left:
            found.append(f"{self.left} of its connections are still open")
        return found

    def figures(self) -> dict[str, Any]:
        """For the JSON."""
        return {
            "row": self.row.name,
            "faults": self.faults,
            "live_ms": {name: round(self.live.ms(share), 2) for name, share in SHARES.items()},
            "asked": len(self.live.latencies_s),
            "runs_ms": {name: round(self.runs.ms(share), 2) for name, share in SHARES.items()},
            "live_failed": len(self.live.failed),
            "runs_failed": len(self.runs.failed),
            "machine_late_p99_ms": round(self.machine_late_ms, 2),
            "rss_mib": [round(each) for each in self.rss_mib],
            "cpu_share": round(self.cpu_share, 3),
            "waited_share": round(self.waited_share, 3),
            "left": self.left,
            "closed_after_s": [round(f(self.closed_s), 1) for f in (min, max)] if self.closed_s else [],
            "attacker": vars(self.outcome),
        }


SHARES = {"p50": 0.5, "p99": 0.99, "max": 1.0}


def attempt(row: Row, target: Target) -> Trial:
    """Attack for as long as the row says."""
    before_mib = target.rss_mib()
    live, runs = beats(target.host, target.port)
    begun_s, begun_cpu_s, begun_waited_s = time.monotonic(), target.cpu_s(), target.waited_s()
    attacking = Attacking(row.name, row.play, target, row.seconds)
    most_mib, seen, closed_s = before_mib, dict[int, float](), list[float]()
    attackers: set[int] = set()
    while not attacking.is_over and time.monotonic() < begun_s + row.seconds + END_S:
        time.sleep(LOOK_EVERY_S)
        now_s, attackers = time.monotonic(), target.attackers()
        closed_s += [now_s - since_s for port, since_s in seen.items() if port not in attackers]
        seen = {port: seen.get(port, now_s) for port in attackers}
        most_mib = max(most_mib, target.rss_mib())
    took_s, used_s = time.monotonic() - begun_s, target.cpu_s() - begun_cpu_s
    waited_s = target.waited_s() - begun_waited_s
    left = len(target.attackers())
    seen_by_live, seen_by_runs = live.stop(), runs.stop()
    outcome = attacking.end(END_S)
    time.sleep(REST_S)
    memory = (before_mib, most_mib, target.rss_mib())
    return Trial(
        row, seen_by_live, seen_by_runs, outcome, memory, used_s / took_s, waited_s / took_s, left, tuple(closed_s)
    )

"""What a performance report of many runs costs: CPU seconds and greatest memory, of the page and of the PDF.

    python -m benchmarks.performance_report --runs 100000 --keep /tmp/reports

Half of the runs are of the period before. Sizes, gaps and compute times are drawn as benchmarks/results/scheduling.md
has them: 60 % of the requests have one work point, the others up to 80; compute times are lognormal about 20 ms.
"""

import argparse
import resource
import sys
import tempfile
import time
from datetime import UTC, datetime, timedelta
from pathlib import Path

import numpy as np
from sqlalchemy import insert

from monitoring import PerformanceMonitor, PerformanceRecord
from scheduler_service.alerts.episodes import Episode
from scheduler_service.telemetry.schema import runs as runs_table
from scheduler_service.telemetry.writer import run_row

NOW = datetime(2026, 11, 23, 12, 15, 30, tzinfo=UTC)
MODELS = ("DDQN_1a2b3c4d_v1.0.0", "DDQN_5c1f0a2e_v2.0.0", "PPO_99aa00ff_v0.9.1")
SIZES = (1, 2, 4, 8, 15, 30, 80)
SHARE_OF_SIZE = (0.6, 0.1, 0.1, 0.08, 0.06, 0.04, 0.02)
MEAN_GAP = {1: 0.003, 2: 0.05, 4: 0.06, 8: 0.02, 15: 0.011, 30: 0.008, 80: 0.004}
AT_A_TIME = 20_000


def fill(monitor: PerformanceMonitor, count: int, days: float) -> None:
    """`count` runs in twice `days`, some of them anomalous, and two alerts in the second half."""
    chance = np.random.default_rng(0)
    for begin in range(0, count, AT_A_TIME):
        rows = [_row(number, days, chance) for number in range(begin, min(count, begin + AT_A_TIME))]
        with monitor.engine.begin() as connection:
            connection.execute(insert(runs_table), rows)
    day = timedelta(days=days)
    episodes = [
        Episode(
            "max_execution_time", "", "warning", "resolved", NOW - 0.7 * day, NOW - 0.6 * day, "执行时间超过阈值", "",
            12.4, 10.0, fired=NOW - 0.69 * day, ended=NOW - 0.6 * day,
        ),
        Episode(
            "min_success_rate", "", "critical", "firing", NOW - 0.05 * day, NOW, "成功率低于阈值", "", 0.91, 0.95,
            fired=NOW - 0.05 * day,
        ),
    ]  # fmt: skip
    monitor.alerts.store(episodes, lambda _: [])


def _row(number: int, days: float, chance: np.random.Generator) -> dict[str, object]:
    size = int(chance.choice(SIZES, p=SHARE_OF_SIZE))
    age = 2.0 * days * float(chance.random())
    is_slow_spell = 0.30 * days < age < 0.36 * days
    gap = float(chance.gamma(2.0, MEAN_GAP[size] / 2.0)) + (0.2 if number % 997 == 0 else 0.0)
    lower_bound = 53.0 * (0.55 + 0.45 * size) * float(chance.uniform(0.9, 1.1))
    has_failed = number % 41 == 40
    team_shares = {f"team{team}": float(chance.uniform(0.1, 0.4 + 0.05 * team)) for team in range(1, 9)}
    return run_row(
        PerformanceRecord(
            request_id=f"r-{number:06d}",
            model_key=MODELS[int(chance.choice(3, p=(0.6, 0.3, 0.1)))],
            algorithm="DDQN",
            reason="assigned",
            user_id=f"user_{number % 100}",
            makespan=None if has_failed else lower_bound * (1.0 + gap),
            execution_time=float(chance.lognormal(-3.9, 0.2)) * (4.0 if is_slow_spell else 1.0),
            lower_bound=lower_bound,
            gap=None if has_failed else gap,
            resource_utilization=float(chance.uniform(0.3, 0.6)),
            team_utilization=team_shares,
            n_workpoints=size,
            n_steps=15 * size,
            time_budget_ms=20.0,
            input_params={"params": [4.0] * 15},
            success=not has_failed,
            error_message=f"solver timed out after {number} ms" if has_failed else None,
            timestamp=NOW - timedelta(days=age),
        ),
        NOW,
    )


def main() -> None:
    parser = argparse.ArgumentParser(description="Measure the cost of a performance report.")
    parser.add_argument("--runs", type=int, default=100_000, help="runs in the period, and as many before it")
    parser.add_argument("--days", type=float, default=7.0)
    parser.add_argument("--lang", choices=("zh", "en"), default="zh")
    parser.add_argument("--pdf", action="store_true")
    parser.add_argument("--database", type=Path, help="created if missing, and kept")
    parser.add_argument("--keep", type=Path, help="folder for the reports")
    chosen = parser.parse_args()
    with tempfile.TemporaryDirectory() as scratch:
        database = chosen.database or Path(scratch) / "performance.db"
        is_new = not database.exists()
        monitor = PerformanceMonitor(database, reports_dir=chosen.keep or scratch, clock=lambda: NOW)
        if is_new:
            fill(monitor, 2 * chosen.runs, chosen.days)
            monitor.close()
            if chosen.database:
                print("the database is made; run again, so that making it does not count")
                return
        before, begun = resource.getrusage(resource.RUSAGE_SELF), time.perf_counter()
        path = Path(monitor.generate_performance_report(chosen.days, lang=chosen.lang, pdf=chosen.pdf))
        used, wall_s = resource.getrusage(resource.RUSAGE_SELF), time.perf_counter() - begun
        cpu_s = used.ru_utime + used.ru_stime - before.ru_utime - before.ru_stime
        peak_mib = used.ru_maxrss / (2**20 if sys.platform == "darwin" else 2**10)
        files = [path, path.with_suffix(".pdf")] if chosen.pdf else [path]
        sizes = ", ".join(f"{file.name} {file.stat().st_size / 1e6:.2f} MB" for file in files)
        print(f"{wall_s:.2f} s, {cpu_s:.2f} CPU s, peak {peak_mib:.0f} MiB; {sizes}")


if __name__ == "__main__":
    main()

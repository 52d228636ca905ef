"""`python -m benchmarks.experiments [--quick] [--live]`: results/experiments.{md,json}, or experiments_live.{md,json}.

Ends with 1 when a promise of docs/statistics.md is not kept: an error above 5 % in any cell.
"""

import argparse
import logging
import sys
from collections.abc import Mapping, Sequence
from dataclasses import asdict
from functools import cache
from typing import Any

import numpy as np
import pandas as pd

from benchmarks.experiments import days, errors, guards, live, pair_errors, price, ramps
from benchmarks.experiments.tables import Figures, quantiles, told, told_beside
from benchmarks.experiments.text import (
    DAYS_TEXT,
    ERRORS_TEXT,
    GUARDS_TEXT,
    PAIRS_TEXT,
    PRICE_TEXT,
    RAMPS_TEXT,
    REPLAYS_TEXT,
    SERVICES_TEXT,
    SLOW_TEXT,
    SPLIT_TEXT,
)
from benchmarks.machine import markdown_table, write_results
from scheduler_env.batch import map_all
from scheduler_service.command_line import progress_bar
from scheduler_service.experiments.ramp import SHORT_STAGES
from scheduler_service.experiments.rollout import DEFAULT_STAGES

PROMISED = 0.05
QUICK = {"experiments": 40, "returning": 10, "ramps": 1, "requests": 40, "resampled": 20, "projected": 5}


def main(arguments: Sequence[str] | None = None) -> int:
    """The command line; see the module's docstring."""
    parser = argparse.ArgumentParser(prog="python -m benchmarks.experiments", description=__doc__)
    parser.add_argument(
        "--experiments", type=int, default=2_000, help="simulated experiments per cell without a difference"
    )
    parser.add_argument("--returning", type=int, default=200, help="the same for a cell with returning users")
    parser.add_argument("--ramps", type=int, default=20, help="simulated rollouts per service and candidate")
    parser.add_argument("--requests", type=int, default=240, help="generated requests per number of work points")
    parser.add_argument("--resampled", type=int, default=200, help="experiments drawn from the real schedules")
    parser.add_argument("--projected", type=int, default=60, help="experiments with projected days")
    parser.add_argument("--quick", action="store_true", help="small numbers of all; writes nothing")
    parser.add_argument("--live", action="store_true", help="only six rollouts through a running service")
    options = parser.parse_args(arguments)
    given = arguments if arguments is not None else sys.argv[1:]
    command = " ".join(["python -m benchmarks.experiments", *given])
    if options.live:
        return live.main(command)
    if options.quick:
        vars(options).update(QUICK)
    logging.disable(logging.CRITICAL)  # a rollout that is stopped says so
    sections: list[str] = ["# Experiments: what the verdict errs and costs"]
    figures: dict[str, Any] = {"wrong": {}}
    for section in (_errors, _pairs, _guards, _real, _days):
        text, found = section(options)
        sections += text
        figures["wrong"] |= found.pop("wrong", {})
        figures |= found
    text_of_all = "\n\n".join(sections)
    if not options.quick:
        write_results("experiments", command, text_of_all, figures)
    print(text_of_all)
    broken = [] if options.quick else _broken(figures["wrong"])
    if broken:
        print(f"not as promised: {'; '.join(broken)}", file=sys.stderr)
    return 1 if broken else 0


Section = tuple[list[str], dict[str, Any]]


def _errors(options: argparse.Namespace) -> Section:
    n, returning = options.experiments, options.returning
    splits = [f"{100 * (1 - share):g}/{100 * share:g}" for share in errors.SPLITS]
    cells: dict[str, Figures] = {}
    rows = []
    equal = _measured("equal", [(number, share, n) for number in range(len(errors.CELLS)) for share in errors.SPLITS])
    same_chunks = [
        (number, users, _fewer(returning, users))
        for number in range(len(errors.OF_SERVICES))
        for users in errors.SERVICES
    ]
    returned = _measured("same", same_chunks)
    for number, cell in enumerate(errors.CELLS):
        found = {each: equal[number, share, n] for each, share in zip(splits, errors.SPLITS, strict=True)}
        cells |= {f"{cell[1]}, {cell[0].name}, {each}": figure for each, figure in found.items()}
        rows.append([f"`{cell[1]}`, {cell[0].name}", *(told_beside(figure) for figure in found.values())])
    services: dict[str, Figures] = {}
    service_rows = []
    for number, (cell, share) in enumerate(errors.OF_SERVICES):
        name = f"{cell[1]}, {cell[0].name}, {100 * (1 - share):g}/{100 * share:g}"
        new = errors.new_users(cell, share, n)
        same = {u: returned[number, u, _fewer(returning, u)] for u in errors.SERVICES}
        services |= {f"{name}, {users} new users a day": each for users, each in new.items()}
        services |= {f"{name}, {users} same users": each for users, each in same.items()}
        service_rows += [
            [name, "new", *(told(each) for each in new.values())],
            [name, "same", *(told(each) for each in same.values())],
        ]
    changed = errors.changed_split(n, max(1, returning // 8))
    texts = [
        ERRORS_TEXT.format(n=n, users=errors.USERS, before=errors.BEFORE),
        markdown_table(["metric and requests", *splits], rows),
        SERVICES_TEXT.format(n=n, returning=returning, fewer=_fewer(returning, 2_000)),
        markdown_table(["metric, requests, split", "users", *(f"{u:,} a day" for u in errors.SERVICES)], service_rows),
        SPLIT_TEXT.format(n=n, returning=max(1, returning // 8)),
        markdown_table(
            ["users", "wrong; of before", "of them not said by `judge`"],
            [[name, told_beside(each), each.get("held_back_by_judge", 0)] for name, each in changed.items()],
        ),
    ]
    return texts, {"wrong": {**cells, **services, **{f"changed split, {k}": v for k, v in changed.items()}}}


def _measured(kind: str, chunks: Sequence[tuple[Any, ...]]) -> dict[tuple[Any, ...], Figures]:
    """The figures of each chunk of `errors.<kind>_chunk`, on all cores."""
    with progress_bar(kind, "cell") as progress:
        found = map_all(f"{errors.__name__}:{kind}_chunk", chunks, progress=progress)
    return dict(zip(chunks, found, strict=True))


def _fewer(returning: int, users: int) -> int:
    """Experiments whose users come again: of the largest service an eighth, as it takes so much longer."""
    return max(1, returning // 8) if users >= 2_000 else returning


def _pairs(options: argparse.Namespace) -> Section:
    schedules = _schedules(options.requests)
    real = {name: pool.ratio for name, pool in price.pools_of(schedules).items()}
    draws = dict(pair_errors.SIMULATED) | {
        f"real schedules, {name}": pair_errors.drawn_from(ratio) for name, ratio in real.items()
    }
    wrong: dict[str, Figures] = {}
    rows = []
    for name, draw in draws.items():
        new = pair_errors.new_users(name, draw, options.experiments)
        same = {u: pair_errors.same_users(name, draw, u, _fewer(options.returning, u)) for u in errors.SERVICES}
        wrong |= {f"pairs, {name}, {users} new users a day": each for users, each in new.items()}
        wrong |= {f"pairs, {name}, {users} same users": each for users, each in same.items()}
        rows += [
            [name, "new", *(told_beside(each) for each in new.values())],
            [name, "same", *(told(each) for each in same.values())],
        ]
    replays = {
        (name, k): pair_errors.best_of_replays(name, draws[name], k, max(1, options.experiments // 2))
        for name in ("small wins and one failure in 50", "real schedules, 1 to 5 work points, evenly")
        for k in pair_errors.REPLAYS
    }
    wrong |= {f"best of {k} replays, {name}": found["counted"] for (name, k), found in replays.items()}
    texts = [
        PAIRS_TEXT.format(n=options.experiments, returning=options.returning),
        markdown_table(["pairs", "users", *(f"{u:,} a day" for u in errors.SERVICES)], rows),
        REPLAYS_TEXT.format(n=max(1, options.experiments // 2), replayed=pair_errors.REPLAYED),
        markdown_table(
            ["pairs", "replays", "counted", "each at alpha", "before"],
            [[name, k, *(told(each) for each in found.values())] for (name, k), found in replays.items()],
        ),
    ]
    return texts, {"wrong": wrong}


def _guards(options: argparse.Namespace) -> Section:
    few = max(1, options.experiments // 50)
    wrong: dict[str, Figures] = {}
    rows = []
    for is_at_margins, harm in ((False, "no harm"), (True, "exactly the margins")):
        for share in guards.SPLITS:
            split = f"{100 * (1 - share):g}/{100 * share:g}"
            found = guards.breaches(share, options.experiments, is_at_margins=is_at_margins)
            slow = guards.slow_runs(share, few, is_at_margin=is_at_margins)
            found["execution time"] = slow
            wrong |= {f"guardrails, {harm}, {split}, {kind}": each for kind, each in found.items()}
            rows.append([harm, split, *(told(each) for each in found.values())])
    texts = [
        GUARDS_TEXT.format(n=options.experiments, users=guards.USERS),
        SLOW_TEXT.format(few=few, looks=len(guards.LOOKS), users=guards.LOOKS[-1]),
        markdown_table(
            ["harm", "split", "makespan or success, by users", "by users and pairs", "execution time"], rows
        ),
    ]
    return texts, {"wrong": wrong}


def _real(options: argparse.Namespace) -> Section:
    schedules = _schedules(options.requests)
    needed: dict[str, Figures] = {}
    rows = []
    for name, pool in price.pools_of(schedules).items():
        for effect in price.EFFECTS:
            found = {
                str(share): price.users_needed(name, pool, effect, share, options.resampled)
                for share in (*price.SPLITS, None)
            }
            needed[f"{name}, {100 * effect:g} %"] = found
            cells = (f"{each['now']:,} ({each['before']:,})" for each in found.values())
            rows.append([name, f"{100 * effect:g} %", *cells])
    splits = [f"users at {100 * (1 - share):g}/{100 * share:g}" for share in price.SPLITS]
    pool, sizes = price.pools_of(schedules)["1 to 5 work points, evenly"], schedules["n_workpoints"].to_numpy(np.int64)
    ended: dict[str, Any] = {}
    ramp_rows = []
    plans = [(users, DEFAULT_STAGES) for users in ramps.SERVICES] + [(users, SHORT_STAGES) for users in ramps.SHORTENED]
    for users, stages in plans:
        for candidate in ramps.CANDIDATES:
            found_ends = ramps.endings(candidate, users, pool, sizes, options.ramps, stages=stages)
            told_stages = ", ".join(f"{stage:g}" for stage in stages)
            ended[f"{users} users, {told_stages}, {candidate}"] = [asdict(each) for each in found_ends]
            events = [each.event for each in found_ends]
            ramp_rows.append(
                [
                    f"{users:,}",
                    told_stages,
                    candidate,
                    f"{events.count('aborted')} / {events.count('promoted')} / {events.count('none')}",
                    quantiles([each.days for each in found_ends]),
                    quantiles([each.exposed for each in found_ends]),
                ]
            )
    texts = [
        PRICE_TEXT.format(n=len(schedules), resampled=options.resampled),
        markdown_table(["requests", "effect", *splits, "pairs"], rows),
        RAMPS_TEXT.format(n=options.ramps, days=errors.DAYS, requests=errors.REQUESTS_A_DAY),
        markdown_table(
            ["users", "stages", "candidate", "stopped / promoted / neither", "days", "requests it was to answer"],
            ramp_rows,
        ),
    ]
    return texts, {"price": needed, "ramps": ended}


def _days(options: argparse.Namespace) -> Section:
    found = {name: days.projections(name, options.projected) for name in days.CASES}
    rows = [
        [
            name,
            each["looks"],
            "-" if each["told"] is None else told(each["told"]),
            "-" if each["within"] is None else told(each["within"]),
            _percent(each["real_day_before_range"]),
            _percent(each["real_day_after_range"]),
            "-" if each["median_projected_over_real"] is None else f"{each['median_projected_over_real']:.2f}",
        ]
        for name, each in found.items()
    ]
    header = ["candidate", "looks", "a number", "the range holds the real day", "earlier", "later", "projected / real"]
    return [DAYS_TEXT.format(n=options.projected), markdown_table(header, rows)], {"projected_days": found}


def _percent(share: float | None) -> str:
    return "-" if share is None else f"{100 * share:.0f} %"


@cache
def _schedules(requests: int) -> pd.DataFrame:
    """Made once for pairs, price and ramps."""
    return price.real_schedules(requests)


def _broken(wrong: Mapping[str, Figures]) -> list[str]:
    return [f"{name}: {told(each)}" for name, each in wrong.items() if each["share"] > PROMISED]


if __name__ == "__main__":
    sys.exit(main())

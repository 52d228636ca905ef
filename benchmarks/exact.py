"""CP-SAT on the generated instances: `python -m benchmarks.exact [--instances 20] [--sizes 1 2 5 10 20 50]`.

One run of 60 s per instance, one worker, warm-started from the best priority rule; noted is the shortest schedule after
1, 10 and 60 s of processor time. That takes hours: what is finished is kept in benchmarks/results/cpsat.json, and a
run that was stopped goes on where it was. `benchmarks.scheduling` puts the figures into its table.
"""

import argparse
import json
import os
import time
from collections.abc import Sequence
from contextlib import closing
from pathlib import Path
from typing import Any

from tqdm import tqdm

from benchmarks.machine import RESULTS, machine
from scheduler_env.batch import map_unordered
from scheduler_env.bounds import lower_bound
from scheduler_env.exact import improve_exactly
from scheduler_env.generator import random_instance
from scheduler_env.incumbent import empty_incumbent
from scheduler_env.kernel import compile_instance
from scheduler_env.rules import improve_by_rules

FILE = RESULTS / "cpsat.json"
SECONDS = (1, 10, 60)


def main(arguments: Sequence[str] | None = None) -> None:
    """The command line; see the module's docstring."""
    parser = argparse.ArgumentParser(description=__doc__.split("\n\n")[0] if __doc__ else None)
    parser.add_argument("--instances", type=int, default=20, help="instances per size (default 20)")
    parser.add_argument("--sizes", type=int, nargs="+", default=[1, 2, 5, 10, 20, 50], help="work points")
    options = parser.parse_args(arguments)
    known = json.loads(FILE.read_text(encoding="utf-8"))["instances"] if FILE.exists() else {}
    # Seed by seed over all sizes, so that a run that was stopped has measured every size.
    wanted = [(size, seed) for seed in range(options.instances) for size in options.sizes]
    missing = [key for key in wanted if f"{key[0]}/{key[1]}" not in known]
    with (
        closing(map_unordered("benchmarks.exact:measure", missing)) as results,
        tqdm(total=len(missing), unit="instance") as bar,
    ):
        for number, found in results:
            size, seed = missing[number]
            known[f"{size}/{seed}"] = found
            _write(FILE, {"command": "python -m benchmarks.exact", "machine": machine(), "instances": known})
            bar.update()


def measure(chunk: Sequence[int]) -> dict[str, Any]:
    """Makespan after each of `SECONDS`, hours; what was proved; and the seconds it took.

    Args:
        chunk: of batch work: (work points, seed) of the instance.
    """
    size, seed = chunk
    problem = compile_instance(random_instance(size, seed))
    incumbent = empty_incumbent(problem)
    improve_by_rules(problem, incumbent)
    found = [(0.0, incumbent.makespan_h)]  # (seconds of processor time, hours)
    began_s, began_cpu_s = time.perf_counter(), time.process_time()

    def note(makespan_h: float) -> None:
        found.append((time.process_time() - began_cpu_s, makespan_h))

    proved_h = improve_exactly(
        problem,
        incumbent,
        lower_bound_h=float(lower_bound(problem)),
        deadline_s=began_s + max(SECONDS),
        on_shorter=note,
    )
    found.append((time.process_time() - began_cpu_s, incumbent.makespan_h))
    return {
        "hours": {str(limit): min(hours for at_s, hours in found if at_s <= limit) for limit in SECONDS},
        "lower_bound_h": proved_h,
        "optimal": incumbent.makespan_h - proved_h < 0.02,
        "cpu_s": found[-1][0],
    }


def _write(path: Path, content: dict[str, Any]) -> None:
    new = path.with_suffix(".new")
    new.write_text(json.dumps(content, indent=1) + "\n", encoding="utf-8")
    os.replace(new, path)


if __name__ == "__main__":
    main()

"""The registry under load and under kill -9: `python -m benchmarks.registry [--kills 200] [--processes 8 --models 25]`.

Writes benchmarks/results/registry.{md,json}; ends with 1 when something that must not happen did.
"""

import argparse
import json
import logging
import multiprocessing
import os
import random
import shutil
import signal
import statistics
import sys
import tempfile
import time
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

from tqdm import tqdm

from benchmarks.machine import markdown_table, write_results
from model_manager import ModelVersionManager
from scheduler_service.clock import utc_now
from scheduler_service.errors import ServiceError
from scheduler_service.registry.examination import examine
from scheduler_service.registry.fsck import fsck
from scheduler_service.registry.store import RegistryStore
from scheduler_service.settings import Settings
from scheduler_service.store.folder import FolderStore

SEED = Settings().seed_models_dir / "ddqn_v2.pth"
FORK = multiprocessing.get_context("fork")
N_LISTED = 1_000
LIMITS = {"list_http_ms": 50.0, "resolve_us": 50.0}

Figures = dict[str, Any]


def _opened(base: Path) -> RegistryStore:
    return RegistryStore(FolderStore(base.parent), base.name, utc_now)


def main(arguments: Sequence[str] | None = None) -> int:
    """The command line; see the module's docstring."""
    parser = argparse.ArgumentParser(description=__doc__.split("\n\n")[0] if __doc__ else None)
    parser.add_argument("--kills", type=int, default=200, help="number of processes to kill at a random time")
    parser.add_argument("--processes", type=int, default=8, help="processes that register at the same time")
    parser.add_argument("--models", type=int, default=25, help="models registered by each process")
    options = parser.parse_args(arguments)
    logging.disable(logging.WARNING)  # rollbacks by the hundred
    with tempfile.TemporaryDirectory(prefix="registry-benchmark-") as folder:
        weights = variations(Path(folder), options.processes * options.models)
        examination_ms = best_ms(lambda: examine("DDQN", SEED), 5)
        figures: Figures = {
            "examination_ms": examination_ms,
            **crash(Path(folder) / "crash", weights, options.kills),
            **crowd(Path(folder) / "crowd", weights, options.processes),
            **thousand(Path(folder) / "thousand"),
        }
    rows = [
        ["first reading and measuring of a file, in its own process", f"{examination_ms:.0f} ms"],
        [f"{figures['kills']} processes killed: changes that they had made", figures["events_of_the_killed"]],
        ["problems that fsck found right after the kills, in all", figures["mendable_after_kills"]],
        ["the same after the next starts, which sweep: nobody ran --mend", figures["problems_after_restart"]],
        [f"{options.processes} processes x {options.models} models: versions", figures["versions"]],
        ["of these lost, doubled", f"{figures['lost']}, {figures['doubled']}"],
        ["lines of history about registrations", figures["registered_events"]],
        ["registrations a second, all processes together", f"{figures['registrations_per_s']:.1f}"],
        ["GET /models with 1,000 models, in the process (median, worst of 20)",
         f"{figures['list_http_ms']:.1f} ms, {figures['list_http_worst_ms']:.1f} ms"],
        ["the same, size of the answer", f"{figures['list_bytes'] / 1e6:.2f} MB"],
        ["list_models(), 1,000 models, as dicts", f"{figures['list_ms']:.1f} ms"],
        ["resolve a tag, 1,000 models", f"{figures['resolve_us']:.1f} us"],
        ["opening a registry of 1,000 models, from the files", f"{figures['first_look_ms']:.0f} ms"],
        ["move a tag among 1,000 models", f"{figures['tag_ms']:.0f} ms"],
    ]  # fmt: skip
    text = "# The registry\n\n" + markdown_table(["figure", "measured"], rows)
    write_results("registry", "python -m benchmarks.registry", text, figures)
    print(text)
    wrong = [
        name
        for name in ("lost", "doubled", "problems_after_restart", "not_as_before_or_after", "crowd_problems")
        if figures[name]
    ]
    if not figures["is_history_complete"] or any(figures["exit_codes"]):
        wrong.append("crowd")
    wrong += [name for name, limit in LIMITS.items() if figures[name] >= limit]
    if wrong:
        print(f"not as it must be: {', '.join(wrong)}", file=sys.stderr)
    return 1 if wrong else 0


def variations(folder: Path, n: int) -> list[Path]:
    """`n` weights files, each a little different from the seed model."""
    from scheduler_env.network import read_checkpoint, save_checkpoint

    paths = []
    for number in range(n):
        network = read_checkpoint(SEED).network
        next(network.value.parameters()).data[0, 0] += 1e-4 * (number + 1)
        paths.append(folder / f"w{number}.pth")
        save_checkpoint(paths[-1], network, {})
    return paths


# --- kill -9 ---


def crash(base: Path, weights: Sequence[Path], kills: int) -> Figures:
    """Kills processes that register, promote, tag, roll back and delete; after each one, fsck looks at what is left.

    What happens between a kill and the next start is found and mended by the next start alone, nobody runs `--mend`.
    """
    manager = ModelVersionManager(base)
    first = manager.register_model(weights[0], "DDQN", {"n": 0}, {})
    for status in ("validated", "deployed"):
        manager.promote_model(first, status)
    mendable, after_restart, torn = 0, 0, 0
    moments = random.Random(11)
    for number in tqdm(range(kills), desc="kills"):
        process = FORK.Process(target=_change_for_ever, args=(base, weights[1:40], number))
        process.start()
        time.sleep(moments.uniform(0.0, 0.4))
        if process.pid is not None:
            os.kill(process.pid, signal.SIGKILL)
        process.join()
        found = fsck(_opened(base))
        mendable += len(found)
        torn += sum(not problem.is_mendable for problem in found)
        ModelVersionManager(base)
        after_restart += len(fsck(_opened(base)))
    return {
        "kills": kills,
        "events_of_the_killed": len(ModelVersionManager(base).history()) - 3,
        "mendable_after_kills": mendable,
        "not_as_before_or_after": torn,
        "problems_after_restart": after_restart,
    }


def _change_for_ever(base: Path, weights: Sequence[Path], seed: int) -> None:
    choose = random.Random(seed)
    manager = ModelVersionManager(base)
    while True:
        try:
            key = manager.register_model(choose.choice(weights), "DDQN", {"n": choose.randrange(3)}, {})
            for status in ("validated", "deployed"):
                manager.promote_model(key, status)
            manager.tag_model("canary", key)
            manager.rollback("DDQN", "benchmark")
            manager.untag_model("canary")
            manager.delete_model(key)
        except ServiceError:
            pass  # not every move is allowed; the next one may be


# --- many at once ---


def crowd(base: Path, weights: Sequence[Path], n_processes: int) -> Figures:
    """Each process registers its share of `weights`, all at the same time."""
    share = len(weights) // n_processes
    began = time.perf_counter()
    processes = [
        FORK.Process(target=_register_all, args=(base, weights[share * number : share * (number + 1)]))
        for number in range(n_processes)
    ]
    for process in processes:
        process.start()
    for process in processes:
        process.join()
    took_s = time.perf_counter() - began
    manager = ModelVersionManager(base)
    records = manager.list_models()
    registered = [event.model_key for event in manager.history() if event.event == "registered"]
    return {
        "versions": len({record.version for record in records}),
        "lost": share * n_processes - len(records),
        "doubled": len(records) - len({record.sha256 for record in records}),
        "registered_events": len(registered),
        "is_history_complete": sorted(registered) == sorted(record.model_key for record in records),
        "crowd_problems": [problem.message for problem in fsck(_opened(base))],
        "registrations_per_s": len(records) / took_s,
        "exit_codes": [process.exitcode for process in processes],
    }


def _register_all(base: Path, weights: Sequence[Path]) -> None:
    manager = ModelVersionManager(base)
    for path in weights:
        manager.register_model(path, "DDQN", {"shared": "configuration"}, {})


# --- a thousand models ---


def thousand(home: Path) -> Figures:
    """A registry of `N_LISTED` models, listed over HTTP (in the process) and named."""
    from enhanced_flask import create_app

    manager = ModelVersionManager(home / "models")
    key = manager.register_model(SEED, "DDQN", {}, {}, version="8.0", tags=["canary"])
    folder = home / "models"
    stored = json.loads((folder / "metadata" / f"{key}.json").read_text())
    for number in range(N_LISTED - 3):  # the seeds join them
        copy = f"DDQN_00000000_v9.{number}.0"
        record = {**stored, "model_key": copy, "version": f"9.{number}.0"}
        (folder / "metadata" / f"{copy}.json").write_text(json.dumps(record))
        shutil.copy(folder / "models" / f"{key}.pth", folder / "models" / f"{copy}.pth")
    client = create_app(Settings(home=home)).test_client()
    answer = client.get("/models")
    took_ms = [best_ms(lambda: client.get("/models"), 1) for _ in range(20)]
    began = time.perf_counter()
    fresh = ModelVersionManager(folder)
    fresh.list_models()
    first_look_ms = (time.perf_counter() - began) * 1e3
    list_ms = best_ms(lambda: [record.to_dict() for record in fresh.list_models()], 5)
    resolve_us = best_ms(lambda: [fresh.resolve("DDQN:canary") for _ in range(1_000)], 5)
    began = time.perf_counter()
    fresh.tag_model("canary", "DDQN_v9.500")
    return {
        "list_http_ms": statistics.median(took_ms),
        "list_http_worst_ms": max(took_ms),
        "list_bytes": len(answer.data),
        "listed": answer.json["total"] if answer.json else 0,
        "first_look_ms": first_look_ms,
        "list_ms": list_ms,
        "resolve_us": resolve_us,
        "tag_ms": (time.perf_counter() - began) * 1e3,
    }


def best_ms(call: Callable[[], object], times: int) -> float:
    """The shortest of `times` calls, in milliseconds."""
    took = []
    for _ in range(times):
        began = time.perf_counter()
        call()
        took.append((time.perf_counter() - began) * 1e3)
    return min(took)


if __name__ == "__main__":
    sys.exit(main())

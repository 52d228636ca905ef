"""The command line of experiments: `python -m ab_testing <command>`.

Exit status: 0 done; 1 refused or not found; 2 invalid command line; 130 interrupted.
"""

import argparse
import json
import logging
import os
import shlex
import sys
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import replace
from functools import cached_property, partial
from pathlib import Path
from typing import TYPE_CHECKING, Any

from model_manager import ModelVersionManager
from monitoring import PerformanceMonitor
from scheduler_service.clock import utc_now
from scheduler_service.command_line import Outcome, add_actor, integer, number, progress_bar, run, shared_options, table
from scheduler_service.errors import InvalidInput
from scheduler_service.experiments.about import ABOUT
from scheduler_service.experiments.changes import Changes
from scheduler_service.experiments.examination import RUN_COLUMNS
from scheduler_service.experiments.exchange import export_config, import_config
from scheduler_service.experiments.experiment import Experiment
from scheduler_service.experiments.prospect import Prospect
from scheduler_service.experiments.replay import (
    Contest,
    ReplayOptions,
    contest_of,
    on_workers,
    plan_replay,
    replay_status,
    run_replay,
)
from scheduler_service.files import write_atomically
from scheduler_service.settings import Settings, settings_from_environment
from scheduler_service.stats.metrics import PAIRED
from scheduler_service.store.change import Store
from scheduler_service.store.folder import FolderStore
from scheduler_service.store.opening import store_of
from scheduler_service.words import WORDS

if TYPE_CHECKING:
    import pandas as pd  # slow to import

    from ab_testing import ABTestManager
    from scheduler_service.stats.pair_sums import Replayed

MOVES = ("pause", "start", "stop", "stop-arm", "conclude", "archive", "advance", "promote", "revert")

PROMOTING = ("advance", "promote")
"""These may promote a candidate; they show the evidence and ask for confirmation."""

Output = tuple[Any, str]
"""The value that `--json` prints, and the text."""

NICENESS = 10
"""Lowers the priority of the process, since the service may run on the same machine."""

REPLAY_HELP = """
Replay recorded requests. Both models get the identical instance and the time budget of the request, so differences
come only from the models. A few hundred requests can replace weeks of live traffic. Users are not affected.

Each pair is stored at once. After Ctrl-C, a crash or a power cut, the same command continues where it stopped.
"""
REPLAY_EXAMPLES = """
examples:
  python -m ab_testing replay ddqn_v1_vs_v2                  the experiment's candidate on the last 1,000 requests
  python -m ab_testing replay ddqn_v1_vs_v2 --own --days 30  only on requests that named the experiment
  python -m ab_testing replay --baseline DDQN:stable --candidate-model DDQN_v2.1 --limit 5000 --seed 1
                                                             any two models, on a random sample
"""


class Doors:
    """The managers of one home, each opened when it is first used."""

    def __init__(self, settings: Settings, open_experiments: "Callable[..., ABTestManager]") -> None:
        self.settings, self._open_experiments = settings, open_experiments

    @cached_property
    def store(self) -> Store:
        return store_of(self.settings)

    @cached_property
    def models(self) -> ModelVersionManager:
        return ModelVersionManager(store=self.store)

    @cached_property
    def experiments(self) -> "ABTestManager":
        return self._open_experiments(registry=self.models, store=self.store)

    @cached_property
    def monitor(self) -> PerformanceMonitor:
        return PerformanceMonitor(
            self.settings.records,
            reports_dir=self.settings.reports_dir,
            store=self.store,
        )


def main(open_experiments: "Callable[..., ABTestManager]", arguments: Sequence[str] | None = None) -> int:
    """Run one command; returns the exit status."""
    given = list(sys.argv[1:] if arguments is None else arguments)
    options = _parser().parse_args(given)
    if arguments is None:  # not if a program calls this function: the change is permanent
        os.nice(NICENESS)
    logging.basicConfig(level=logging.WARNING, format="%(levelname)s: %(message)s")
    settings = settings_from_environment() if options.home is None else Settings(home=options.home)
    again = shlex.join(["python", "-m", "ab_testing", *given])
    interrupted = f"interrupted; what is done is kept. To go on: {again}" if options.command == "replay" else ""

    def command() -> Outcome:
        doors = Doors(settings, open_experiments)
        if isinstance(doors.store, FolderStore) and not settings.models_dir.is_dir():
            raise InvalidInput("no_service_home", home=str(settings.home))
        return (*COMMANDS[options.command](doors, options), 0)

    return run(command, as_json=options.json, interrupted=interrupted)


def _parser() -> argparse.ArgumentParser:
    shared = shared_options()
    parser = argparse.ArgumentParser(
        prog="python -m ab_testing",
        description="Show and manage experiments, and replay recorded requests with a candidate model.",
        epilog="`python -m ab_testing COMMAND --help` explains a command; docs/experiments.md describes experiments.",
    )
    commands = parser.add_subparsers(dest="command", required=True, metavar="COMMAND")

    def command(name: str, about: str, **more: Any) -> argparse.ArgumentParser:
        texts = {"help": about, "description": f"{about}."} | more
        return commands.add_parser(
            name, parents=[shared], formatter_class=argparse.RawDescriptionHelpFormatter, **texts
        )

    listed = command("list", "list the experiments, newest first, and the default model")
    listed.add_argument("--archived", action="store_true", help="list the archived experiments")
    for name, about in (
        ("results", "show the results of an experiment and the recommended action"),
        ("history", "show the changes of an experiment with actor and reason"),
    ):
        command(name, about).add_argument("experiment")
    assignment = command("assignment", "show the arm of a user and the reason")
    assignment.add_argument("experiment")
    assignment.add_argument("user", help="the id that requests send as user_id")
    for name, about in (
        ("pause", "send everyone to the default model until it is started again"),
        ("start", "resume a paused experiment"),
        ("stop", "send everyone to the default model permanently"),
        ("stop-arm", "stop one candidate permanently; the others continue"),
        ("conclude", "close an experiment whose results have been acted upon"),
        ("archive", "move a finished experiment to the archive; it remains readable"),
        ("advance", "move a rollout to its next stage without waiting for its conditions; the last stage promotes"),
        ("promote", "make the candidate the default model and conclude the experiment"),
        ("revert", "undo a promotion: restore the default model and the tag"),
    ):
        move = command(name, about)
        move.add_argument("experiment")
        move.add_argument("--reason", default="", help="reason for the history")
        if name == "promote":
            move.add_argument("--arm", default="model_b", help="arm whose model is promoted (default: %(default)s)")
        if name in PROMOTING:
            move.add_argument("--although-worse", action="store_true", help="promote even if there are objections")
            move.add_argument("--yes", action="store_true", help="do not ask for confirmation")
        if name == "stop-arm":
            move.add_argument("arm", help="the candidate: model_b, model_c, ...")
        add_actor(move)

    described = command("describe", "change the title, the hypothesis or the owner of an experiment")
    described.add_argument("experiment")
    for field in ABOUT:
        described.add_argument(f"--{field}", help="text in any script; an empty text removes it")
    described.add_argument("--reason", default="", help="reason for the history")
    add_actor(described)

    exported = command("export", "write the configuration to a file for editing, also from a database")
    exported.add_argument("file", nargs="?", type=Path, help="the file (default: print it)")
    imported = command("import", "replace the configuration by an edited file; it is checked as a whole")
    imported.add_argument("file", type=Path)
    imported.add_argument("--force", action="store_true", help="even if others changed it since the export")

    replay = command(
        "replay",
        "run a candidate and the baseline on recorded requests",
        description=REPLAY_HELP,
        epilog=REPLAY_EXAMPLES,
    )
    replay.add_argument(
        "experiment", nargs="?", help="experiment to compare; otherwise use --baseline and --candidate-model"
    )
    replay.add_argument("--candidate", metavar="ARM", help="candidate of the experiment (default: model_b)")
    replay.add_argument("--baseline", metavar="MODEL", help="without an experiment: key, short name or tag")
    replay.add_argument(
        "--candidate-model", metavar="MODEL", help="without an experiment: the model to compare with it"
    )
    default = ReplayOptions()
    replay.add_argument("--days", type=number, default=default.days, help="length of the period (default: %(default)g)")
    replay.add_argument(
        "--limit", type=integer, default=default.limit, help="number of newest requests (default: %(default)s)"
    )
    replay.add_argument("--seed", type=integer, help="draw a random sample of --limit requests")
    replay.add_argument(
        "--time-budget-ms", type=number, metavar="MS", help="time budget per model, instead of that of the request"
    )
    replay.add_argument(
        "--metric",
        choices=PAIRED,
        help="metric for the pairs (default: the experiment's success metric if it is one of these, else makespan)",
    )
    replay.add_argument("--own", action="store_true", help="only requests that named the experiment")
    return parser


# --- commands ---


def _list(doors: Doors, options: argparse.Namespace) -> Output:
    experiments = doors.experiments
    found = experiments.archived_experiments() if options.archived else experiments.list_experiments()
    header = ("experiment", "status", "stage", "model_a", "model_b", "since", "title", "owner")
    rows = []
    for each in found:
        stage = "-" if each.rollout is None else f"{each.rollout.share:.0%}"
        models, since = (each.model_a, each.model_b), each.start_time.strftime("%Y-%m-%d %H:%M")
        rows.append((each.name, each.status, stage, *models, since, each.title or "-", each.owner or "-"))
    default = experiments.default_model
    value = {"default_model": default, "experiments": [each.to_dict() for each in found]}
    none = "no experiment is archived" if options.archived else "there is no experiment yet"
    return value, f"{table(header, rows)}\n\nthe default model is {default}" if rows else none


def _records(doors: Doors, name: str) -> "tuple[pd.DataFrame, pd.DataFrame, Replayed | None]":
    """The runs, the pairs of shadow runs, and the last replay of an experiment."""
    runs = doors.monitor.get_performance_data(experiment=name, columns=RUN_COLUMNS)
    return runs, doors.monitor.get_pairs(name, source="shadow"), doors.monitor.replays.pairs_of_last(name)


def _promoting(doors: Doors, options: argparse.Namespace) -> dict[str, Any]:
    """The further arguments of a move that may promote; on a terminal it asks for confirmation."""
    if options.command not in PROMOTING:
        return {}

    def records() -> "tuple[pd.DataFrame, pd.DataFrame, Replayed | None]":
        found = _records(doors, options.experiment)
        shown = doors.experiments.prospect(options.experiment, getattr(options, "arm", "model_b"), lambda: found)
        print(_prospect_text(shown), file=sys.stderr)
        shown.check(is_consented=options.although_worse)
        if sys.stdin.isatty() and not options.yes and not options.json and not _is_confirmed():
            raise InvalidInput("nothing_changed")
        return found

    return {"records": records, "although_worse": options.although_worse}


def _is_confirmed() -> bool:
    try:
        return input("Promote it? [y/N] ").strip().lower() in ("y", "yes")
    except EOFError:  # Ctrl-D
        return False


def _prospect_text(shown: Prospect) -> str:
    """The evidence for a promotion, objections first."""
    against = [message for _, message in shown.objections]
    lines = [f"AGAINST IT: {WORDS.say(message)}" for message in against]
    lines += [WORDS.say(each.message) for each in shown.findings if each.message not in against]
    if shown.findings and shown.judged is not None and shown.next_step is not None:
        lines.append(f"verdict: {shown.judged.word}. {WORDS.say(shown.next_step)}")
    return "\n".join(lines)


def _results(doors: Doors, options: argparse.Namespace) -> Output:
    name = options.experiment
    found = doors.experiments.get_experiment(name)  # before its runs are read: it may not exist
    value = doors.experiments.results(name, *_records(doors, name))
    rows = [(each["name"], each["state"], each["message"]) for each in value["guardrails"]]
    text = f"{_about(found)}{value['verdict']}: {value['verdict_sentence']}\n{value['recommendation']}"
    for arm, since in value["stopped_arms"].items():
        text += f"\n{arm} is stopped since {since}"
    if value["contradiction"] is not None:
        text = f"{value['contradiction']['message']}\n\n{text}"
    if value["rollout_decision"] is not None:
        text += "\nrollout: {kind}, {reason}".format(**value["rollout_decision"])
    if value["advised_move"] is not None:
        text += f"\n{_advice(name, value)}"
    text += f"\n\n{_sizes(value['by_size'])}"
    return value, f"{text}\n\n{table(('guardrail', 'state', 'seen'), rows)}" if rows else text


def _sizes(breakdown: Mapping[str, Any]) -> str:
    """The breakdown by size of plant as a table."""
    counted = "pairs a / b" if breakdown["basis"] == "pairs" else "requests a / b"
    header = ("work points", "improvement", "interval", "difference", "users a / b", counted)
    rows = []
    for each in breakdown["classes"]:
        low, high = each["from_workpoints"], each["to_workpoints"]
        interval, change, unit = each["interval_percentage"], each["change"], each["unit"]
        size = f"{low} and more" if high is None else str(low) if low == high else f"{low} to {high}"
        improvement = "-" if interval is None else f"{each['improvement_percentage']:.2f} %"
        bounds = "-" if interval is None else f"{interval[0]:.2f} to {interval[1]:.2f} %"
        difference = "-" if change is None else f"{change[0]:+.2f} to {change[1]:+.2f} {unit}"
        counts = (" / ".join(map(str, each[name].values())) for name in ("users", "samples"))
        rows.append((size, improvement, bounds, difference, *counts))
    level = f"each interval at {100.0 * breakdown['confidence_level']:g} %; a breakdown, which decides nothing"
    return f"by size of plant ({level})\n{table(header, rows)}"


def _about(experiment: Experiment) -> str:
    """Title, hypothesis and owner, one line each if present."""
    texts = ((name, getattr(experiment, name)) for name in ABOUT)
    return "".join(f"{name}: {text}\n" for name, text in texts if text is not None)


def _describe(doors: Doors, options: argparse.Namespace) -> Output:
    texts = {name: text or None for name in ABOUT if (text := getattr(options, name)) is not None}
    by = {"actor": options.actor, "reason": options.reason}
    found = doors.experiments.describe_experiment(options.experiment, texts, **by)
    return found.to_dict(), _about(found).rstrip() or f"the experiment {found.name} has no title, hypothesis or owner"


def _export(doors: Doors, options: argparse.Namespace) -> Output:
    text = export_config(Changes(doors.store, doors.models, utc_now).file)
    if options.file is None:
        return json.loads(text), text.rstrip()
    write_atomically(options.file.absolute(), text.encode())
    return {"file": str(options.file)}, f"edit {options.file}, then: python -m ab_testing import {options.file}"


def _import(doors: Doors, options: argparse.Namespace) -> Output:
    try:
        content = options.file.read_bytes()
    except OSError as err:
        raise InvalidInput("cannot_read", ("file",), path=str(options.file), reason=err.strerror) from err
    file = Changes(doors.store, doors.models, utc_now).file
    found = import_config(file, content, although_changed=options.force)
    names = sorted(found.experiments)
    return {"default_model": found.default_model, "experiments": names}, f"{file.shown}: {len(names)} experiments"


def _advice(name: str, value: Mapping[str, Any]) -> str:
    """The command for the recommended action."""
    move = str(value["advised_move"])
    arm = " model_b" if move == "stop_arm" else ""
    return f"to do so: python -m ab_testing {move.replace('_', '-')} {name}{arm}"


def _history(doors: Doors, options: argparse.Namespace) -> Output:
    doors.experiments.get_experiment(options.experiment)
    lines = doors.experiments.history.of(options.experiment)
    header = ("time", "event", "from", "to", "by", "reason")
    rows = [
        (each["time"][:19], each["event"], _state(each["before"]), _state(each["after"]), each["actor"], each["reason"])
        for each in lines
    ]
    return lines, table(header, rows)


def _state(state: Mapping[str, Any]) -> str:
    stage = f" {state['stage']:.0%}" if "stage" in state else ""
    return f"{state.get('status', '-')}{stage}{_without(state.get('stopped_arms', ()))}"


def _without(stopped_arms: Iterable[str]) -> str:
    arms = ", ".join(stopped_arms)
    return f" without {arms}" if arms else ""


def _assignment(doors: Doors, options: argparse.Namespace) -> Output:
    value = doors.experiments.explain_assignment(options.experiment, options.user)
    return value, f"{value['variant'] or 'no arm'} ({value['model']}): {value['why']}"


def _move(doors: Doors, options: argparse.Namespace) -> Output:
    experiments = doors.experiments
    moves: dict[str, Callable[..., Any]] = {
        "pause": experiments.pause_experiment,
        "start": experiments.start_experiment,
        "stop": experiments.stop_experiment,
        "stop-arm": partial(experiments.stop_arm, arm=getattr(options, "arm", "")),
        "conclude": experiments.conclude_experiment,
        "archive": experiments.archive_experiment,
        "advance": partial(experiments.advance_experiment, **_promoting(doors, options)),
        "promote": partial(experiments.promote_arm, arm=getattr(options, "arm", ""), **_promoting(doors, options)),
        "revert": experiments.revert_promotion,
    }
    found = moves[options.command](options.experiment, actor=options.actor, reason=options.reason)
    archived = " and archived" if found.archived_at else ""
    text = f"the experiment {found.name} is {found.status}{_without(found.stopped_arms)}{archived}; "
    return found.to_dict(), f"{text}the default model is {experiments.default_model}"


def _replay(doors: Doors, options: argparse.Namespace) -> Output:
    contest = _contest(doors, options)
    names = ("days", "limit", "seed", "time_budget_ms")
    chosen = ReplayOptions(**{name: getattr(options, name) for name in names}, own_requests=options.own)
    if contest.key_a == contest.key_b:
        value = replay_status(contest, None, "identical", 0, doors.monitor)
        return value, str(value["verdict"]["verdict_sentence"])
    models = doors.models.load_model(contest.key_a), doors.models.load_model(contest.key_b)
    plan = plan_replay(doors.monitor.replays, contest, chosen, utc_now())
    print(f"replay {plan.id}: {plan.total} requests, {contest.key_a} against {contest.key_b}", file=sys.stderr)
    with progress_bar("replaying", "request", leave=True) as progress:
        run_replay(plan, doors.monitor, *models, progress=progress, compute=on_workers(*models))
    value = replay_status(contest, plan.record, "done", plan.total, doors.monitor)
    return value, _replay_text(value)


def _contest(doors: Doors, options: argparse.Namespace) -> Contest:
    names = (options.baseline, options.candidate_model)
    if options.experiment is not None:
        if any(names):
            raise InvalidInput("experiment_and_models")
        experiment = doors.experiments.get_experiment(options.experiment)
        contest = contest_of(experiment, options.candidate, lambda name: doors.models.resolve(name, oldest=True))
        return contest if options.metric is None else replace(contest, metric=options.metric)
    if not all(names) or options.candidate or options.own:
        raise InvalidInput("two_models_needed")
    key_a, key_b = (doors.models.resolve(name) for name in names)
    return Contest(key_a, key_b, metric=options.metric or PAIRED[0])


COMMANDS: Mapping[str, Callable[[Doors, argparse.Namespace], Output]] = {
    "list": _list,
    "results": _results,
    "history": _history,
    "assignment": _assignment,
    "describe": _describe,
    "export": _export,
    "import": _import,
    **dict.fromkeys(MOVES, _move),
    "replay": _replay,
}


def _replay_text(value: Mapping[str, Any]) -> str:
    verdict, arm = value["verdict"], value["candidate"]
    metric = verdict["metric"]
    lines = [verdict["verdict_sentence"], verdict["recommendation"], ""]
    ratio = verdict["geometric_mean_ratio"]
    if ratio is not None:
        lines.append(f"{metric} {arm} / model_a: {ratio:.4f} (geometric mean of the users' ratios)")
    counts = ("wins", "ties", "losses")
    lines.append(f"{arm}: " + ", ".join(f"{verdict[name]} {name}" for name in counts))
    if verdict["worst"]:
        header = ("request", "user", "work points", "model_a h", f"{arm} h", "ratio")
        rows = []
        for each in verdict["worst"]:
            of_arms = (f"{each[metric + suffix]:.2f}" for suffix in ("_a", "_b"))
            request = (each["request_id"], each["user_id"] or "-", each["n_workpoints"])
            rows.append((*request, *of_arms, f"{each['ratio']:.4f}"))
        lines += ["", f"where {arm} lost most:", table(header, rows)]
    return "\n".join(lines)

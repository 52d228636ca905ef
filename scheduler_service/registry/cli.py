"""The registry on the command line: `python -m model_manager <command>`.

Exit status: 0 done; 1 refused, not found, or (fsck) problems found; 2 invalid command line.
"""

import argparse
import getpass
import json
import logging
from collections.abc import Callable, Mapping, Sequence
from datetime import datetime
from pathlib import Path
from typing import TYPE_CHECKING, Any

from scheduler_env.values import strict_json
from scheduler_service.clock import parse_time, utc_now
from scheduler_service.command_line import Outcome, integer, path, progress_bar, run, table
from scheduler_service.errors import InvalidInput, ModelNotFound
from scheduler_service.experiments.changes import Changes
from scheduler_service.experiments.config import ConfigFile
from scheduler_service.registry.comparison import PER_SIZE, SIZES, compare_models
from scheduler_service.registry.fsck import fsck
from scheduler_service.registry.names import LATEST, STABLE
from scheduler_service.registry.records import STATUSES, ModelRecord, stable_elsewhere
from scheduler_service.registry.store import RegistryStore
from scheduler_service.settings import settings_from_environment
from scheduler_service.store.folder import FolderStore
from scheduler_service.store.opening import store_of

if TYPE_CHECKING:
    from model_manager import ModelVersionManager

CommandOutput = tuple[Any, str]
"""The value that `--json` prints, and the text for people."""


def main(open_registry: Callable[..., "ModelVersionManager"], arguments: Sequence[str] | None = None) -> int:
    """Run one command; returns the exit status."""
    options = _parser().parse_args(arguments)
    logging.basicConfig(level=logging.WARNING, format="%(levelname)s: %(message)s")
    folder = (options.models or settings_from_environment().models_dir).absolute()

    def command() -> Outcome:
        store = store_of(settings_from_environment()) if options.models is None else FolderStore(folder.parent)
        if options.command != "register" and isinstance(store, FolderStore) and not folder.is_dir():
            raise InvalidInput("no_registry_folder", folder=str(folder))
        if options.command == "fsck":
            return _fsck(RegistryStore(store, folder.name, utc_now), options)
        return (*COMMANDS[options.command](open_registry(folder, store=store), options), 0)

    return run(command, as_json=options.json)


def _parser() -> argparse.ArgumentParser:
    shared = argparse.ArgumentParser(add_help=False)
    shared.add_argument(
        "--models",
        type=path,
        metavar="FOLDER",
        help="registry folder (default: models/ below SCHED_HOME, or the database of SCHED_DATABASE_URL)",
    )
    shared.add_argument("--json", action="store_true", help="print JSON instead of a table")
    recorded = argparse.ArgumentParser(add_help=False)
    recorded.add_argument("--reason", default="", help="reason for the history")
    recorded.add_argument("--actor", default=_user(), help="author for the history (default: %(default)s)")
    parser = argparse.ArgumentParser(
        prog="python -m model_manager",
        description="Show, register, validate, deploy, roll back and check model versions.",
        epilog="A model is named by its key (DDQN_1a2b3c4d_v2.0.0), a short name (DDQN_v2.0) or a tag (DDQN:stable).",
    )
    commands = parser.add_subparsers(dest="command", required=True, metavar="COMMAND")

    def command(name: str, about: str, *parents: argparse.ArgumentParser) -> argparse.ArgumentParser:
        return commands.add_parser(name, help=about, description=f"{about}.", parents=[shared, *parents])

    listing = command("list", "list the models, newest first")
    listing.add_argument("--algorithm")
    listing.add_argument("--status", choices=STATUSES)
    listing.add_argument("--tag")
    command("show", "show all data of a model").add_argument("name")
    register = command("register", "measure a weights file and register it as a new version")
    register.add_argument("path", type=path, help="the weights, a .pth file")
    register.add_argument("--algorithm", default="DDQN", help="(default: %(default)s)")
    register.add_argument(
        "--params", type=_json_object, default={}, metavar="JSON", help="training parameters, or @file"
    )
    register.add_argument("--metrics", type=_json_object, default={}, metavar="JSON", help="claimed metrics, or @file")
    register.add_argument("--description", default="")
    register.add_argument("--created-by", default=_user(), help="(default: %(default)s)")
    number = register.add_mutually_exclusive_group()
    number.add_argument("--version", help="for example 2.0.1")
    number.add_argument("--bump", choices=("major", "minor", "patch"))
    register.add_argument("--tag", action="append", default=[], help="may be repeated")
    register.add_argument("--parent", help="the model from which the training started")
    register.add_argument("--data-seed", type=integer, help="seed of the training data")
    register.add_argument("--code-version", help="commit or release of the code that trained it")
    promote = command("promote", "validate, deploy or retire a model", recorded)
    promote.add_argument("name")
    promote.add_argument("status", choices=STATUSES[1:])
    default = command(
        "default", "show the model that answers requests outside of experiments; with a NAME, change it", recorded
    )
    default.add_argument("name", nargs="?", help="a key, a short name, or a tag (the default then follows the tag)")
    tag = command("tag", "set a tag on a model; --remove removes it", recorded)
    tag.add_argument("tag", help="such as canary, or DDQN:canary")
    which = tag.add_mutually_exclusive_group(required=True)
    which.add_argument("name", nargs="?")
    which.add_argument("--remove", action="store_true")
    rollback = command("rollback", "return to the previous stable version", recorded)
    rollback.add_argument("algorithm")
    history = command("history", "list changes with author, time and reason, newest first, and the live models")
    history.add_argument("name", nargs="?", help="only changes of this model, which may be deleted")
    history.add_argument("--at", type=_moment, metavar="TIME", help="the state at this time (ISO 8601)")
    history.add_argument("--limit", type=integer, default=50, help="(default: %(default)s)")
    cleanup = command("cleanup", "remove models that have long been retired or were never validated")
    cleanup.add_argument("--dry-run", action="store_true", help="only list what would be removed")
    check = command("fsck", "check the consistency of the registry's files; exit status 1 if there are problems")
    check.add_argument("--mend", action="store_true", help="repair what can be repaired automatically")
    compare = command("compare", "run two models on the same instances and show which is better")
    compare.add_argument("a")
    compare.add_argument("b")
    compare.add_argument(
        "--instances", type=integer, default=PER_SIZE, help="instances per size (default: %(default)s)"
    )
    compare.add_argument(
        "--sizes", type=integer, nargs="+", default=list(SIZES), help="work points (default: 1 2 5 10)"
    )
    return parser


# --- commands ---


def _list(manager: "ModelVersionManager", options: argparse.Namespace) -> CommandOutput:
    records = manager.list_models(options.algorithm, options.status, options.tag)
    default = _default(manager)[1]
    header = ("model", "status", "answers", "tags", "makespan h", "claimed h", "gap", "registered", "by")
    rows = [
        (
            record.model_key,
            record.status,
            "default" if record.model_key == default else "-",
            " ".join(record.tags),
            _format_metric(record.verified_metrics, "makespan", ".2f"),
            _format_metric(record.performance, "makespan", ".2f") + ("!" if record.flags else ""),
            _format_metric(record.verified_metrics, "gap", ".1%"),
            record.created_at[:16].replace("T", " "),
            record.created_by,
        )
        for record in records
    ]
    flagged = (
        "\n! a claim differs from what was measured; see `show`" if any(record.flags for record in records) else ""
    )
    value = [record.to_dict() | {"is_default": record.model_key == default} for record in records]
    return value, f"{table(header, rows)}\n{len(rows)} models{flagged}"


def _show_model(manager: "ModelVersionManager", options: argparse.Namespace) -> CommandOutput:
    return _described(manager.get_model(options.name))


def _register(manager: "ModelVersionManager", options: argparse.Namespace) -> CommandOutput:
    lineage = {
        "parent": options.parent, "training_data_seed": options.data_seed, "code_version": options.code_version
    }  # fmt: skip
    key = manager.register_model(
        options.path,
        options.algorithm,
        options.params,
        options.metrics,
        options.description,
        options.created_by,
        version=options.version,
        bump=options.bump,
        tags=options.tag,
        lineage={name: value for name, value in lineage.items() if value is not None},
    )
    return _described(manager.get_model(key))


def _promote(manager: "ModelVersionManager", options: argparse.Namespace) -> CommandOutput:
    record = manager.promote_model(options.name, options.status, reason=options.reason, actor=options.actor)
    return record.to_dict(), f"{record.model_key} is {record.status}"


def _make_default(manager: "ModelVersionManager", options: argparse.Namespace) -> CommandOutput:
    if options.name is not None:
        changes = Changes(manager.store, manager, utc_now)
        changes.make_default(options.name, options.actor, options.reason)
    name, key = _default(manager)
    lines = [f"{key or 'no model'} answers what no experiment takes (configured as {name})"]
    lines += [stable_elsewhere(record, key) for record in manager.list_models(tag=STABLE) if record.model_key != key]
    return {"name": name, "model_key": key}, "\n".join(lines)


def _default(manager: "ModelVersionManager") -> tuple[str, str | None]:
    """The configured default model, and its key; None if there is no such model."""
    name = ConfigFile(manager.store).current().default_model
    try:
        return name, manager.resolve(name, oldest=True)
    except ModelNotFound:
        return name, None


def _tag(manager: "ModelVersionManager", options: argparse.Namespace) -> CommandOutput:
    if options.remove:
        manager.untag_model(options.tag, reason=options.reason, actor=options.actor)
        return {"tag": options.tag, "model_key": None}, f"no model bears {options.tag} any more"
    record = manager.tag_model(options.tag, options.name, reason=options.reason, actor=options.actor)
    return record.to_dict(), f"{options.tag} is {record.model_key}"


def _rollback(manager: "ModelVersionManager", options: argparse.Namespace) -> CommandOutput:
    record = manager.rollback(options.algorithm, options.reason, actor=options.actor)
    return record.to_dict(), f"{options.algorithm}:{STABLE} is {record.model_key} again"


def _history(manager: "ModelVersionManager", options: argparse.Namespace) -> CommandOutput:
    events, live = manager.history_at(options.at or utc_now(), model=options.name)
    shown = events[::-1][: options.limit]
    rows = [
        (
            event.time[:19].replace("T", " "),
            event.event,
            event.model_key,
            _change(event),
            event.actor,
            event.reason[:60],
        )
        for event in shown
    ]
    lines = [table(("time (UTC)", "event", "model", "change", "actor", "reason"), rows)]
    for each in live:
        origin = f"{each.event} by {each.actor or 'unknown'}" + (f": {each.reason}" if each.reason else "")
        lines.append(f"live: {each.model_key} since {each.since[:19].replace('T', ' ')} ({origin})")
    value = {"events": [event.to_dict() for event in shown], "live": {each.algorithm: each.to_dict() for each in live}}
    return value, "\n".join(lines)


def _cleanup(manager: "ModelVersionManager", options: argparse.Namespace) -> CommandOutput:
    keys = manager.cleanup(dry_run=options.dry_run)
    outcome = "would be removed" if options.dry_run else "removed; the files are in .trash/"
    return keys, "\n".join([*keys, f"{len(keys)} models {outcome}"])


def _compare(manager: "ModelVersionManager", options: argparse.Namespace) -> CommandOutput:
    if options.instances < 1 or min(options.sizes) < 1 or max(options.sizes) > 50:
        raise InvalidInput("comparison_range", limit=50)
    a, b = manager.load_model(options.a), manager.load_model(options.b)
    with progress_bar("comparing", "instance") as progress:
        found = compare_models(a, b, sizes=options.sizes, per_size=options.instances, progress=progress)
    header = ("work points", "instances", "B wins", "ties", "B loses", "mean A h", "mean B h")
    rows = [
        (
            group.n_workpoints, group.instances, group.wins, group.ties, group.losses,
            f"{group.mean_makespan_a_h:.2f}", f"{group.mean_makespan_b_h:.2f}",
        )
        for group in found.groups
    ]  # fmt: skip
    interval = f", 95 % interval {found.low:.4f} to {found.high:.4f}, p = {found.p_value:.2g}" if found.low else ""
    text = (
        f"A  {found.a}\nB  {found.b}\n\n{table(header, rows)}\n\nmakespan B / A: {found.mean_ratio:.4f}{interval}\n"
        f"{found.verdict}"
    )
    return found.to_dict(), text


def _fsck(store: RegistryStore, options: argparse.Namespace) -> Outcome:
    store.sweep()  # as on every start: leftovers of a crash are not reported
    found = fsck(store, mend=options.mend)
    left = fsck(store) if options.mend else found
    rows = [(problem.kind, problem.subject, problem.message, problem.remedy) for problem in found]
    summary = f"{len(found)} problems" + (f", {len(found) - len(left)} mended" if options.mend and found else "")
    listed = table(("kind", "what", "problem", "mended by" if options.mend else "remedy"), rows) + "\n" if rows else ""
    value = {"found": [problem.to_dict() for problem in found], "left": [problem.to_dict() for problem in left]}
    return value, f"{listed}{store.shown}: {summary if found else 'nothing is wrong'}", int(bool(left))


COMMANDS: Mapping[str, Callable[["ModelVersionManager", argparse.Namespace], CommandOutput]] = {
    "list": _list,
    "show": _show_model,
    "register": _register,
    "promote": _promote,
    "default": _make_default,
    "tag": _tag,
    "rollback": _rollback,
    "history": _history,
    "cleanup": _cleanup,
    "compare": _compare,
}


# --- output ---


def _described(record: ModelRecord) -> CommandOutput:
    value = record.to_dict()
    rows = [
        ("model", record.model_key),
        ("status", f"{record.status} since {record.status_since[:19].replace('T', ' ')}"),
        ("tags", " ".join(record.tags)),
        ("registered", f"{record.created_at[:19].replace('T', ' ')} by {record.created_by or 'nobody named'}"),
        ("description", record.description),
        *(("measured", f"{name}: {_format_value(figure)}") for name, figure in record.verified_metrics.items()),
        *(("claimed", f"{name}: {_format_value(figure)}") for name, figure in record.performance.items()),
        *(("flag", flag.message) for flag in record.flags),
        *(
            ("lineage", f"{name}: {_format_value(figure)}")
            for name, figure in record.lineage.items()
            if name != "config"
        ),
        ("parameters", json.dumps(record.training_params, ensure_ascii=False)),
        ("weights", f"{record.size_bytes} bytes, SHA-256 {record.sha256}"),
    ]
    return value, "\n".join(f"{name:12} {text}".rstrip() for name, text in rows)


def _change(event: Any) -> str:
    moves = [f"{event.before.status.get(key) or '-'} -> {to or '-'}" for key, to in event.after.status.items()]
    tags = [tag.partition(":")[2] for tag in event.after.tags if not tag.endswith(f":{LATEST}")]
    return ", ".join([*moves, *(f"[{tag}]" for tag in tags)])


def _format_metric(figures: Mapping[str, Any], name: str, form: str) -> str:
    value = figures.get(name)
    return format(value, form) if isinstance(value, int | float) and not isinstance(value, bool) else ""


def _format_value(value: object) -> str:
    return f"{value:.4g}" if isinstance(value, float) else json.dumps(value, ensure_ascii=False)


# --- arguments ---


def _json_object(text: str) -> dict[str, Any]:
    try:
        value = strict_json(Path(text[1:]).read_text("utf-8") if text.startswith("@") else text)
    except (OSError, ValueError) as err:
        raise argparse.ArgumentTypeError(f"{text!r} is not JSON: {err}") from err
    if not isinstance(value, dict):
        raise argparse.ArgumentTypeError(f"{text!r} is not a JSON object")
    return value


def _moment(text: str) -> datetime:
    try:
        return parse_time(text)
    except (ValueError, OverflowError) as err:
        raise argparse.ArgumentTypeError(f"{text!r} is not an ISO-8601 time such as 2026-01-31T08:00:00") from err


def _user() -> str:
    try:
        return getpass.getuser()
    except (KeyError, OSError):  # a container's user may have no name
        return ""

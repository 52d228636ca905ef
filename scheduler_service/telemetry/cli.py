"""The command line of records, alerts, reports and backups: `python -m monitoring <command>`.

Exit status: 0 done; 1 refused, not found, or (`alerts`) an alert is firing; 2 invalid command line; 130 interrupted.
"""

import argparse
import logging
import sys
from collections.abc import Callable, Mapping, Sequence
from datetime import timedelta
from pathlib import Path
from typing import TYPE_CHECKING, Any, NamedTuple

from scheduler_service.alerts.desk import as_json
from scheduler_service.alerts.rules import RULES_OF_RUNS
from scheduler_service.backup import back_up, restore
from scheduler_service.command_line import (
    Outcome,
    add_actor,
    integer,
    number,
    path,
    progress_bar,
    run,
    shared_options,
    table,
)
from scheduler_service.database_url import DatabaseUrl, parse_place
from scheduler_service.errors import InvalidInput
from scheduler_service.experiments.archive import Archive
from scheduler_service.experiments.config import ConfigFile
from scheduler_service.reporting.moving import move_reports
from scheduler_service.reporting.shelf import open_shelf
from scheduler_service.settings import Settings, settings_from_environment
from scheduler_service.store.moving import move_store
from scheduler_service.store.opening import store_at, store_of
from scheduler_service.telemetry.database import open_database
from scheduler_service.telemetry.moving import move
from scheduler_service.telemetry.record import MAX_REPORT_DAYS
from scheduler_service.telemetry.repair import repair

if TYPE_CHECKING:
    from monitoring import ABTestAnalyzer, PerformanceMonitor
    from scheduler_service.alerts.desk import AlertDesk

EXAMPLES = """
examples:
  python -m monitoring report --days 30 --lang en
  python -m monitoring report --experiment ddqn_v1_vs_v2 --pdf
  python -m monitoring alerts                              exit status 1 if an alert is firing, for cron
  python -m monitoring alerts --acknowledge 12 --note "the pump team is short of people"
  python -m monitoring thresholds --set max_makespan=80 --reason "two shifts less in winter"
  python -m monitoring export runs.parquet --since 2026-11-01
  python -m monitoring export pairs.csv --table pairs --experiment ddqn_v1_vs_v2
  python -m monitoring vacuum --keep-days 400
  python -m monitoring repair
  python -m monitoring backup /var/backups/scheduler --keep 14
  python -m monitoring restore /var/backups/scheduler/scheduler-20261125T031500.004Z
  python -m monitoring move --to postgresql+psycopg://scheduler@db.example:5432/scheduler --password-file password
"""


class Door(NamedTuple):
    """The parts of `monitoring` that the commands use; passed in, since this package may not import it."""

    open_monitor: "Callable[..., PerformanceMonitor]"
    open_analyzer: "Callable[..., ABTestAnalyzer]"
    open_desk: "Callable[..., AlertDesk]"


class Parts(NamedTuple):
    """The dependencies of a command."""

    door: Door
    monitor: "PerformanceMonitor"
    settings: Settings


def main(door: Door, arguments: Sequence[str] | None = None) -> int:
    """Run one command; returns the exit status."""
    options = _parser().parse_args(arguments)
    logging.basicConfig(level=logging.WARNING, format="%(levelname)s: %(message)s")
    settings = settings_from_environment(options.home)

    def command() -> Outcome:
        records = settings.records
        if options.command == "repair" and not isinstance(records, Path):
            raise InvalidInput("database_only_file", database=records.shown)
        if options.command != "restore" and isinstance(records, Path) and not records.is_file():
            raise InvalidInput("no_records", home=str(settings.home))
        if options.command in FILE_COMMANDS:
            return FILE_COMMANDS[options.command](settings, options)
        monitor = door.open_monitor(
            records,
            reports_dir=settings.reports_dir,
            thresholds=settings.alert_thresholds,
            store=store_of(settings),
        )
        return COMMANDS[options.command](Parts(door, monitor, settings), options)

    return run(command, as_json=options.json, interrupted="interrupted; nothing is half done")


def _parser() -> argparse.ArgumentParser:
    shared = shared_options()
    parser = argparse.ArgumentParser(
        prog="python -m monitoring",
        description="Create reports, show alerts, export runs, maintain the database, make backups.",
        epilog=EXAMPLES,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    commands = parser.add_subparsers(dest="command", required=True, metavar="COMMAND")

    def command(name: str, about: str, more: str = "") -> argparse.ArgumentParser:
        return commands.add_parser(name, help=about, description=f"{about}. {more}".strip(), parents=[shared])

    report = command("report", "generate a report of the last days and print its path")
    report.add_argument("--experiment", metavar="NAME", help="generate the A/B report of this experiment")
    report.add_argument("--days", type=number, default=7.0, help="length of the period (default: %(default)g)")
    report.add_argument("--lang", choices=("zh", "en"), default="zh", help="(default: %(default)s)")
    report.add_argument("--pdf", action="store_true", help="also generate a PDF")

    alerts = command(
        "alerts",
        "show the current alerts",
        "If no service checks for alerts, this command also sends unsent notifications. The exit status is 1 if "
        "an alert is firing.",
    )
    alerts.add_argument("--history", type=number, metavar="DAYS", help="show the alerts of the last DAYS instead")
    alerts.add_argument("--acknowledge", type=integer, metavar="ID", help="acknowledge this alert")
    alerts.add_argument("--note", help="note for --acknowledge, such as the action taken")
    add_actor(alerts)
    alerts.add_argument("--test", action="store_true", help="send a test message to each channel")

    thresholds = command(
        "thresholds",
        "show the alert thresholds and who set them",
        "--set and --reset change a threshold in every process at once.",
    )
    changed = thresholds.add_mutually_exclusive_group()
    changed.add_argument("--set", type=_named_number, metavar="NAME=VALUE", help="set the threshold NAME to VALUE")
    changed.add_argument("--reset", metavar="NAME", help="reset the threshold NAME to its default")
    thresholds.add_argument("--history", action="store_true", help="show the changes, newest first")
    thresholds.add_argument("--reason", default="", help="reason; required with --set")
    add_actor(thresholds)

    export = command(
        "export",
        "write runs or pairs to a file for other programs",
        "The suffix selects the format: .csv (UTF-8, for spreadsheets) or .parquet.",
    )
    export.add_argument("file", type=path)
    export.add_argument("--table", choices=("runs", "pairs"), default="runs", help="(default: %(default)s)")
    export.add_argument("--since", metavar="TIME", help="ISO-8601; local time unless it has an offset")
    export.add_argument("--until", metavar="TIME", help="ISO-8601, inclusive")
    export.add_argument("--model-key", metavar="KEY", help="only the runs of this model")
    export.add_argument("--experiment", metavar="NAME", help="only the rows of this experiment")

    command("stats", "show the content and the size of the database")

    command(
        "repair",
        "repair a damaged database",
        "Every readable row is written to a new file that replaces the damaged one, which is kept. The service may be "
        "running: it refuses runs during the repair, and then uses the new file.",
    )

    backup = command(
        "backup",
        "copy records, experiments and models into a new folder below FOLDER, and print its path",
        "Services may be running. The copy is consistent and checked, and appears only when it is complete.",
    )
    backup.add_argument("folder", type=path, metavar="FOLDER", help="preferably on another disk; created if missing")
    backup.add_argument("--keep", type=integer, metavar="N", help="afterwards delete all but the newest N copies")

    restored = command(
        "restore",
        "restore a backup into a home without records and models",
        "Each file is checked against its digest. Existing files are not overwritten.",
    )
    restored.add_argument("folder", type=path, metavar="COPY", help="path printed by `backup`")

    moved = command(
        "move",
        "copy records, models, experiments and reports to an empty database of the other engine, and compare digests",
        "Stop the services first. The source stays as it is. After an interruption, run the same command again. "
        "Afterwards set or remove SCHED_DATABASE_URL, and start the services.",
    )
    moved.add_argument("--to", required=True, metavar="URL", help="postgresql+psycopg://..., or the path of a new file")
    moved.add_argument("--password-file", type=path, metavar="FILE", help="file with the password for the URL")

    vacuum = command(
        "vacuum",
        "return unused space to the system",
        "With --keep-days, older runs are first replaced by daily sums per model. Runs of experiments in "
        "ab_test_config.json are kept. The service cannot record runs while the file is rewritten: seconds for a large "
        "file.",
    )
    vacuum.add_argument("--keep-days", type=number, metavar="DAYS", help="compact runs older than this")
    return parser


# --- commands ---


def _report(parts: Parts, options: argparse.Namespace) -> Outcome:
    form: dict[str, Any] = {"lang": options.lang, "pdf": options.pdf}
    if options.experiment is None:
        path = parts.monitor.generate_performance_report(options.days, **form)
    else:
        path = parts.door.open_analyzer(parts.monitor).generate_ab_test_report(options.experiment, options.days, **form)
    paths = [path, str(Path(path).with_suffix(".pdf"))] if options.pdf else [path]
    return {"path": path, "paths": paths}, "\n".join(paths), 0


def _alerts(parts: Parts, options: argparse.Namespace) -> Outcome:
    if options.test:
        errors = parts.door.open_desk(parts.monitor, parts.settings).test()
        rows = [(name, error or "delivered") for name, error in errors.items()]
        text = table(("channel", "result"), rows) if rows else "no channel is configured; see SCHED_ALERT_WEBHOOKS"
        return errors, text, int(any(errors.values()))
    if options.acknowledge is not None:
        episode = parts.monitor.alerts.acknowledge(options.acknowledge, options.actor, options.note)
        return as_json(episode), f"alert {episode.id} ({episode.message}) is acknowledged by {options.actor or '-'}", 0
    if options.history is not None:
        if not 0.0 < options.history <= MAX_REPORT_DAYS:
            raise InvalidInput("not_positive", ("--history",), maximum=MAX_REPORT_DAYS, value=options.history)
        now = parts.monitor.clock()
        found = parts.monitor.alerts.between(now - timedelta(days=options.history), now)
        return [as_json(each) for each in found], _alert_table(found), 0
    desk = parts.door.open_desk(parts.monitor, parts.settings, confirm_s=parts.settings.alert_confirm_s)
    firing = desk.look(parts.monitor.alert_readings(parts.settings.alert_lang), RULES_OF_RUNS)
    desk.deliver()
    pending = [episode for episode in parts.monitor.alerts.unended() if episode.state == "pending"]
    shown = [*firing, *pending]
    return [as_json(each) for each in shown], _alert_table(shown), int(bool(firing))


def _alert_table(episodes: Sequence[Any]) -> str:
    if not episodes:
        return "nothing is wrong"
    rows = []
    for each in episodes:
        began = each.began.astimezone().strftime("%Y-%m-%d %H:%M")
        value, threshold = ("-" if number is None else f"{number:.4g}" for number in (each.value, each.threshold))
        by = each.acknowledged_by or "-"
        rows.append((each.id, each.state, each.severity, began, value, threshold, each.message, by))
    return table(("id", "state", "severity", "began", "value", "threshold", "message", "acknowledged by"), rows)


def _named_number(text: str) -> tuple[str, float]:
    name, _, value = text.partition("=")
    return name.strip(), number(value)


def _thresholds(parts: Parts, options: argparse.Namespace) -> Outcome:
    name, value = options.set or (options.reset, None)
    if name is not None:
        if value is not None and not options.reason.strip():
            raise InvalidInput("reason_missing", ("--reason",))
        change = parts.monitor.limits.file.put(name, value, actor=options.actor, reason=options.reason)
        threshold = parts.monitor.limits.shown_one(name, change)
        return threshold, f"{name} is {_plain(threshold['value'])}", 0
    shown = parts.monitor.limits.shown()
    if shown["problem"]:
        print(f"warning: {shown['problem']}; the last good file counts", file=sys.stderr)
    if options.history:
        columns = ("time", "name", "before", "after", "actor", "reason")
        return shown["changes"], table(columns, [[_plain(each[c]) for c in columns] for each in shown["changes"]]), 0
    rows = [
        (each["name"], _plain(each["value"]), _plain(each["default"]), each["unit"], _who(each["changed"]))
        for each in shown["thresholds"]
    ]
    return shown["thresholds"], table(("name", "value", "default", "unit", "set by"), rows), 0


def _plain(value: object) -> str:
    return "-" if value in (None, "") else f"{value:g}" if isinstance(value, float) else str(value)


def _who(change: Mapping[str, Any] | None) -> str:
    return "-" if change is None else f"{change['actor'] or 'nobody named'}: {change['reason'] or '-'}"


def _export(parts: Parts, options: argparse.Namespace) -> Outcome:
    with progress_bar("exporting", "row") as progress:
        rows = parts.monitor.export(
            options.file,
            options.table,
            start_time=options.since,
            end_time=options.until,
            model_key=options.model_key,
            experiment=options.experiment,
            progress=progress,
        )
    path = options.file.resolve()
    size = path.stat().st_size
    return {"path": str(path), "rows": rows, "bytes": size}, f"{rows} rows, {size / 2**20:.1f} MiB: {path}", 0


def _stats(parts: Parts, _options: argparse.Namespace) -> Outcome:
    value = parts.monitor.upkeep.stats()
    rows = list(value["rows"].items())
    sizes = [(name, f"{size / 2**20:.1f} MiB") for name, size in value["bytes"].items()]
    period = f"runs from {value['first_run'] or '-'} to {value['last_run'] or '-'}"
    return value, f"{table(('table', 'rows'), rows)}\n\n{table(('file', 'size'), sizes)}\n\n{period}", 0


def _vacuum(parts: Parts, options: argparse.Namespace) -> Outcome:
    compacted = 0
    if options.keep_days is not None:
        if not 1.0 <= options.keep_days <= MAX_REPORT_DAYS:
            loc, value = ("--keep-days",), options.keep_days
            raise InvalidInput("out_of_range", loc, value=value, minimum=1, maximum=MAX_REPORT_DAYS)
        before = parts.monitor.clock() - timedelta(days=options.keep_days)
        store = store_of(parts.settings)
        config = ConfigFile(store)
        keep = (*config.current().experiments, *Archive(store).summaries())
        config.check()  # a broken file does not tell which runs must be kept
        with progress_bar("compacting", "run") as progress:
            compacted = parts.monitor.upkeep.compact(before, keep_experiments=keep, progress=progress)
        parts.monitor.alerts.forget(before)
    freed = parts.monitor.upkeep.vacuum()
    text = f"{compacted} runs compacted, {freed / 2**20:.1f} MiB freed"
    return {"compacted": compacted, "freed_bytes": freed}, text, 0


def _move(parts: Parts, options: argparse.Namespace) -> Outcome:
    try:
        place = parse_place(options.to, options.password_file)
    except InvalidInput as err:
        raise err.at(("--to",)) from None
    place = place if isinstance(place, DatabaseUrl) else place.resolve()
    target = open_database(place)
    with progress_bar("moving", "row") as progress:
        moved = move(parts.monitor.engine, target, progress)
    rows = [(name, content.rows, content.digest[:16]) for name, content in moved.items()]
    value = {name: {"rows": content.rows, "digest": content.digest} for name, content in moved.items()}
    if not isinstance(place, Path) or place.parent.name == "logs":
        home = parts.settings.home if isinstance(place, DatabaseUrl) else place.parent.parent
        with progress_bar("moving models and experiments", "file") as progress:
            n_parts, digest = move_store(store_of(parts.settings), store_at(place, home), progress)
        rows.append(("models and experiments", n_parts, digest[:16]))
        value["store"] = {"rows": n_parts, "digest": digest}
        reports = open_shelf(parts.settings.reports_dir, parts.monitor.engine, parts.settings.records, is_shared=True)
        others = open_shelf(home / "reports", target, place, is_shared=True)
        with progress_bar("moving reports", "report") as progress:
            n_reports, digest = move_reports(reports, others, progress)
        rows.append(("reports", n_reports, digest[:16]))
        value["reports"] = {"rows": n_reports, "digest": digest}
    target.dispose()
    return value, f"{table(('table', 'rows', 'digest of both'), rows)}", 0


def _repair(settings: Settings, _options: argparse.Namespace) -> Outcome:
    with progress_bar("saving", "row") as progress:
        done = repair(settings.database_file, progress)
    if done is None:
        return {"is_sound": True}, f"{settings.database_file} is sound; nothing was changed", 0
    rows = [(name, count, done.lost.get(name, 0)) for name, count in done.saved.items()]
    text = f"{table(('table', 'rows saved', 'lost'), rows)}\n\nthe damaged file is now {done.damaged}"
    return {"is_sound": False, "saved": done.saved, "lost": done.lost, "damaged": str(done.damaged)}, text, 0


def _backup(settings: Settings, options: argparse.Namespace) -> Outcome:
    if options.keep is not None and options.keep < 1:
        raise InvalidInput("keep_too_few", ("--keep",), value=options.keep)
    done = back_up(settings, options.folder.resolve(), keep=options.keep)
    return {"path": str(done.path), **done.manifest}, str(done.path), 0


def _restore(settings: Settings, options: argparse.Namespace) -> Outcome:
    done = restore(options.folder.resolve(), settings)
    made, n_files = done.manifest["made"], len(done.manifest["files"])
    text = f"{n_files} files, {done.size_bytes / 2**20:.1f} MiB, of {made} are now in {settings.home}"
    return {"home": str(settings.home), "made": made, "files": n_files, "bytes": done.size_bytes}, text, 0


FILE_COMMANDS: Mapping[str, Callable[[Settings, argparse.Namespace], Outcome]] = {
    "backup": _backup,
    "restore": _restore,
    "repair": _repair,
}
"""These work also if the database cannot be opened."""

COMMANDS: Mapping[str, Callable[[Parts, argparse.Namespace], Outcome]] = {
    "report": _report,
    "alerts": _alerts,
    "thresholds": _thresholds,
    "export": _export,
    "move": _move,
    "stats": _stats,
    "vacuum": _vacuum,
}

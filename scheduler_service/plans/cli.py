"""The command line of plans: `python -m scheduler_service.plans <command>`, in Chinese unless `--lang en`.

Exit status: 0 done; 1 refused or not found; 2 invalid command line; 130 interrupted.
"""

import argparse
import csv
import json
import logging
from collections.abc import Callable, Mapping, Sequence
from io import StringIO
from pathlib import Path
from typing import Any, NamedTuple

from ab_testing import ABTestManager
from model_manager import ModelVersionManager
from monitoring import PerformanceMonitor
from scheduler_env.errors import CodedError
from scheduler_env.placements import packed
from scheduler_env.readers import instance_from_request
from scheduler_env.schedule import Schedule
from scheduler_service.command_line import Outcome, add_actor, integer, number, path, run, shared_options, table
from scheduler_service.errors import InvalidInput
from scheduler_service.files import write_atomically
from scheduler_service.http.bodies import parse_json, validated
from scheduler_service.http.contract.plans import PlanReplanRequest
from scheduler_service.http.runs.details import details
from scheduler_service.http.runs.planning import change_of
from scheduler_service.plans.changes import next_request
from scheduler_service.plans.comparison import compare
from scheduler_service.plans.earned_value import earned_value
from scheduler_service.plans.records import PlanRecords
from scheduler_service.plans.versions import PlanVersion, digest_of
from scheduler_service.settings import Settings, settings_from_environment
from scheduler_service.store.opening import store_of
from scheduler_service.words import WORDS, Lang

EXAMPLES = """
examples / 示例:
  python -m scheduler_service.plans list
  python -m scheduler_service.plans show 锅炉大修 --version 2
  python -m scheduler_service.plans status 锅炉大修
  python -m scheduler_service.plans replan 锅炉大修 --change shift.json --reason 早班 --time-budget-ms 2000
  python -m scheduler_service.plans compare 锅炉大修 1 3 --lang en
  python -m scheduler_service.plans export 锅炉大修 plan.csv
"""
SUFFIXES = (".csv", ".json")


class Parts(NamedTuple):
    """What a command works with."""

    settings: Settings
    plans: PlanRecords
    lang: Lang

    def text(self, key: str, **params: object) -> str:
        return WORDS.text(f"plans.{key}", params, self.lang)

    def table(self, keys: Sequence[str], rows: Sequence[Sequence[object]]) -> str:
        return table([self.text(key) for key in keys], rows)

    def term(self, kind: str, value: str) -> str:
        return str(WORDS.texts(self.lang)["terms"][kind].get(value, value))


def main(arguments: Sequence[str] | None = None) -> int:
    """Run one command; returns the exit status."""
    options = _parser().parse_args(arguments)
    logging.basicConfig(level=logging.WARNING, format="%(levelname)s: %(message)s")
    settings = settings_from_environment(options.home)

    def command() -> Outcome:
        records = settings.records
        if isinstance(records, Path) and not records.is_file():
            raise InvalidInput("no_records", home=str(settings.home))
        monitor = PerformanceMonitor(records, reports_dir=settings.reports_dir, store=store_of(settings))
        plans = PlanRecords(monitor.engine, monitor.writer, monitor.clock)
        return COMMANDS[options.command](Parts(settings, plans, options.lang), options)

    return run(command, as_json=options.json)


def _parser() -> argparse.ArgumentParser:
    shared = shared_options()
    shared.add_argument("--lang", choices=("zh", "en"), default="zh", help="(default: %(default)s)")
    parser = argparse.ArgumentParser(
        prog="python -m scheduler_service.plans",
        description="列出、查看、调整、比较和导出计划。 List, show, change, compare and export plans.",
        epilog=EXAMPLES,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    commands = parser.add_subparsers(dest="command", required=True, metavar="COMMAND")

    def command(name: str, zh: str, en: str) -> argparse.ArgumentParser:
        return commands.add_parser(name, help=f"{zh} / {en}", description=f"{zh}。{en}.", parents=[shared])

    listed = command("list", "列出全部计划", "list the plans")
    listed.add_argument("--search", default="", metavar="TEXT", help="名称中的文字 / a part of the name")
    for name, zh, en in (
        ("show", "查看一个版本", "show a version"),
        ("status", "查看进度", "show how far a plan has come"),
        ("export", "把一个版本的工序写入 .csv 或 .json 文件", "write the steps of a version to a .csv or .json file"),
    ):
        each = command(name, zh, en)
        each.add_argument("plan", metavar="PLAN")
        each.add_argument("--version", type=integer, metavar="N", help="默认为最新版 / the latest by default")
        if name == "export":
            each.add_argument("file", type=path, metavar="FILE")
        if name == "status":
            each.add_argument(
                "--baseline", type=integer, metavar="N", help="默认为已发布版 / the published one by default"
            )
    compared = command("compare", "比较两个版本", "compare two versions")
    compared.add_argument("plan", metavar="PLAN")
    compared.add_argument(
        "before", type=integer, nargs="?", metavar="BEFORE", help="默认为已发布版 / the published one"
    )
    compared.add_argument("after", type=integer, nargs="?", metavar="AFTER", help="默认为最新版 / the latest")
    changed = command(
        "replan", "按现状和变更重新排程，生成下一版", "plan again with a change, and store the next version"
    )
    changed.add_argument("plan", metavar="PLAN")
    changed.add_argument(
        "--change",
        type=path,
        metavar="FILE",
        help="JSON，同 POST /plans/<name>/replan；默认无变更 / JSON, as for that route; no change by default",
    )
    changed.add_argument("--data-date", type=number, metavar="HOURS", help="数据日期 / now, hours after the start")
    changed.add_argument("--time-budget-ms", type=integer, default=1_000, metavar="MS", help="(default: %(default)s)")
    changed.add_argument("--reason", default="", help="原因 / why")
    add_actor(changed)
    return parser


# --- commands ---


def _list(parts: Parts, options: argparse.Namespace) -> Outcome:
    found = parts.plans.plans(1_000, search=options.search)
    value = [
        {"name": each.latest.plan, "latest": each.latest.number, "published": each.published,
         "makespan": each.latest.makespan_h, "by": each.latest.by}
        for each in found
    ]  # fmt: skip
    rows = [
        (each.latest.plan, each.latest.number, each.published or "-", f"{each.latest.makespan_h:.2f}",
         parts.term("plan_kind", each.latest.kind), _local(each.latest), each.latest.by or "-")
        for each in found
    ]  # fmt: skip
    keys = ("plan", "latest", "published", "makespan", "kind", "changed", "by")
    return value, parts.table(keys, rows) if rows else parts.text("none"), 0


def _show(parts: Parts, options: argparse.Namespace) -> Outcome:
    version = parts.plans.version(options.plan, options.version)
    schedule = parts.plans.schedule(version)
    history = parts.plans.versions(options.plan)
    held = parts.plans.publications(options.plan)
    versions = [
        (each.number, parts.term("plan_kind", each.kind), f"{each.makespan_h:.2f}", len(each.edits.added),
         len(each.edits.cancelled), _local(each), each.by or "-", each.reason or "-")
        for each in history
    ]  # fmt: skip
    keys = ("version", "kind", "makespan", "added", "cancelled", "changed", "by", "reason")
    published = str(held[0].version) if held else "-"
    head = parts.text("about", plan=version.plan, version=version.number, published=published, hours=version.makespan_h)
    text = "\n\n".join([head, parts.table(keys, versions), _steps(parts, schedule)])
    return {"plan": version.plan, "version": version.number, "request": version.request, **details(schedule)}, text, 0


def _steps(parts: Parts, schedule: Schedule) -> str:
    rows = [_row(parts, each) for each in _step_values(schedule)]
    return parts.table(STEP_KEYS, rows)


STEP_KEYS = ("id", "name", "workpoint", "team", "workers", "start", "end", "status")


def _step_values(schedule: Schedule) -> list[dict[str, Any]]:
    steps: Any = details(schedule)["schedule_details"]
    return sorted(steps, key=lambda each: (each["start"], each["id"]))


def _row(parts: Parts, step: Mapping[str, Any]) -> list[object]:
    times = [f"{step[name]:.2f}" for name in ("start", "end")]
    state = parts.term("step_status", step.get("status", "planned"))
    return [step["id"], step["name"], step["workpoint_name"], step["team"], step["workers"], *times, state]


def _status(parts: Parts, options: argparse.Namespace) -> Outcome:
    baseline, version = (
        parts.plans.baseline(options.plan, options.baseline),
        parts.plans.version(options.plan, options.version),
    )
    found = earned_value(parts.plans.schedule(baseline), parts.plans.schedule(version))
    lines = [
        parts.text("measured", plan=version.plan, version=version.number, baseline=baseline.number,
                   hour=round(found.data_date_h, 2)),
        parts.text("planned_value", value=round(found.planned_value, 1), total=round(found.total, 1)),
        parts.text("earned_value", value=round(found.earned_value, 1)),
        parts.text("spi", value="-" if found.spi is None else f"{found.spi:.3f}"),
        parts.text("ends", planned=round(found.baseline_end_h, 2), forecast=round(found.forecast_end_h, 2)),
        parts.text("scope", added=found.added.steps, added_hours=round(found.added.people_hours, 1),
                   cancelled=found.cancelled.steps, cancelled_hours=round(found.cancelled.people_hours, 1)),
    ]  # fmt: skip
    value = {
        "plan": version.plan, "version": version.number, "baseline": baseline.number, "data_date": found.data_date_h,
        "planned_value": found.planned_value, "earned_value": found.earned_value, "spi": found.spi,
        "total": found.total, "baseline_end": found.baseline_end_h, "forecast_end": found.forecast_end_h,
        "added": found.added._asdict(), "cancelled": found.cancelled._asdict(),
    }  # fmt: skip
    return value, "\n".join(lines), 0


def _compare(parts: Parts, options: argparse.Namespace) -> Outcome:
    before, after = parts.plans.baseline(options.plan, options.before), parts.plans.version(options.plan, options.after)
    found = compare(parts.plans.schedule(before), parts.plans.schedule(after))
    steps = [
        (each.after.step.id, each.after.step.name, each.after.step.team, f"{each.before.start_h:.2f}",
         f"{each.after.start_h:.2f}", f"{each.shift_h:+.2f}", each.before.crew, each.after.crew,
         parts.term("step_status", each.state))
        for each in found.moved
    ]  # fmt: skip
    teams = [(each.team, each.moved, each.crews_changed, f"{each.total_shift_h:.2f}") for each in found.teams]
    head = parts.text("compared", plan=after.plan, before=before.number, after=after.number,
                      was=round(found.makespan_before_h, 2), now=round(found.makespan_after_h, 2))  # fmt: skip
    keys = ("id", "name", "team", "was", "now", "shift", "crew_was", "crew_now", "status")
    blocks = [head]
    blocks += [parts.table(("team", "moved", "crews_changed", "total_shift"), teams)] if teams else []
    blocks += [parts.table(keys, steps)] if steps else [parts.text("nothing_moved")]
    for key, placed in (("added_steps", found.added), ("cancelled_steps", found.gone)):
        if placed:
            blocks.append(parts.text(key, steps=[f"{each.step.id} {each.step.name}" for each in placed]))
    value = {
        "plan": after.plan, "before": before.number, "after": after.number,
        "makespan_before": found.makespan_before_h, "makespan": found.makespan_after_h,
        "moved": [{"id": each.after.step.id, "shift": each.shift_h, "workers_before": each.before.crew,
                   "workers": each.after.crew} for each in found.moved],
        "teams": [{"team": each.team, "moved": each.moved, "crews_changed": each.crews_changed,
                   "total_shift": each.total_shift_h} for each in found.teams],
        "added": [each.step.id for each in found.added], "cancelled": [each.step.id for each in found.gone],
    }  # fmt: skip
    return value, "\n\n".join(blocks), 0


def _replan(parts: Parts, options: argparse.Namespace) -> Outcome:
    latest = parts.plans.latest(options.plan)
    said = _said(options)
    body = validated(PlanReplanRequest, {"based_on": latest.number, **said})
    held = parts.plans.held(options.plan)
    found = next_request(latest, held, change_of(body))
    store = store_of(parts.settings)
    registry = ModelVersionManager(allowed_sources=(parts.settings.home,), store=store)
    name = body.model or ABTestManager(registry=registry, store=store).default_model
    model = registry.load_model(name, oldest=True)
    budget_ms = body.time_budget_ms if body.time_budget_ms is not None else options.time_budget_ms
    instance = instance_from_request(found.problem)
    solution = model.agent.solve(instance, time_budget_ms=budget_ms, seed=body.seed or 0)
    version = PlanVersion(
        plan=latest.plan,
        number=latest.number + 1,
        kind="replan",
        by=body.by,
        reason=body.reason,
        based_on=latest.number,
        published=None if held is None else held.number,
        digest=digest_of({"kind": "replan", **body.model_dump(mode="json", exclude_unset=True, warnings=False)}),
        request=found.request,
        placements=packed(solution.schedule),
        makespan_h=solution.schedule.makespan_h,
        lower_bound_h=solution.lower_bound_h,
        n_steps=len(solution.schedule.steps),
        model_key=model.key,
        request_id=None,
        edits=found.edits,
    )
    stored = parts.plans.add(version)
    text = parts.text("replanned", plan=stored.plan, version=stored.number, hours=round(stored.makespan_h, 2))
    return {"plan": stored.plan, "version": stored.number, "makespan": stored.makespan_h}, text, 0


def _said(options: argparse.Namespace) -> dict[str, Any]:
    """The change that the options and the file describe."""
    said: Any = {}
    if options.change is not None:
        try:
            said = parse_json(options.change.read_bytes())
        except OSError as err:
            raise InvalidInput("cannot_read", ("--change",), path=str(options.change), reason=err.strerror) from err
        except CodedError as err:
            raise InvalidInput("import_not_json", ("--change",), reason=str(err)) from err
        if not isinstance(said, dict):
            raise InvalidInput("not_a_json_object", ("--change",))
    own = {"data_date": options.data_date, "reason": options.reason or None, "by": options.actor or None}
    return {**said, **{key: value for key, value in own.items() if value is not None and key not in said}}


def _export(parts: Parts, options: argparse.Namespace) -> Outcome:
    if options.file.suffix not in SUFFIXES:
        raise InvalidInput("export_format", ("FILE",), name=options.file.name, known=list(SUFFIXES))
    version = parts.plans.version(options.plan, options.version)
    schedule = parts.plans.schedule(version)
    if options.file.suffix == ".json":
        value = {"plan": version.plan, "version": version.number, "request": version.request, **details(schedule)}
        content = json.dumps(value, ensure_ascii=False, indent=2).encode()
    else:
        lines = StringIO()
        writer = csv.writer(lines)
        writer.writerow([parts.text(key) for key in STEP_KEYS])
        writer.writerows([_plain(cell) for cell in _row(parts, each)] for each in _step_values(schedule))
        content = lines.getvalue().encode("utf-8-sig")  # spreadsheets need the byte order mark
    write_atomically(options.file, content)
    where = str(options.file.resolve())
    return {"path": where, "version": version.number}, parts.text("exported", version=version.number, path=where), 0


def _plain(cell: object) -> object:
    """A cell that no spreadsheet takes for a formula."""
    return f"'{cell}" if isinstance(cell, str) and cell.startswith(("=", "+", "-", "@", "\t", "\r")) else cell


# --- what they have in common ---


def _local(version: PlanVersion) -> str:
    assert version.timestamp is not None
    return version.timestamp.astimezone().strftime("%Y-%m-%d %H:%M")


COMMANDS: Mapping[str, Callable[[Parts, argparse.Namespace], Outcome]] = {
    "list": _list,
    "show": _show,
    "status": _status,
    "compare": _compare,
    "replan": _replan,
    "export": _export,
}

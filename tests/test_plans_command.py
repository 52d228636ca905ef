"""`python -m scheduler_service.plans`: in Chinese unless English is asked for."""

import csv
import json

import pytest

from model_manager import ModelVersionManager
from monitoring import PerformanceMonitor
from scheduler_service.plans.cli import main
from scheduler_service.plans.records import PlanRecords
from scheduler_service.plans.versions import schedule_of
from scheduler_service.settings import PROJECT_ROOT, Settings
from scheduler_service.store.opening import store_of
from tests.instances import three_points
from tests.plans import version


@pytest.fixture
def home(tmp_path):
    """A home with a plan."""
    (tmp_path / "logs").mkdir()
    plans_of(tmp_path).add(version("=大修", three_points()))
    return tmp_path


@pytest.fixture
def models(home):
    """The models of the home."""
    store = store_of(Settings(home=home))
    ModelVersionManager(allowed_sources=(home,), store=store).register_seed_models(PROJECT_ROOT / "models" / "seed")


def plans_of(home) -> PlanRecords:
    monitor = PerformanceMonitor(home / "logs" / "performance.db", reports_dir=home)
    return PlanRecords(monitor.engine, monitor.writer, monitor.clock)


@pytest.fixture
def run(home, capsys):
    def run(*arguments: str, status: int = 0) -> str:
        assert main([*arguments, "--home", str(home)]) == status
        printed = capsys.readouterr()
        return printed.out if status == 0 else printed.err

    return run


def test_plans_are_listed_and_shown_in_chinese_and_english(run):
    assert "总工期（小时）" in run("list")
    assert "makespan, h" in run("list", "--lang", "en")
    assert json.loads(run("list", "--json"))[0]["name"] == "=大修"
    shown = run("show", "=大修")
    assert "第 1 版：32 小时" in shown
    assert "A.2" in shown
    assert "没有计划" in run("list", "--search", "nothing")


@pytest.mark.usefixtures("models")
def test_a_change_from_a_file_makes_the_next_version(run, home, tmp_path):
    change = tmp_path / "change.json"
    done = {"status": "done", "actual_start": 0, "actual_finish": 16, "workers": 5}
    change.write_text(json.dumps({"data_date": 16, "progress": {"C.1": done}, "time_budget_ms": 20}))
    assert run("status", "=大修", status=1)
    plans_of(home).publish("=大修", 1, "", "")
    made = run("replan", "=大修", "--change", str(change), "--reason", "早班", "--actor", "李工")
    assert "第 2 版" in made
    stored = plans_of(home).latest("=大修")
    assert (stored.by, stored.reason, stored.published, stored.request["data_date"]) == ("李工", "早班", 1, 16)
    assert schedule_of(stored, plans_of(home).version("=大修", 1)).violations() == []
    assert "SPI" in run("status", "=大修")
    assert "第 1 版与第 2 版" in run("compare", "=大修")
    assert "version 2 and version 2" in run("compare", "=大修", "2", "2", "--lang", "en")
    assert json.loads(run("status", "=大修", "--json"))["data_date"] == 16
    change.write_text('{"data_date": 3}')
    assert "16" in run("replan", "=大修", "--change", str(change), status=1)
    change.write_text("[")
    assert run("replan", "=大修", "--change", str(change), status=1)


def test_the_steps_are_exported_for_spreadsheets_and_programs(run, tmp_path):
    table, document = tmp_path / "plan.csv", tmp_path / "plan.json"
    assert "第 1 版" in run("export", "=大修", str(table))
    rows = list(csv.reader(table.read_text("utf-8-sig").splitlines()))
    assert rows[0][:3] == ["编号", "工序", "工作点"]
    assert len(rows) == 7
    run("export", "=大修", str(document))
    assert json.loads(document.read_text("utf-8"))["version"] == 1
    assert "plan.txt" in run("export", "=大修", str(tmp_path / "plan.txt"), status=1)


def test_a_plan_or_a_home_that_does_not_exist_is_refused(run, tmp_path, capsys):
    assert "nobody" in run("show", "nobody", status=1)
    assert main(["list", "--home", str(tmp_path / "elsewhere")]) == 1
    assert "no records" in capsys.readouterr().err

"""The scripts for operators."""

import json
import os
import re
import shutil
import subprocess
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest

from tests.conftest import ROOT, LiveService
from tests.examples.field import EXAMPLES, HOURS, OPTIMUM_H, absent, ended, recorded, refusals, used_up


@dataclass(frozen=True)
class Shell:
    """The scripts of examples/curl, called with the key of `who`."""

    plant: LiveService
    folder: Path

    def run(
        self, name: str, *arguments: str, who: str = "operator", **options: str
    ) -> subprocess.CompletedProcess[str]:
        environment = {"SCHEDULER_URL": self.plant.url, "SCHEDULER_KEY": who, "USER": "li.wei", **options}
        return ended(
            [EXAMPLES / "curl" / f"{name}.sh", *arguments],
            cwd=self.folder,
            env={"PATH": os.environ["PATH"]} | environment,
        )

    def printed(self, name: str, *arguments: str, **options: str) -> str:
        result = self.run(name, *arguments, **options)
        assert result.returncode == 0, f"{name}: {result.stderr}"
        return result.stdout

    def answer(self, name: str, *arguments: str, **options: str) -> Any:
        return json.loads(self.printed(name, *arguments, **options))


@pytest.fixture
def shell(plant: LiveService, tmp_path: Path) -> Shell:
    if shutil.which("curl") is None:
        absent("curl", "apt-get", "update")
    return Shell(plant, tmp_path)


def scripts() -> list[Path]:
    return [path for path in sorted((EXAMPLES / "curl").glob("*.sh")) if path.name != "common.sh"]


def test_a_script_runs_the_standard_cycle(shell):
    assert shell.answer("run_schedule", who="planner")["result"]["makespan"] == pytest.approx(OPTIMUM_H, abs=0.01)
    hours = [str(hour) for hour in range(1, 16)]
    result = shell.answer("run_schedule", '李 "the planner"', "ddqn_v1_vs_v2", *hours, who="planner")
    assert result["experiment_info"]["user_id"] == '李 "the planner"'
    assert result["experiment_info"]["reason"] == "assigned"
    assert result["result"]["makespan"] != pytest.approx(OPTIMUM_H, abs=0.01)


def test_a_script_runs_work_points(shell):
    result = shell.answer("run_work_points", who="planner")["result"]
    assert {step["workpoint_name"] for step in result["schedule_details"]} == {"锅炉", "容器", "管道"}
    mine = shell.folder / "mine.json"
    mine.write_text(json.dumps({"workpoints": [{"id": "pump"}], "time_budget_ms": 0}))
    result = shell.answer("run_work_points", str(mine), who="planner")["result"]
    assert {step["workpoint_id"] for step in result["schedule_details"]} == {"pump"}


def test_a_script_saves_gantt_charts(shell):
    result = shell.printed("save_gantt", "a.png", who="planner")
    assert re.fullmatch(r"a\.png: makespan \d+\.\d+ h, no schedule is shorter than \d+\.\d+ h\n", result)
    shell.printed("save_gantt", "b.svg", "process", who="planner")
    assert (shell.folder / "a.png").read_bytes().startswith(b"\x89PNG\r\n")
    assert "</svg>" in (shell.folder / "b.svg").read_text()
    assert sorted(path.name for path in shell.folder.iterdir()) == ["a.png", "b.svg"]


def test_a_script_gives_feedback(shell):
    request_id = shell.answer("run_schedule", who="planner")["request_id"]
    shell.printed("give_feedback", request_id, "4", 'says "good";\nso far', who="planner")
    row = recorded(shell.plant, request_id)
    assert (row["user_satisfaction"], row["comment"]) == (4, 'says "good";\nso far')


def test_scripts_take_a_model_from_its_file_to_its_users_and_compare_it(shell):
    weights = shell.folder / "my model, the best; one.pth"
    shutil.copy(ROOT / "models" / "seed" / "ddqn_v2.pth", weights)
    key = shell.printed("register_model", str(weights), "3.0.0", "DDQN", "it's a; model", '{"seed": 9}').strip()
    model = shell.plant.get(f"/models/{key}").json()["model"]
    assert model["version"] == "3.0.0"
    assert (model["description"], model["training_params"]) == ("it's a; model", {"seed": 9})
    assert model["created_by"] == "li.wei (key: operator)"

    assert shell.answer("promote_model", "DDQN_v3.0", "validated", 'looked "good"')["model"]["status"] == "validated"
    created = shell.answer("create_experiment", "v2_vs_v3", "DDQN_v2.0", "DDQN_v3.0", "9")["experiment"]
    assert created["traffic_split"] == {"model_a": 0.91, "model_b": 0.09}
    verdict, sentence, recommendation = shell.printed("experiment_results", "v2_vs_v3").splitlines()
    assert verdict == "invalid"
    assert sentence.startswith("No verdict on B yet")
    assert recommendation
    assert shell.answer("experiment_results", "v2_vs_v3", "json")["results"]["experiment_name"] == "v2_vs_v3"


def test_a_script_saves_reports(shell):
    shell.plant.run(params=HOURS, experiment="ddqn_v1_vs_v2", user_id="user_1")
    shell.printed("make_report", "a.html", "ddqn_v1_vs_v2", REPORT_LANG="en")
    shell.printed("make_report", "b.pdf")
    assert "</html>" in (page := (shell.folder / "a.html").read_text())
    assert "ddqn_v1_vs_v2" in page
    assert (shell.folder / "b.pdf").read_bytes().startswith(b"%PDF-")


def test_a_script_shows_alerts(shell):
    shell.plant.run(params=HOURS)  # longer than the hour that is allowed here
    alerts = [line.split("\t") for line in shell.printed("show_alerts").splitlines()]
    assert ["max_makespan", "平均总工期高于阈值"] in [alert[2:] for alert in alerts]
    assert {alert[0] for alert in alerts} <= {"warning", "critical"}
    assert shell.answer("show_alerts", "json")["runs"] > 0


def test_a_script_shows_why_the_service_refused(shell):
    result = shell.run("run_schedule", "", "", "1", "2", "3", who="planner")
    assert (result.returncode, result.stdout) == (1, "")
    assert result.stderr == "422: params: must have 15 numbers, one for each step of the standard cycle, not 3\n"
    result = shell.run("save_gantt", "a.png", "nonsense", who="planner")
    assert (result.returncode, result.stderr[:5]) == (1, "422: ")
    assert list(shell.folder.iterdir()) == []
    result = shell.run("promote_model", "DDQN_v2.0", "retired", who="planner")
    assert result.returncode == 1
    assert re.fullmatch("403: .*lacks the scope admin.*\n", result.stderr)
    result = shell.run("show_alerts", SCHEDULER_URL="http://127.0.0.1:1")
    assert result.returncode == 1
    assert "127.0.0.1 port 1" in result.stderr


@pytest.mark.parametrize("script", scripts(), ids=lambda path: path.stem)
def test_every_script_describes_its_usage(script):
    result = ended([script, "-h"])
    assert result.returncode == 0
    assert re.search(rf"^  {script.name}( |$)", result.stdout, re.MULTILINE)
    assert "Scope of the key: " in result.stdout


def test_a_script_without_arguments_describes_its_usage(shell):
    for arguments in ((), ("an_experiment_is_html.pdf", "ddqn_v1_vs_v2")):
        result = shell.run("make_report", *arguments)
        assert (result.returncode, result.stdout) == (2, "")
        assert "make_report.sh FILE.html|FILE.pdf" in result.stderr
        assert list(shell.folder.iterdir()) == []


def test_scripts_retry_when_the_service_is_busy(shell):
    script = EXAMPLES / "curl" / "run_schedule.sh"
    environment = {"PATH": os.environ["PATH"], "SCHEDULER_URL": shell.plant.url, "SCHEDULER_KEY": "crowd"}
    before = used_up(shell.plant, "crowd")
    result = ended(["bash", "-c", f"seq 5 | xargs -P 5 -I N {script} user_N >/dev/null"], env=environment)
    assert (result.returncode, result.stderr) == (0, "")
    assert refusals(shell.plant) > before


def test_every_script_is_run_by_a_test():
    tests = Path(__file__).read_text("utf-8")
    run = set(re.findall(r'shell\.(?:run|printed|answer)\("(\w+)"', tests))
    assert run == {script.stem for script in scripts()}

"""The client with requests, and the cells of the notebook-style script."""

import importlib.util
import os
import re
import sys
from pathlib import Path
from types import ModuleType

import pytest

from tests import preloaded
from tests.conftest import ROOT
from tests.examples.field import (
    BURST,
    BUSY_FOR_NO_TIME,
    EXAMPLES,
    HOURS,
    LOGIN_PAGE,
    OPTIMUM_H,
    ended,
    experiment,
    recorded,
    refusals,
    stand_in,
    used_up,
)


def module(path: Path) -> ModuleType:
    spec = importlib.util.spec_from_file_location(f"example_{path.stem}", path)
    assert spec is not None
    assert spec.loader is not None
    loaded = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(loaded)
    return loaded


@pytest.fixture(scope="module")
def python() -> ModuleType:
    return module(EXAMPLES / "python" / "client.py")


def test_the_python_client_performs_each_of_its_tasks(plant, python, tmp_path):
    client = python.SchedulerClient(plant.url, key="python")
    answer = client.run(HOURS, experiment="ddqn_v1_vs_v2", user_id="user_12345")
    assert answer["result"]["makespan"] == pytest.approx(OPTIMUM_H, abs=0.01)
    client.give_feedback(answer["request_id"], 2, "too long")
    assert recorded(plant, answer["request_id"])["user_satisfaction"] == 2
    assert client.run(workpoints=[{"id": "pump"}], model="DDQN_v1.0")["experiment_info"]["reason"] == "pinned"

    key = client.register(
        ROOT / "models" / "seed" / "ddqn_v1.pth", version="4.0.0", training_params={"seed": 4}, tags=["mine"]
    )
    assert [model["model_key"] for model in client.models(tag="mine")] == [key]
    assert client.promote(key, "retired", "an example")["model"]["status"] == "retired"
    client.create_experiment("v2_vs_v4", "DDQN_v2.0", key, traffic_split={"model_a": 0.7, "model_b": 0.3})
    assert client.results("v2_vs_v4")["traffic_split"] == {"model_a": 0.7, "model_b": 0.3}
    assert client.performance(experiment="ddqn_v1_vs_v2")["total_requests"] >= 1
    assert "max_makespan" in {alert["name"] for alert in client.alerts()}
    assert client.save_report(tmp_path / "a.html", "v2_vs_v4", lang="en").read_text().count("</html>") == 1
    assert client.save_report(tmp_path / "b.html", days=1).read_text().count("</html>") == 1


def test_the_python_client_shows_why_the_service_refused(plant, python):
    client = python.SchedulerClient(plant.url, key="python")
    with pytest.raises(python.SchedulerError, match=r"params\.2: must be greater than 0") as refused:
        client.run([*HOURS[:2], -1, *HOURS[3:]])
    assert refused.value.status == 422
    assert [mistake["loc"] for mistake in refused.value.errors] == [["params", 2]]
    with pytest.raises(python.SchedulerError, match="no model") as refused:
        client.promote("DDQN v9", "validated")
    assert refused.value.status == 404
    with pytest.raises(python.SchedulerError, match=r"no answer from http://127\.0\.0\.1:1") as refused:
        python.SchedulerClient("http://127.0.0.1:1").models()
    assert refused.value.status is None


def test_the_python_client_retries_when_the_service_is_busy(plant, python):
    client = python.SchedulerClient(plant.url, key="crowd")
    before = used_up(plant, "crowd")
    answers = [client.run(HOURS, time_budget_ms=0) for _ in range(4)]
    assert len({answer["request_id"] for answer in answers}) == 4
    assert refusals(plant) > before
    hasty = python.SchedulerClient(plant.url, key="crowd", max_wait_s=0)
    used_up(plant, "crowd")
    with pytest.raises(python.SchedulerError, match="more requests than SCHED_RATE_LIMIT allows") as refused:
        _ = [hasty.run(HOURS, time_budget_ms=0) for _ in range(BURST)]
    assert refused.value.status == 429


def test_the_python_client_gives_up_if_retries_are_requested_immediately(python):
    with stand_in(*3 * [BUSY_FOR_NO_TIME], LOGIN_PAGE) as url, pytest.raises(python.SchedulerError) as refused:
        python.SchedulerClient(url, max_wait_s=0.5).run(HOURS)
    assert refused.value.status == 503


def test_the_python_client_reports_a_page_in_place_of_an_answer(python):
    with stand_in(LOGIN_PAGE) as url, pytest.raises(python.SchedulerError, match="text/html"):
        python.SchedulerClient(url).run(HOURS)


def test_the_python_demonstration_runs(plant):
    environment = os.environ | {"SCHEDULER_URL": plant.url, "SCHEDULER_KEY": "planner"}
    result = ended([preloaded.python(), EXAMPLES / "python" / "client.py"], env=environment)
    assert result.returncode == 0, result.stderr
    assert f"makespan {OPTIMUM_H} h" in result.stdout
    assert "refused with 422: params: must have 15 numbers" in result.stdout


def test_the_cells_draw_recorded_runs_and_make_both_reports(plant, tmp_path):
    experiment(plant, "looked_at")
    for user in range(12):
        hours = [*HOURS[:5], 4 + user % 11, *HOURS[6:]]
        plant.run(params=hours, experiment="looked_at", user_id=f"user_{user}", time_budget_ms=0)
    environment = os.environ | {"SCHED_HOME": str(plant.home), "FIGURES_DIR": str(tmp_path), "EXPERIMENT": "looked_at"}
    result = ended([sys.executable, "-W", "error::FutureWarning", EXAMPLES / "python" / "analysis.py"], env=environment)
    assert result.returncode == 0, result.stderr
    assert "12 runs, 0.0% of them failed" in result.stdout
    drawn = {path.name: path.stat().st_size for path in tmp_path.iterdir()}
    assert set(drawn) == {"gaps_by_size.png", "makespan_over_time.png", "execution_times.png", "experiment.png"}
    assert min(drawn.values()) > 5_000
    reports = re.findall(r"报告(?:生成)?: (\S+\.html)", result.stdout)
    assert ["ab_test_looked_at" in report for report in reports] == [True, False]
    assert all(Path(report).is_file() for report in reports)


def test_the_cells_report_that_nothing_is_recorded(tmp_path):
    environment = os.environ | {"SCHED_HOME": str(tmp_path), "FIGURES_DIR": str(tmp_path / "figures")}
    result = ended([preloaded.python(), EXAMPLES / "python" / "analysis.py"], env=environment)
    assert result.returncode == 0, result.stderr
    assert "no runs" in result.stdout
    assert list((tmp_path / "figures").iterdir()) == []

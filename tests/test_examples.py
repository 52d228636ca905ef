"""`examples/`, run as a team of the field would run them: real client libraries, a service with API keys and a limit.

A test whose tools are absent is skipped and says which; in CI as root they are fetched, so that there it fails.
"""

import hashlib
import importlib.util
import json
import os
import re
import shutil
import sqlite3
import subprocess
import sys
import threading
import time
from collections.abc import Iterator
from contextlib import closing, contextmanager
from dataclasses import dataclass
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from types import ModuleType
from typing import Any

import pytest

from tests.conftest import ROOT, LiveService, live_service

EXAMPLES = ROOT / "examples"
HOURS = [10, 5, 8, 6, 7, 9, 6, 7, 6, 7, 7, 7, 4, 7, 5]
OPTIMUM_H = 52.87
KEYS = {
    "vue": "run",
    "spring": "run",
    "python": "admin",
    "operator": "admin",
    "planner": "run",
    "crowd": "run",
}
"""Name of a key (and the key itself) -> its scope. Each has a limit of its own."""
BURST, PER_MINUTE = 20, 120
"""What the service lets through at once, and later."""


@pytest.fixture(scope="module")
def plant(tmp_path_factory: pytest.TempPathFactory) -> Iterator[LiveService]:
    """A service whose keys may ask twice a second; the tests themselves come without one, unlimited."""
    entries = [f"{name}:{scope}:{hashlib.sha256(name.encode()).hexdigest()}" for name, scope in KEYS.items()]
    environment = {
        "SCHED_API_KEYS": ",".join(entries),
        "SCHED_RATE_LIMIT": str(PER_MINUTE),
        "SCHED_ALERT_THRESHOLDS": '{"max_makespan": 1}',
    }
    with live_service(tmp_path_factory.mktemp("plant"), environment=environment) as running:
        experiment(running, "ddqn_v1_vs_v2")
        yield running


def experiment(plant: LiveService, name: str) -> None:
    made = plant.post("/experiments", json={"experiment_name": name, "model_a": "DDQN_v1.0", "model_b": "DDQN_v2.0"})
    assert made.status_code == 201, made.text


def recorded(plant: LiveService, request_id: str) -> dict[str, Any]:
    """The row of a run, with the verdict on it."""
    with closing(sqlite3.connect(plant.home / "logs" / "performance.db")) as database:
        database.row_factory = sqlite3.Row
        row = database.execute(
            "SELECT * FROM runs LEFT JOIN feedback USING (request_id) WHERE request_id = ?", (request_id,)
        ).fetchone()
    return dict(row)


def refusals(plant: LiveService) -> int:
    """How many runs were refused for coming too fast, until now."""
    lines = re.findall(r'^http_requests_total\{.*status="429".*\} (\S+)$', plant.get("/metrics").text, re.MULTILINE)
    return sum(int(float(line)) for line in lines)


def used_up(plant: LiveService, key: str) -> int:
    """Ask with this key until the service says "not now"; how many runs were refused until now."""
    body, headers = {"params": HOURS, "time_budget_ms": 0}, {"X-API-Key": key}
    asked = (plant.post("/run_algorithm", json=body, headers=headers).status_code for _ in range(10 * BURST))
    assert 429 in asked
    return refusals(plant)


@contextmanager
def stand_in(*answers: tuple[int, dict[str, str], str]) -> Iterator[str]:
    """The address of something that is not the service: gives each answer once, and the last one from then on."""
    waiting = list(answers)

    class Handler(BaseHTTPRequestHandler):
        def do_POST(self) -> None:
            self.rfile.read(int(self.headers["Content-Length"]))
            status, headers, body = waiting.pop(0) if len(waiting) > 1 else waiting[0]
            content = body.encode()
            self.send_response(status)
            for name, value in ({"Content-Length": str(len(content))} | headers).items():
                self.send_header(name, value)
            self.end_headers()
            self.wfile.write(content)

        def log_message(self, *_: object) -> None:
            pass

    with ThreadingHTTPServer(("127.0.0.1", 0), Handler) as server:
        threading.Thread(target=server.serve_forever, daemon=True).start()
        try:
            yield f"http://127.0.0.1:{server.server_port}"
        finally:
            server.shutdown()


BUSY_FOR_NO_TIME = (503, {"Retry-After": "0"}, "")
LOGIN_PAGE = (200, {"Content-Type": "text/html"}, "<html>Please log in</html>")


def absent(what: str, *can_be_had: str) -> None:
    """Skip the test, for want of `what`; in CI as root fail instead, if the command says that it could be fetched."""
    if os.environ.get("CI") == "true" and os.geteuid() == 0:
        tried = subprocess.run(can_be_had, capture_output=True, timeout=120, check=False)
        assert tried.returncode != 0, f"in CI {what} must be there: make setup-dev"
    pytest.skip(f"{what} is absent: make setup-dev")


def ended(command: list[str | Path], *, timeout_s: float = 120, **more: Any) -> subprocess.CompletedProcess[str]:
    return subprocess.run(command, capture_output=True, text=True, timeout=timeout_s, check=False, **more)


def blocks(document: Path, language: str) -> list[str]:
    return re.findall(rf"^```{language}\n(.*?)^```$", document.read_text("utf-8"), re.MULTILINE | re.DOTALL)


def guide(language: str, of: str) -> str:
    """The block of the user's guide that contains `of`."""
    (found,) = (block for block in blocks(ROOT / "docs" / "GUIDE.zh.md", language) if of in block)
    return found


# --- curl ---


@dataclass(frozen=True)
class Shell:
    """The scripts of examples/curl, called with the key of `who`."""

    plant: LiveService
    folder: Path

    def run(self, name: str, *arguments: str, who: str = "operator", **more: str) -> subprocess.CompletedProcess[str]:
        environment = {"SCHEDULER_URL": self.plant.url, "SCHEDULER_KEY": who, "USER": "li.wei", **more}
        return ended(
            [EXAMPLES / "curl" / f"{name}.sh", *arguments],
            cwd=self.folder,
            env={"PATH": os.environ["PATH"]} | environment,
        )

    def printed(self, name: str, *arguments: str, **more: str) -> str:
        told = self.run(name, *arguments, **more)
        assert told.returncode == 0, f"{name}: {told.stderr}"
        return told.stdout

    def answer(self, name: str, *arguments: str, **more: str) -> Any:
        return json.loads(self.printed(name, *arguments, **more))


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
    told = shell.answer("run_schedule", '李 "the planner"', "ddqn_v1_vs_v2", *hours, who="planner")
    assert told["experiment_info"]["user_id"] == '李 "the planner"'
    assert told["experiment_info"]["reason"] == "assigned"
    assert told["result"]["makespan"] != pytest.approx(OPTIMUM_H, abs=0.01)


def test_a_script_runs_work_points(shell):
    told = shell.answer("run_work_points", who="planner")["result"]
    assert {step["workpoint_name"] for step in told["schedule_details"]} == {"锅炉", "容器", "管道"}
    mine = shell.folder / "mine.json"
    mine.write_text(json.dumps({"workpoints": [{"id": "pump"}], "time_budget_ms": 0}))
    told = shell.answer("run_work_points", str(mine), who="planner")["result"]
    assert {step["workpoint_id"] for step in told["schedule_details"]} == {"pump"}


def test_a_script_saves_gantt_charts(shell):
    said = shell.printed("save_gantt", "a.png", who="planner")
    assert re.fullmatch(r"a\.png: makespan \d+\.\d+ h, no schedule is shorter than \d+\.\d+ h\n", said)
    shell.printed("save_gantt", "b.svg", "process", who="planner")
    assert (shell.folder / "a.png").read_bytes().startswith(b"\x89PNG\r\n")
    assert "</svg>" in (shell.folder / "b.svg").read_text()
    assert sorted(path.name for path in shell.folder.iterdir()) == ["a.png", "b.svg"]


def test_a_script_gives_feedback(shell):
    request_id = shell.answer("run_schedule", who="planner")["request_id"]
    shell.printed("give_feedback", request_id, "4", 'says "good";\nso far', who="planner")
    row = recorded(shell.plant, request_id)
    assert (row["user_satisfaction"], row["comment"]) == (4, 'says "good";\nso far')


def test_scripts_bring_a_model_from_its_file_to_its_users_and_compare_it(shell):
    weights = shell.folder / "my model, the best; one.pth"
    shutil.copy(ROOT / "models" / "seed" / "ddqn_v2.pth", weights)
    key = shell.printed("register_model", str(weights), "3.0.0", "DDQN", "it's a; model", '{"seed": 9}').strip()
    model = shell.plant.get(f"/models/{key}").json()["model"]
    assert model["version"] == "3.0.0"
    assert (model["description"], model["training_params"]) == ("it's a; model", {"seed": 9})
    assert model["created_by"] == "li.wei (key: operator)"

    assert shell.answer("promote_model", "DDQN_v3.0", "validated", 'looked "good"')["model"]["status"] == "validated"
    made = shell.answer("create_experiment", "v2_vs_v3", "DDQN_v2.0", "DDQN_v3.0", "9")["experiment"]
    assert made["traffic_split"] == {"model_a": 0.91, "model_b": 0.09}
    verdict, sentence, recommendation = shell.printed("experiment_results", "v2_vs_v3").splitlines()
    assert verdict == "invalid"
    assert sentence.startswith("No verdict on model_b yet")
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
    assert ["max_makespan", "平均完工时间超过阈值"] in [alert[2:] for alert in alerts]
    assert {alert[0] for alert in alerts} <= {"warning", "critical"}
    assert shell.answer("show_alerts", "json")["runs"] > 0


def test_a_script_tells_what_the_service_refused(shell):
    told = shell.run("run_schedule", "", "", "1", "2", "3", who="planner")
    assert (told.returncode, told.stdout) == (1, "")
    assert told.stderr == "422: params has 3 numbers; the standard cycle has 15 steps\n"
    told = shell.run("save_gantt", "a.png", "nonsense", who="planner")
    assert (told.returncode, told.stderr[:5]) == (1, "422: ")
    assert list(shell.folder.iterdir()) == []
    told = shell.run("promote_model", "DDQN_v2.0", "retired", who="planner")
    assert told.returncode == 1
    assert re.fullmatch("403: .*lacks the scope admin.*\n", told.stderr)
    told = shell.run("show_alerts", SCHEDULER_URL="http://127.0.0.1:1")
    assert told.returncode == 1
    assert "127.0.0.1 port 1" in told.stderr


@pytest.mark.parametrize("script", scripts(), ids=lambda path: path.stem)
def test_every_script_says_how_it_is_used(script):
    told = ended([script, "-h"])
    assert told.returncode == 0
    assert re.search(rf"^  {script.name}( |$)", told.stdout, re.MULTILINE)
    assert "Scope of the key: " in told.stdout


def test_a_script_without_its_arguments_says_how_it_is_used(shell):
    for arguments in ((), ("an_experiment_is_html.pdf", "ddqn_v1_vs_v2")):
        told = shell.run("make_report", *arguments)
        assert (told.returncode, told.stdout) == (2, "")
        assert "make_report.sh FILE.html|FILE.pdf" in told.stderr
        assert list(shell.folder.iterdir()) == []


def test_scripts_come_back_when_a_busy_service_says_so(shell):
    script = EXAMPLES / "curl" / "run_schedule.sh"
    environment = {"PATH": os.environ["PATH"], "SCHEDULER_URL": shell.plant.url, "SCHEDULER_KEY": "crowd"}
    before = used_up(shell.plant, "crowd")
    told = ended(["bash", "-c", f"seq 5 | xargs -P 5 -I N {script} user_N >/dev/null"], env=environment)
    assert (told.returncode, told.stderr) == (0, "")
    assert refusals(shell.plant) > before


def test_every_script_is_run_by_a_test():
    tests = Path(__file__).read_text("utf-8")
    run = set(re.findall(r'shell\.(?:run|printed|answer)\("(\w+)"', tests))
    assert run == {script.stem for script in scripts()}


# --- Python ---


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


def test_the_python_client_does_each_of_its_tasks(plant, python, tmp_path):
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


def test_the_python_client_tells_what_the_service_refused(plant, python):
    client = python.SchedulerClient(plant.url, key="python")
    with pytest.raises(python.SchedulerError, match=r"-1\.0 h of step 3") as refused:
        client.run([*HOURS[:2], -1, *HOURS[3:]])
    assert refused.value.status == 422
    assert [mistake["loc"] for mistake in refused.value.errors] == [["params", 2]]
    with pytest.raises(python.SchedulerError, match="no model") as refused:
        client.promote("DDQN v9", "validated")
    assert refused.value.status == 404
    with pytest.raises(python.SchedulerError, match=r"no answer from http://127\.0\.0\.1:1") as refused:
        python.SchedulerClient("http://127.0.0.1:1").models()
    assert refused.value.status is None


def test_the_python_client_comes_back_when_a_busy_service_says_so(plant, python):
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


def test_the_python_client_gives_up_on_whoever_says_come_back_at_once(python):
    with stand_in(*3 * [BUSY_FOR_NO_TIME], LOGIN_PAGE) as url, pytest.raises(python.SchedulerError) as refused:
        python.SchedulerClient(url, max_wait_s=0.5).run(HOURS)
    assert refused.value.status == 503


def test_the_python_client_tells_of_a_page_in_the_place_of_an_answer(python):
    with stand_in(LOGIN_PAGE) as url, pytest.raises(python.SchedulerError, match="text/html"):
        python.SchedulerClient(url).run(HOURS)


def test_the_python_demonstration_runs(plant):
    environment = os.environ | {"SCHEDULER_URL": plant.url, "SCHEDULER_KEY": "planner"}
    told = ended([sys.executable, EXAMPLES / "python" / "client.py"], env=environment)
    assert told.returncode == 0, told.stderr
    assert f"makespan {OPTIMUM_H} h" in told.stdout
    assert "refused with 422: params has 3 numbers" in told.stdout


def test_the_cells_draw_recorded_runs_and_make_both_reports(plant, tmp_path):
    experiment(plant, "looked_at")
    for user in range(12):
        hours = [*HOURS[:5], 4 + user % 11, *HOURS[6:]]
        plant.run(params=hours, experiment="looked_at", user_id=f"user_{user}", time_budget_ms=0)
    environment = os.environ | {"SCHED_HOME": str(plant.home), "FIGURES_DIR": str(tmp_path), "EXPERIMENT": "looked_at"}
    told = ended([sys.executable, "-W", "error::FutureWarning", EXAMPLES / "python" / "analysis.py"], env=environment)
    assert told.returncode == 0, told.stderr
    assert "12 runs, 0.0% of them failed" in told.stdout
    drawn = {path.name: path.stat().st_size for path in tmp_path.iterdir()}
    assert set(drawn) == {"gaps_by_size.png", "makespan_over_time.png", "execution_times.png", "experiment.png"}
    assert min(drawn.values()) > 5_000
    reports = re.findall(r"报告(?:生成)?: (\S+\.html)", told.stdout)
    assert ["ab_test_looked_at" in report for report in reports] == [True, False]
    assert all(Path(report).is_file() for report in reports)


def test_the_cells_say_so_when_nothing_is_recorded(tmp_path):
    environment = os.environ | {"SCHED_HOME": str(tmp_path), "FIGURES_DIR": str(tmp_path / "figures")}
    told = ended([sys.executable, EXAMPLES / "python" / "analysis.py"], env=environment)
    assert told.returncode == 0, told.stderr
    assert "no runs" in told.stdout
    assert list((tmp_path / "figures").iterdir()) == []


# --- Spring Boot ---

SPRING = EXAMPLES / "springboot"
JARS = tuple(
    Path("/usr/share/java") / f"{name}.jar"
    for name in (
        *(
            f"spring3-{part}"
            for part in ("core", "beans", "context", "aop", "expression", "web", "web.servlet", "test")
        ),
        *(f"jackson-{part}" for part in ("core", "annotations", "databind")),
        *("commons-logging", "servlet-api"),
    )
)
NEEDS_BOOT = "Application.java"
"""The one class that is not compiled here: Debian has Spring, not Spring Boot."""


GUIDE_IMPORTS = (
    "com.example.shutdown.AlgorithmResult",
    "java.util.List",
    "java.util.Map",
    "org.springframework.beans.factory.annotation.Value",
    "org.springframework.context.annotation.AnnotationConfigApplicationContext",
    "org.springframework.http.ResponseEntity",
    "org.springframework.stereotype.Service",
    "org.springframework.web.client.RestTemplate",
)
GUIDE_CALLER = """
    class Caller {
        public static void main(String[] arguments) {
            var spring = new AnnotationConfigApplicationContext(ModelVersionService.class);
            List<Double> params = List.of(10., 5., 8., 6., 7., 9., 6., 7., 6., 7., 7., 7., 4., 7., 5.);
            AlgorithmResult answer = spring.getBean(ModelVersionService.class)
                    .runAlgorithmWithAB(params, "ddqn_v1_vs_v2", "user_12345");
            System.out.println(answer.result().makespan() + " " + answer.experimentInfo().reason());
        }
    }"""
"""Calls the service class of the guide, which is compiled as it is written there."""


@dataclass(frozen=True)
class Java:
    """The compiled example."""

    classes: Path

    def command(self, main: str, *arguments: str, url: str, key: str, max_wait_seconds: int = 5) -> list[str]:
        path = ":".join(str(each) for each in (self.classes, *JARS))
        properties = {"url": url, "key": key, "max-wait-seconds": max_wait_seconds}
        said = [f"-Dmodel.service.{name}={value}" for name, value in properties.items()]
        quick = ["-XX:TieredStopAtLevel=1", "-XX:+UseSerialGC", "-Dfile.encoding=UTF-8"]
        return ["java", *quick, *said, "-cp", path, f"com.example.{main}", *arguments]

    def run(self, *arguments: str, url: str, key: str, stdin: str = "") -> subprocess.CompletedProcess[str]:
        return ended(self.command(*arguments, url=url, key=key), input=stdin)


@pytest.fixture(scope="module")
def java(tmp_path_factory: pytest.TempPathFactory) -> Java:
    for jar in JARS:
        if not jar.exists():
            absent(f"{jar.name} of Debian's libspring-*-java and libjackson2-databind-java", "apt-get", "update")
    if shutil.which("javac") is None:
        absent("javac (default-jdk-headless)", "apt-get", "update")
    classes = tmp_path_factory.mktemp("classes")
    of_guide = classes / "ModelVersionService.java"
    head = "".join(f"import {name};\n" for name in GUIDE_IMPORTS)
    of_guide.write_text(
        f"package com.example.guide;\n{head}{guide('java', 'RestTemplate')}{GUIDE_CALLER}", encoding="utf-8"
    )
    sources = [of_guide, *(path for path in SPRING.rglob("*.java") if path.name != NEEDS_BOOT)]
    lint = ["-Xlint:all,-path,-classfile", "-Werror"]
    options = ["--release", "17", "-parameters", "-encoding", "UTF-8", *lint, "-d", str(classes)]
    told = ended(["javac", *options, "-cp", ":".join(map(str, JARS)), *sources])
    assert told.returncode == 0, told.stderr
    return Java(classes)


def test_the_spring_service_schedules_rates_and_tells_what_was_refused(plant, java):
    told = java.run("shutdown.Demo", "ddqn_v1_vs_v2", url=plant.url, key="spring")
    assert told.returncode == 0, told.stdout + told.stderr
    lines = told.stdout.splitlines()
    assert lines[0] == f"makespan {OPTIMUM_H} h, gap 0.000"
    assert "reason assigned" in lines
    assert sum(bool(re.match(r" +\d+\.\d\d - ", line)) for line in lines) == 15
    request_id = told.stdout.partition("feedback for ")[2].split()[0]
    row = recorded(plant, request_id)
    assert (row["user_id"], row["user_satisfaction"], row["comment"]) == ("user_12345", 5, "as planned")
    assert f"model {row['model_key']}, {row['variant']}" in lines
    assert "mistake 422: params has 3 numbers; the standard cycle has 15 steps" in lines
    assert "at [params]" in lines
    assert "mistake 404: no run with the request id 'no-such-run' is recorded" in lines


def test_the_spring_service_of_the_guide_fits_the_result_classes_as_it_is_written(plant, java):
    told = java.run("guide.Caller", url=plant.url, key="")
    makespan, reason = told.stdout.split()
    assert (float(makespan), reason) == (pytest.approx(OPTIMUM_H, abs=0.01), "assigned")


def test_the_spring_controller_answers_the_front_end_as_the_service_does(plant, java):
    request = {"params": HOURS, "experiment": "ddqn_v1_vs_v2", "user_id": 7}
    rating = {"request_id": plant.run(**request)["request_id"], "user_satisfaction": 5}
    asked = [
        f"/api/algorithm/run {json.dumps(request)}",
        f"/api/algorithm/run {json.dumps({'params': [*HOURS[:2], -1, *HOURS[3:]]})}",
        f"/feedback {json.dumps({'request_id': 'no-such-run', 'user_satisfaction': 5})}",
        f"/feedback {json.dumps(rating)}",
    ]
    told = java.run("shutdown.FrontEnd", url=plant.url, key="planner", stdin="\n".join(asked))
    assert told.returncode == 0, told.stderr
    (ran, negative, unknown, rated) = (line.split("\t") for line in told.stdout.splitlines())

    status, kind, _, body = ran
    assert (status, kind) == ("200", "application/json;charset=UTF-8")
    through, direct = json.loads(body), plant.run(**request)
    through["result"]["ganttCharts"] = None
    assert paths(direct) - paths(through) == set(), "AlgorithmResult lacks these"
    assert through["result"]["schedule_details"] == direct["result"]["schedule_details"]
    assert through["experiment_info"] == direct["experiment_info"]
    assert recorded(plant, through["request_id"])["user_id"] == "7"

    status, kind, _, body = negative
    assert (status, kind) == ("422", "application/problem+json")
    assert json.loads(body)["errors"][0]["loc"] == ["params", 2]
    assert (unknown[0], json.loads(unknown[3])["detail"]) == (
        "404",
        "no run with the request id 'no-such-run' is recorded",
    )
    assert json.loads(rated[3]) == plant.post("/feedback", json=rating).json()


def test_the_spring_example_passes_over_fields_that_a_later_service_adds(plant, java):
    by_name = {"team_utilization", "team_headcount", "gantt_charts"}  # whose names are teams and views

    def grown(value: Any) -> Any:
        if isinstance(value, dict):
            inner = {name: each if name in by_name else grown(each) for name, each in value.items()}
            return inner | {"of_a_later_version": [{"deep": 1}]}
        return [grown(inner) for inner in value] if isinstance(value, list) else value

    kind = {"Content-Type": "application/json"}
    answer = plant.run(params=HOURS)
    refusal = grown(plant.post("/run_algorithm", json={"params": [1]}).json())
    problem = {"Content-Type": "application/problem+json"}
    asked = f"/api/algorithm/run {json.dumps({'params': HOURS})}"
    with stand_in((200, kind, json.dumps(grown(answer))), (422, problem, json.dumps(refusal))) as url:
        told = java.run("shutdown.FrontEnd", url=url, key="", stdin=f"{asked}\n{asked}")
    ran, refused = (line.split("\t") for line in told.stdout.splitlines())
    assert (ran[0], json.loads(ran[3])["result"]["makespan"]) == ("200", answer["result"]["makespan"])
    assert (refused[0], json.loads(refused[3])["detail"]) == ("422", refusal["detail"])


def paths(value: Any, at: str = "") -> set[str]:
    """The names of an answer, those of objects inside of it too."""
    if isinstance(value, dict):
        return {f"{at}.{name}" for name in value} | {
            deeper for name, inner in value.items() for deeper in paths(inner, f"{at}.{name}")
        }
    if isinstance(value, list):
        return {deeper for inner in value for deeper in paths(inner, f"{at}[]")}
    return set()


@pytest.mark.parametrize(("patience_s", "statuses"), [(5, {"200"}), (0, {"200", "429"})])
def test_the_spring_service_waits_for_a_busy_one_as_long_as_it_may(plant, java, patience_s, statuses):
    asked = f"/api/algorithm/run {json.dumps({'params': HOURS})}\n"
    command = java.command("shutdown.FrontEnd", url=plant.url, key="spring", max_wait_seconds=patience_s)
    pipe = subprocess.PIPE
    with subprocess.Popen(command, stdin=pipe, stdout=pipe, stderr=subprocess.DEVNULL, text=True) as process:
        assert process.stdin is not None
        assert process.stdout is not None
        process.stdin.write(asked)
        process.stdin.flush()
        assert process.stdout.readline().startswith("200")  # it has started, so that no time passes after the next line
        before = used_up(plant, "spring")
        answers = [line.split("\t") for line in process.communicate(4 * asked, timeout=60)[0].splitlines()]
    assert refusals(plant) > before
    assert len(answers) == 4
    assert {status for status, *_ in answers} <= statuses
    refused = {(kind, retry_after) for status, kind, retry_after, _ in answers if status == "429"}
    assert refused == ({("application/problem+json", "1")} if patience_s == 0 else set())


def test_the_spring_controller_keeps_trouble_with_its_own_key_to_itself(plant, java):
    asked = f"/api/algorithm/run {json.dumps({'params': HOURS})}"
    for url, key, detail in (
        (plant.url, "nobody-made-this", "the scheduling service refused us"),
        ("http://127.0.0.1:1", "planner", "the scheduling service cannot be reached"),
    ):
        status, kind, _, body = java.run("shutdown.FrontEnd", url=url, key=key, stdin=asked).stdout.strip().split("\t")
        assert (status, kind, json.loads(body)["detail"]) == ("502", "application/problem+json", detail)


@pytest.mark.parametrize("content_type", ["text/html", "application/json"])
def test_the_spring_controller_tells_of_a_page_in_the_place_of_an_answer(java, content_type):
    asked = f"/api/algorithm/run {json.dumps({'params': HOURS})}"
    with stand_in((200, {"Content-Type": content_type}, "<html>Please log in</html>")) as url:
        told = java.run("shutdown.FrontEnd", url=url, key="", stdin=asked)
    status, kind, _, body = told.stdout.strip().split("\t")
    assert (status, kind) == ("502", "application/problem+json")
    assert json.loads(body)["detail"] == "the answer is none of the scheduling service"


def test_application_yml_says_every_property_that_the_classes_ask_for():
    sources = "".join(path.read_text() for path in SPRING.rglob("main/java/**/*.java"))
    asked = {name.rpartition(".")[2] for name in re.findall(r"\$\{(model\.service\.[\w-]+)", sources)}
    said = re.findall(r"^    ([\w-]+):", (SPRING / "src/main/resources/application.yml").read_text(), re.MULTILINE)
    assert asked == set(said)
    assert len(asked) == 5


# --- Vue ---

VUE = EXAMPLES / "vue"


@pytest.fixture(scope="module")
def node_modules() -> Path:
    if shutil.which("npm") is None:
        absent("npm", "false")
    if not (VUE / "node_modules" / ".stamp").exists():
        absent("examples/vue/node_modules", "npm", "ping")
    return VUE / "node_modules"


def vue(script: str, *arguments: str, **environment: str) -> subprocess.CompletedProcess[str]:
    return ended(["npm", "run", "--silent", script, "--", *arguments], cwd=VUE, env=os.environ | environment)


def test_the_vue_component_runs_rates_and_tells_what_was_refused(plant, node_modules):
    before = refusals(plant)
    environment = {"SCHEDULER_URL": plant.url, "SCHEDULER_KEY": "vue", "EXPERIMENT": "ddqn_v1_vs_v2"}
    told = vue("test", SCHEDULER_BURST=str(BURST), NO_COLOR="1", **environment)
    assert told.returncode == 0, told.stdout + told.stderr
    assert re.search(r"Tests +10 passed \(10\)", told.stdout)
    row = recorded(plant, told.stdout.partition("rated ")[2].split()[0])
    assert (row["user_id"], row["user_satisfaction"], row["experiment"]) == ("7", 4, "ddqn_v1_vs_v2")
    assert refusals(plant) > before


def test_the_vue_component_of_the_guide_works_with_the_real_axios(plant, node_modules):
    component = guide("javascript", "axios.post").replace("export default", "const component =")
    program = f"""
        import axios from 'axios'
        axios.defaults.baseURL = {json.dumps(plant.url)}
        {component}
        const it = {{ inputParams: {HOURS}, $store: {{ state: {{ user: {{ id: 7 }} }} }} }}
        await component.methods.runAlgorithm.call(it)
        console.log(JSON.stringify([it.result.makespan, it.modelInfo.user_id]))
    """
    told = ended(["node", "--input-type=module", "-e", program], cwd=VUE)
    assert told.returncode == 0, told.stderr
    assert json.loads(told.stdout) == [pytest.approx(OPTIMUM_H, abs=0.01), "7"]


@pytest.fixture(scope="module")
def built_page(plant: LiveService, node_modules: Path, tmp_path_factory: pytest.TempPathFactory) -> Iterator[str]:
    """The address of the built example, served as for development: the proxy adds the key."""
    folder = tmp_path_factory.mktemp("page")
    told = vue("build", "--outDir", str(folder))
    assert told.returncode == 0, told.stderr
    output = folder / "output.txt"
    with output.open("wb") as file:
        command = [
            str(node_modules / ".bin" / "vite"),
            "preview",
            "--outDir",
            str(folder),
            "--host",
            "127.0.0.1",
            "--port",
            "0",
        ]
        environment = os.environ | {"SCHEDULER_URL": plant.url, "SCHEDULER_KEY": "planner", "NO_COLOR": "1"}
        process = subprocess.Popen(command, cwd=VUE, env=environment, stdout=file, stderr=subprocess.STDOUT)
    try:
        deadline = time.monotonic() + 30
        while not (found := re.search(r"http://127\.0\.0\.1:\d+", output.read_text())):
            assert time.monotonic() < deadline, output.read_text()
            time.sleep(0.02)
        yield found[0]
    finally:
        process.terminate()
        process.wait(timeout=10)


def test_the_vue_page_draws_a_schedule_in_a_browser_that_never_sees_the_key(built_page, browser):
    page = browser.new_page(viewport={"width": 390, "height": 844})
    complaints: list[str] = []
    sent: list[str] = []
    page.on("console", lambda message: complaints.append(message.text))
    page.on("pageerror", lambda err: complaints.append(str(err)))
    page.on("request", lambda request: sent.append(f"{request.url} {request.all_headers()}"))
    page.goto(built_page)
    page.get_by_role("button", name="生成计划").click()
    page.get_by_role("img", name="甘特图：15 道工序，52.9 小时").wait_for()
    page.get_by_role("button", name="5 分").click()
    page.get_by_text("谢谢！").wait_for()
    assert page.evaluate("document.documentElement.scrollWidth") <= 390
    page.close()
    assert complaints == []
    assert any("/feedback" in request for request in sent)
    assert not any("authorization" in request.lower() or "planner" in request for request in sent)


# --- all ---


def documents() -> list[Path]:
    return sorted(path for path in EXAMPLES.rglob("README*.md") if "node_modules" not in path.parts)


@pytest.mark.parametrize("name", ["curl", "python"])
def test_what_a_readme_shows_runs(plant, tmp_path, name):
    folder = shutil.copytree(EXAMPLES / name, tmp_path / name)
    document = folder / "README.md"
    environment = os.environ | {"PATH": f"{Path(sys.executable).parent}:{os.environ['PATH']}"}
    for language, command in (("bash", ["bash", "-euo", "pipefail", "-c"]), ("python", [sys.executable, "-c"])):
        for block in blocks(document, language):
            script = block.replace("http://localhost:5001", plant.url).replace("pip install requests", "")
            told = ended([*command, script], cwd=folder, env=environment)
            assert told.returncode == 0, told.stderr
    assert (folder / "gantt.svg").exists() == (name == "curl")


def test_both_languages_of_a_readme_show_the_same_blocks():
    english = [path for path in documents() if path.name == "README.md"]
    assert len(english) == 5
    for document in english:
        chinese = document.with_name("README.zh-CN.md")
        for language in ("bash", "python", "text"):
            assert blocks(document, language) == blocks(chinese, language), document


def test_the_links_and_file_names_of_the_readmes_lead_somewhere():
    for document in documents():
        text = document.read_text("utf-8")
        targets = re.findall(r"\]\((?!https?://)([^)#\s]+)", text)
        files = re.findall(r"^\| `([\w./]+\.(?:js|vue|sh))[ `]", text, re.MULTILINE)
        for target in targets + files:
            assert (document.parent / target).exists(), f"{document}: {target}"


def test_every_class_and_property_of_the_spring_example_is_in_its_readme():
    for document in (path for path in documents() if path.parent == SPRING):
        text = document.read_text("utf-8")
        classes = [path.stem for path in SPRING.rglob("*.java")]
        properties = re.findall(
            r"^    ([\w-]+):", (SPRING / "src/main/resources/application.yml").read_text(), re.MULTILINE
        )
        assert [name for name in classes + properties if f"`{name}" not in text] == []


def test_versions_of_the_vue_example_are_pinned_as_the_lock_file_has_them():
    package = json.loads((VUE / "package.json").read_text())
    lock = json.loads((VUE / "package-lock.json").read_text())["packages"]
    wanted = package["dependencies"] | package["devDependencies"]
    assert {"axios", "vue", "vuex"} <= set(package["dependencies"])
    assert wanted == {name: lock[f"node_modules/{name}"]["version"] for name in wanted}

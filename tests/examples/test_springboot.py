"""The Spring Boot example and the guide's service class, compiled and run against the service."""

import json
import re
import shutil
import subprocess
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest

from tests.examples.field import HOURS, OPTIMUM_H, SPRING, absent, ended, guide, recorded, refusals, stand_in, used_up
from tests.waiting import HANG_S

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
        result = [f"-Dmodel.service.{name}={value}" for name, value in properties.items()]
        quick = ["-XX:TieredStopAtLevel=1", "-XX:+UseSerialGC", "-Dfile.encoding=UTF-8"]
        return ["java", *quick, *result, "-cp", path, f"com.example.{main}", *arguments]

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
    text = ended(["javac", *options, "-cp", ":".join(map(str, JARS)), *sources])
    assert text.returncode == 0, text.stderr
    return Java(classes)


def test_the_spring_service_schedules_sends_feedback_and_reports_refusals(plant, java):
    result = java.run("shutdown.Demo", "ddqn_v1_vs_v2", url=plant.url, key="spring")
    assert result.returncode == 0, result.stdout + result.stderr
    lines = result.stdout.splitlines()
    assert lines[0] == f"makespan {OPTIMUM_H} h, gap 0.000"
    assert "reason assigned" in lines
    assert sum(bool(re.match(r" +\d+\.\d\d - ", line)) for line in lines) == 15
    request_id = result.stdout.partition("feedback for ")[2].split()[0]
    row = recorded(plant, request_id)
    assert (row["user_id"], row["user_satisfaction"], row["comment"]) == ("user_12345", 5, "as planned")
    assert f"model {row['model_key']}, {row['variant']}" in lines
    assert "mistake 422: params: must have 15 numbers, one for each step of the standard cycle, not 3" in lines
    assert "at [params]" in lines
    assert "mistake 404: no recorded run has the request id 'no-such-run'" in lines


def test_the_spring_service_of_the_guide_compiles_with_the_result_classes(plant, java):
    result = java.run("guide.Caller", url=plant.url, key="")
    makespan, reason = result.stdout.split()
    assert (float(makespan), reason) == (pytest.approx(OPTIMUM_H, abs=0.01), "assigned")


def test_the_spring_controller_answers_like_the_service(plant, java):
    request = {"params": HOURS, "experiment": "ddqn_v1_vs_v2", "user_id": 7}
    rating = {"request_id": plant.run(**request)["request_id"], "user_satisfaction": 5}
    calls = [
        f"/api/algorithm/run {json.dumps(request)}",
        f"/api/algorithm/run {json.dumps({'params': [*HOURS[:2], -1, *HOURS[3:]]})}",
        f"/feedback {json.dumps({'request_id': 'no-such-run', 'user_satisfaction': 5})}",
        f"/feedback {json.dumps(rating)}",
    ]
    text = java.run("shutdown.FrontEnd", url=plant.url, key="planner", stdin="\n".join(calls))
    assert text.returncode == 0, text.stderr
    (ran, negative, unknown, rated) = (line.split("\t") for line in text.stdout.splitlines())

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
        "no recorded run has the request id 'no-such-run'",
    )
    assert json.loads(rated[3]) == plant.post("/feedback", json=rating).json()


def test_the_spring_example_ignores_fields_added_by_a_later_service(plant, java):
    by_name = {"team_utilization", "team_headcount", "gantt_charts"}  # maps whose keys are teams and views

    def grown(value: Any) -> Any:
        if isinstance(value, dict):
            inner = {name: each if name in by_name else grown(each) for name, each in value.items()}
            return inner | {"of_a_later_version": [{"deep": 1}]}
        return [grown(inner) for inner in value] if isinstance(value, list) else value

    kind = {"Content-Type": "application/json"}
    answer = plant.run(params=HOURS)
    refusal = grown(plant.post("/run_algorithm", json={"params": [1]}).json())
    problem = {"Content-Type": "application/problem+json"}
    request = f"/api/algorithm/run {json.dumps({'params': HOURS})}"
    with stand_in((200, kind, json.dumps(grown(answer))), (422, problem, json.dumps(refusal))) as url:
        result = java.run("shutdown.FrontEnd", url=url, key="", stdin=f"{request}\n{request}")
    ran, refused = (line.split("\t") for line in result.stdout.splitlines())
    assert (ran[0], json.loads(ran[3])["result"]["makespan"]) == ("200", answer["result"]["makespan"])
    assert (refused[0], json.loads(refused[3])["detail"]) == ("422", refusal["detail"])


def paths(value: Any, at: str = "") -> set[str]:
    """The member names of an answer, including nested objects."""
    if isinstance(value, dict):
        return {f"{at}.{name}" for name in value} | {
            deeper for name, inner in value.items() for deeper in paths(inner, f"{at}.{name}")
        }
    if isinstance(value, list):
        return {deeper for inner in value for deeper in paths(inner, f"{at}[]")}
    return set()


@pytest.mark.parametrize(("patience_s", "statuses"), [(5, {"200"}), (0, {"200", "429"})])
def test_the_spring_service_waits_for_a_busy_service_up_to_its_limit(plant, java, patience_s, statuses):
    request = f"/api/algorithm/run {json.dumps({'params': HOURS})}\n"
    command = java.command("shutdown.FrontEnd", url=plant.url, key="spring", max_wait_seconds=patience_s)
    pipe = subprocess.PIPE
    with subprocess.Popen(command, stdin=pipe, stdout=pipe, stderr=subprocess.DEVNULL, text=True) as process:
        assert process.stdin is not None
        assert process.stdout is not None
        process.stdin.write(request)
        process.stdin.flush()
        assert process.stdout.readline().startswith("200")  # it has started, so no time passes after the next line
        before = used_up(plant, "spring")
        answers = [line.split("\t") for line in process.communicate(4 * request, timeout=HANG_S)[0].splitlines()]
    assert refusals(plant) > before
    assert len(answers) == 4
    assert {status for status, *_ in answers} <= statuses
    refused = {(kind, retry_after) for status, kind, retry_after, _ in answers if status == "429"}
    assert refused == ({("application/problem+json", "1")} if patience_s == 0 else set())


def test_the_spring_controller_hides_problems_with_its_own_key(plant, java):
    request = f"/api/algorithm/run {json.dumps({'params': HOURS})}"
    for url, key, detail in (
        (plant.url, "nobody-made-this", "the scheduling service refused us"),
        ("http://127.0.0.1:1", "planner", "the scheduling service cannot be reached"),
    ):
        status, kind, _, body = (
            java.run("shutdown.FrontEnd", url=url, key=key, stdin=request).stdout.strip().split("\t")
        )
        assert (status, kind, json.loads(body)["detail"]) == ("502", "application/problem+json", detail)


@pytest.mark.parametrize("content_type", ["text/html", "application/json"])
def test_the_spring_controller_reports_a_page_in_place_of_an_answer(java, content_type):
    request = f"/api/algorithm/run {json.dumps({'params': HOURS})}"
    with stand_in((200, {"Content-Type": content_type}, "<html>Please log in</html>")) as url:
        result = java.run("shutdown.FrontEnd", url=url, key="", stdin=request)
    status, kind, _, body = result.stdout.strip().split("\t")
    assert (status, kind) == ("502", "application/problem+json")
    assert json.loads(body)["detail"] == "the answer is none of the scheduling service"


def test_application_yml_has_every_property_of_the_classes():
    sources = "".join(path.read_text() for path in SPRING.rglob("main/java/**/*.java"))
    used = {name.rpartition(".")[2] for name in re.findall(r"\$\{(model\.service\.[\w-]+)", sources)}
    text = re.findall(r"^    ([\w-]+):", (SPRING / "src/main/resources/application.yml").read_text(), re.MULTILINE)
    assert used == set(text)
    assert len(used) == 5

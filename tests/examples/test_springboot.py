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
    assert "mistake 422: params: must have 15 numbers, one for each step of the standard cycle, not 3" in lines
    assert "at [params]" in lines
    assert "mistake 404: no recorded run has the request id 'no-such-run'" in lines


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
        "no recorded run has the request id 'no-such-run'",
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
        answers = [line.split("\t") for line in process.communicate(4 * asked, timeout=HANG_S)[0].splitlines()]
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

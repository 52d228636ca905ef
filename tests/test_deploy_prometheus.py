"""deploy/: Prometheus accepts the files, the rules fire as specified, and every metric they use exists."""

import json
import re
import shutil
import subprocess
from collections.abc import Iterator, Mapping
from typing import Any

import pytest
from prometheus_client.parser import text_string_to_metric_families

from monitoring import PERFORMANCE_THRESHOLDS
from scheduler_env import SAMPLE_PARAMS
from scheduler_service.settings import PROJECT_ROOT
from tests.conftest import LiveService, live_service
from tests.waiting import HANG_S, until

PROMETHEUS = PROJECT_ROOT / "deploy" / "prometheus"
DASHBOARD = json.loads((PROJECT_ROOT / "deploy" / "grafana" / "dashboard.json").read_text("utf-8"))
RULES = (PROMETHEUS / "alerts.yml").read_text("utf-8")

OF_PROMETHEUS = {"up": {"job", "instance"}, "ALERTS": {"alertname", "alertstate"}}
OF_THE_TARGET = {"job", "instance"}
SELDOM = {"alerts_firing": {"name", "severity"}, "shadow_dropped_total": {"experiment"}}
"""Shown only where the service has alerts of its own, and once a shadow run was dropped."""
KEYWORDS = {"by", "on", "and", "or", "unless", "without", "ignoring", "group_left", "group_right", "bool", "offset"}

needs_promtool = pytest.mark.skipif(shutil.which("promtool") is None, reason="promtool is not installed")


def promtool(*arguments: str, given: bytes = b"") -> subprocess.CompletedProcess[bytes]:
    return subprocess.run(["promtool", *arguments], input=given, capture_output=True, timeout=HANG_S, check=False)


def rules() -> list[dict[str, str]]:
    """The rules of alerts.yml: `alert`, `expr` and the remaining text; read without a YAML library."""
    found = []
    for part in re.split(r"^      - alert: ", RULES, flags=re.MULTILINE)[1:]:
        name, _, rest = part.partition("\n")
        expr = re.search(r"expr: (?:\|\n((?:          .*\n)+)|(.*)\n)", rest)
        assert expr is not None, name
        found.append({"alert": name, "expr": expr[1] or expr[2], "rest": rest})
    return found


def panels() -> list[dict[str, Any]]:
    return [panel for panel in DASHBOARD["panels"] if panel["type"] != "row"]


def expressions() -> dict[str, str]:
    """Location -> PromQL, of the dashboard and of the rules."""
    shown = {f"panel {p['title']}": t["expr"] for p in panels() for t in p["targets"]}
    return shown | {f"rule {rule['alert']}": rule["expr"] for rule in rules()}


def asked_for(expression: str) -> dict[str, set[str]]:
    """Metric -> the labels that an expression selects or groups by; grouping counts for every metric in it."""
    bare = re.sub(r'"[^"]*"', '""', expression)
    grouped = {
        label.strip()
        for labels in re.findall(r"\b(?:by|on|without|ignoring)\s*\(([^)]*)\)", bare)
        for label in labels.split(",")
    } - {"le"}
    bare = re.sub(r"\b(?:by|on|without|ignoring)\s*\([^)]*\)", " ", bare)
    bare = re.sub(r"\[[^\]]*\]", "", bare)
    found: dict[str, set[str]] = {}
    for name, selector in re.findall(r"(?<![\w$.])([A-Za-z_]\w*)(?!\w*\s*\()\s*(?:\{([^}]*)\})?", bare):
        if name not in KEYWORDS:
            labels = {part.split("=")[0].rstrip("!~ ").strip() for part in selector.split(",") if part.strip()}
            found.setdefault(name, set()).update((labels | grouped) - {"le"})
    return found


@pytest.fixture(scope="module", params=[1, 2], ids=["one worker", "two workers"])
def exposed(request, tmp_path_factory) -> Iterator[str]:
    """The real /metrics after runs in an experiment with shadow runs, and a verdict."""
    with live_service(tmp_path_factory.mktemp("deploy"), arguments=["--workers", str(request.param)]) as running:
        yield exposition_after_runs(running)


def exposition_after_runs(service: LiveService) -> str:
    body = {"experiment_name": "ramp", "model_a": "DDQN_v2.0", "model_b": "DDQN_v1.0", "shadow": 1.0, "rollout": {}}
    answer = service.post("/experiments", json=body)
    assert answer.status_code == 201, answer.text
    sample = list(SAMPLE_PARAMS)
    for number in range(20):
        ended = service.run(params=sample, experiment="ramp", user_id=f"u{number}")
    verdict = {"request_id": ended["request_id"], "user_satisfaction": 5}
    assert service.post("/feedback", json=verdict).status_code == 200
    until(lambda: "shadow_pairs_total{" in service.get("/metrics").text, "a pair of a shadow run")
    return service.get("/metrics").text


def labels_by_name(exposition: str) -> Mapping[str, set[str]]:
    found: dict[str, set[str]] = {}
    for family in text_string_to_metric_families(exposition):
        for sample in family.samples:
            found.setdefault(sample.name, set()).update(sample.labels)
    return found


# --- checks by promtool ---


@needs_promtool
@pytest.mark.parametrize(
    "arguments",
    [("check", "rules", "alerts.yml"), ("check", "config", "prometheus.yml"), ("test", "rules", "alerts_test.yml")],
    ids=" ".join,
)
def test_prometheus_accepts_the_files(arguments):
    *command, file = arguments
    ended = promtool(*command, str(PROMETHEUS / file))
    assert ended.returncode == 0, (ended.stdout + ended.stderr).decode()


@needs_promtool
def test_prometheus_accepts_the_exposition(exposed):
    ended = promtool("check", "metrics", given=exposed.encode())
    complaints = (ended.stdout + ended.stderr).decode().splitlines()
    # The plant plans in hours, and so do the thresholds.
    assert [each for each in complaints if 'use base unit "seconds" instead of "hours"' not in each] == []


# --- checks without promtool ---


def test_every_metric_and_label_in_use_is_exposed(exposed):
    served = SELDOM | OF_PROMETHEUS | labels_by_name(exposed)
    for place, expression in expressions().items():
        used = asked_for(expression)
        assert used, place
        for metric, labels in used.items():
            assert metric in served, f"{place}: there is no metric {metric}"
            unknown = labels - served[metric] - OF_THE_TARGET
            assert not unknown, f"{place}: {metric} has no label {', '.join(unknown)}; it has {served[metric]}"


def test_metrics_and_labels_of_an_expression_are_recognised():
    result = asked_for(
        'sum by (kind) (rate(a_total{x=~"y|z", q!="by (no)"}[5m])) / on (kind) b > 0.9 and c{} == 1e3 * 2'
    )
    assert result == {"a_total": {"x", "q", "kind"}, "b": {"kind"}, "c": {"kind"}}


def test_every_rule_has_a_severity_and_advice_in_chinese():
    assert len(rules()) == RULES.count("- alert: ") > 10
    for rule in rules():
        assert re.search(r'severity: (critical|warning|info|"\{\{ \$labels\.severity \}\}")', rule["rest"]), rule
        for annotation in ("summary", "description", "runbook"):
            assert re.search(rf'^          {annotation}: ".*[\u4e00-\u9fff].*"$', rule["rest"], re.MULTILINE), rule


def test_every_rule_has_a_test():
    tested = (PROMETHEUS / "alerts_test.yml").read_text("utf-8")
    for rule in rules():
        assert rule["alert"] in tested, rule["alert"]


def test_the_thresholds_equal_those_of_the_service():
    limits = {rule["alert"]: float(re.findall(r"[<>] ([\d.]+)", rule["expr"])[-1]) for rule in rules()
              if rule["alert"] in ("MeanMakespanHigh", "ExecutionTimeHigh", "SuccessRateLow")}  # fmt: skip
    assert limits == {
        "MeanMakespanHigh": PERFORMANCE_THRESHOLDS["max_makespan"],
        "ExecutionTimeHigh": PERFORMANCE_THRESHOLDS["max_execution_time"],
        "SuccessRateLow": PERFORMANCE_THRESHOLDS["min_success_rate"],
    }


def test_the_dashboard_can_be_imported():
    assert DASHBOARD["id"] is None
    assert DASHBOARD["schemaVersion"] >= 36
    assert [variable["name"] for variable in DASHBOARD["templating"]["list"]] == ["datasource", "model"]
    ids = [panel["id"] for panel in DASHBOARD["panels"]]
    assert len(ids) == len(set(ids))
    rows = [panel["title"] for panel in DASHBOARD["panels"] if panel["type"] == "row"]
    assert len(rows) == 7
    for panel in panels():
        assert re.search(r"[\u4e00-\u9fff]", panel["title"]), panel["title"]
        assert panel["datasource"]["uid"] == "${datasource}"
        assert all(target["datasource"]["uid"] == "${datasource}" for target in panel["targets"])


def test_no_panel_overlaps_another():
    taken: set[tuple[int, int]] = set()
    for panel in DASHBOARD["panels"]:
        at = panel["gridPos"]
        assert at["x"] + at["w"] <= 24
        cells = {(x, y) for x in range(at["x"], at["x"] + at["w"]) for y in range(at["y"], at["y"] + at["h"])}
        assert not cells & taken, panel["title"]
        taken |= cells

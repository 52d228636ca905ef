"""Guardrails and metrics are defined in one place: schema, form, report and verdict are derived from the definition."""

import json
import re
import subprocess
import sys
from pathlib import Path

import pytest

from scheduler_service.stats.definitions import definitions
from scheduler_service.stats.guardrails import DEFAULT_MARGINS, GUARDRAILS
from scheduler_service.stats.metrics import METRICS
from scheduler_service.words import LANGS, WORDS

ROOT = Path(__file__).resolve().parent.parent
EXTRA = """
import json
from dataclasses import replace
from scheduler_service.stats import metrics

# The definitions come first: everything else is derived from them when it is imported.
spare = replace(metrics.METRICS["resource_utilization"], name="spare_capacity", more="larger")
metrics.METRICS[spare.name] = spare
from scheduler_service.stats import guardrails
extra = guardrails.Definition(metric=spare, test="relative", default=None, is_needed=True)
guardrails.GUARDRAILS[extra.name] = extra
from scheduler_service.alert_rules import RULES, AlertRule
RULES["max_runs"] = AlertRule("max_runs", "critical", "runs", "above", 100.0, 1_000.0)
from scheduler_service.alerts import rules
rules.READERS.append(lambda seen, lang: [rules.held_against("max_runs", 120.0, seen.limits["max_runs"], lang)])
from scheduler_service.words import LANGS, WORDS
for lang in LANGS:
    texts = {"title": f"too many runs ({lang})", "threshold": "runs", "advice": "send fewer"}
    WORDS.texts(lang)["alerts"]["max_runs"] = texts
for lang, label in (("zh", "余量"), ("en", "spare capacity")):
    WORDS.texts(lang)["terms"]["metric"]["spare_capacity"] = label

import numpy as np
from enhanced_flask import create_app
from scheduler_service.experiments import rollout
from scheduler_service.experiments.examination import examine
from scheduler_service.settings import settings_from_environment
from tests import test_reporting_ab as reports

client = create_app(settings_from_environment()).test_client()
files = {name: client.get(f"/console/words/{name}.json").json for name in (*LANGS, "definitions")}
runs = reports.runs_of(400, 5, better={"model_b": 0.01})
slack = np.where(runs["variant"] == "model_b", 0.2, 0.4)
runs["spare_capacity"] = np.where(runs["success"], slack, np.nan)
of = {
    metric: reports.experiment(guardrails={"spare_capacity": 0.05}, success_metric=metric)
    for metric in ("makespan", "spare_capacity")
}
thresholds = "/alerts/thresholds"
print(json.dumps({
    "alerts": client.get("/alerts").json,
    "thresholds": client.get(thresholds).json["thresholds"],
    "set": client.put(f"{thresholds}/max_runs", json={"value": 150, "reason": "x"}).json,
    "refused": client.put(f"{thresholds}/max_runs", json={"value": 1001, "reason": "x"}).json["code"],
    "silenced": client.post("/alerts/silences", json={"name": "max_runs", "hours": 1, "reason": "x"}).status_code,
    "openapi": client.get("/openapi.json").json["components"]["schemas"],
    "files": files,
    "needed": rollout.NEEDED,
    "results": {metric: examine(each, runs, None, reports.NOW).to_dict() for metric, each in of.items()},
    "pages": {lang: reports.page_of(of["spare_capacity"], runs, lang=lang).text for lang in LANGS},
}))
"""


@pytest.fixture(scope="module")
def derived(tmp_path_factory):
    """The derived objects of a service with one additional metric and a guardrail of it."""
    home = tmp_path_factory.mktemp("home")
    done = subprocess.run(
        [sys.executable, "-c", EXTRA],
        cwd=ROOT,
        env={"PATH": "/usr/bin:/bin", "SCHED_HOME": str(home), "PYTHONPATH": str(ROOT)},
        capture_output=True,
        text=True,
    )
    assert done.returncode == 0, done.stderr
    return json.loads(done.stdout.splitlines()[-1])


def test_a_new_guardrail_is_in_the_openapi_document(derived):
    field = derived["openapi"]["ExperimentRequest"]["properties"]["guardrails"]
    assert "spare_capacity" in field["propertyNames"]["enum"]
    assert "spare_capacity" in field["description"]
    assert "spare_capacity" in derived["openapi"]["Guardrail"]["properties"]["name"]["description"]
    assert "spare_capacity" in derived["openapi"]["Experiment"]["properties"]["guardrails"]["description"]


def test_a_new_metric_is_in_the_openapi_document(derived):
    assert "spare_capacity" in derived["openapi"]["ExperimentRequest"]["properties"]["success_metric"]["description"]
    assert "spare_capacity" in json.dumps(derived["openapi"]["Summary"])


def test_a_new_guardrail_is_in_the_data_of_the_form(derived):
    found = {each["name"]: each for each in derived["files"]["definitions"]["guardrails"]}["spare_capacity"]
    assert (found["default"], found["unit"], found["is_needed"]) == (None, "share_of_baseline", True)
    assert found["form_label"] == {
        "code": "guardrails.form_relative",
        "params": {"metric": "spare_capacity", "way": "smaller"},
    }
    assert "spare_capacity" in [each["name"] for each in derived["files"]["definitions"]["metrics"]]
    assert [derived["files"][lang]["terms"]["metric"]["spare_capacity"] for lang in LANGS] == ["余量", "spare capacity"]


def test_a_new_guardrail_is_tested_and_stops_a_candidate(derived):
    found = {each["name"]: each for each in derived["results"]["makespan"]["guardrails"]}["spare_capacity"]
    assert (found["state"], found["unit"]) == ("breached", "share_of_baseline")
    assert found["harm"] == pytest.approx(0.5, abs=0.01)
    assert found["message"].startswith("spare capacity 50 % smaller")
    assert "spare_capacity" in derived["needed"]


def test_a_new_metric_can_be_the_metric_of_a_verdict(derived):
    results = derived["results"]["spare_capacity"]
    assert (results["metric"], results["verdict"]) == ("spare_capacity", "worse")
    effect = results["verdict_text"][0]["params"]["effect"]["params"]
    assert (effect["metric"], effect["change"], effect["by"]) == ("spare_capacity", "smaller", pytest.approx(0.5))
    assert "spare_capacity" in derived["results"]["makespan"]["secondary"]


@pytest.mark.parametrize(("lang", "label"), [("zh", "余量缩小"), ("en", "Spare capacity smaller")])
def test_a_new_guardrail_is_in_the_report(derived, lang, label):
    assert label in derived["pages"][lang]


@pytest.mark.parametrize(("lang", "text"), [("zh", "余量平均缩小 50 %"), ("en", "spare capacity 50 % smaller")])
def test_a_new_metric_is_in_the_verdict_of_the_report(derived, lang, text):
    assert text in derived["pages"][lang]


def test_every_metric_and_guardrail_has_texts():
    for lang in LANGS:
        terms = WORDS.texts(lang)["terms"]
        assert METRICS.keys() == terms["metric"].keys()
        for metric in METRICS.values():
            ways = {metric.way(is_more=is_more) for is_more in (True, False)}
            assert all(ways <= terms[table].keys() for table in ("way", "change", "move"))
            assert metric.unit in terms["unit"]
        for definition in GUARDRAILS.values():
            assert WORDS.say(definition.label, lang=lang)


def test_the_documented_table_has_every_guardrail_with_its_margin():
    page = (ROOT / "docs" / "statistics.md").read_text(encoding="utf-8")
    rows = dict(re.findall(r"^\| `(\w+)` \|.*\| ([^|]+) \|$", page.split("## Guardrails")[1].split("###")[0], re.M))
    assert rows.keys() == GUARDRAILS.keys()
    for name, definition in GUARDRAILS.items():
        margin = "none unless" if definition.default is None else f"{100 * definition.default:g} "
        assert rows[name].startswith(margin), name


def test_the_console_receives_the_definitions(app):
    body = app.test_client().get("/console/words/definitions.json").json
    assert body.items() >= definitions().items()


def test_the_form_offers_every_guardrail_and_metric_with_its_default():
    form = definitions()
    assert [each["name"] for each in form["metrics"]] == list(METRICS)
    defaults = {each["name"]: each["default"] for each in form["guardrails"]}
    assert defaults == {name: DEFAULT_MARGINS.get(name) for name in GUARDRAILS}


def test_a_new_alert_rule_is_in_the_openapi_document_and_the_console(derived):
    assert "max_runs" in derived["openapi"]["SilenceRequest"]["properties"]["name"]["enum"]
    rules = {each["name"]: each for each in derived["files"]["definitions"]["alert_rules"]}
    assert (rules["max_runs"]["unit"], rules["max_runs"]["worse"]) == ("runs", "above")
    assert all(derived["files"][lang]["alerts"]["max_runs"]["title"] for lang in LANGS)


def test_a_new_alert_rule_fires_and_its_threshold_can_be_set(derived):
    alert = next(each for each in derived["alerts"]["alerts"] if each["name"] == "max_runs")
    assert (alert["severity"], alert["value"], alert["threshold"]) == ("critical", 120.0, 100.0)
    assert (alert["code"], alert["message"], alert["advice"]) == ("max_runs", "too many runs (zh)", "send fewer")
    threshold = next(each for each in derived["thresholds"] if each["name"] == "max_runs")
    assert (threshold["default"], threshold["most"], threshold["unit"]) == (100.0, 1_000.0, "runs")
    assert derived["set"]["threshold"]["value"] == 150.0
    assert (derived["refused"], derived["silenced"]) == ("out_of_range", 201)

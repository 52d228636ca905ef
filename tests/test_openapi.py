"""The document and its page: complete, valid, and what a running service does."""

import json
import re
from collections.abc import Iterator
from typing import Any

import pytest
from jsonschema import Draft202012Validator
from openapi_spec_validator import validate

from benchmarks.fuzzing import fuzz, inhabited_service, n_cases
from scheduler_service.http.bodies import validated
from scheduler_service.http.contract.answers import ANSWERS
from scheduler_service.http.contract.openapi import document, examples
from scheduler_service.http.contract.operations import OPERATIONS
from scheduler_service.http.guards.auth import PROBES, required_scope


def rules(app) -> dict[tuple[str, str], str]:
    """(method, path as the table writes it) -> endpoint."""
    return {
        (method, re.sub(r"<(\w+)>", r"{\1}", rule.rule)): rule.endpoint
        for rule in app.url_map.iter_rules()
        if not rule.endpoint.startswith("console.")  # a page for people, no interface
        for method in rule.methods - {"HEAD", "OPTIONS"}
    }


def problems_of(schema: dict[str, Any], value: object) -> list[str]:
    whole = schema | {"components": document()["components"]}
    return [f"{list(err.path)}: {err.message[:200]}" for err in Draft202012Validator(whole).iter_errors(value)]


def told_of(operation) -> dict[str, Any]:
    return document()["paths"][operation.path][operation.method.lower()]


# --- the document ---


def test_the_document_is_valid_openapi():
    validate(document())
    assert document()["openapi"].startswith("3.1.")


def test_the_document_has_every_route_and_no_other(app):
    assert {(operation.method, operation.path) for operation in OPERATIONS} == set(rules(app))


def test_the_scopes_are_those_that_are_asked_for(app):
    endpoints = rules(app)
    for operation in OPERATIONS:
        endpoint = endpoints[operation.method, operation.path]
        assert operation.scope == required_scope(operation.method, endpoint), operation.key
        assert operation.is_probe == (endpoint in PROBES), operation.key


def test_every_reference_leads_somewhere():
    text = json.dumps(document())
    assert set(re.findall(r'"#/components/schemas/(\w+)"', text)) <= set(document()["components"]["schemas"])
    assert set(re.findall(r'"#/components/headers/([\w-]+)"', text)) <= set(document()["components"]["headers"])


@pytest.mark.parametrize("operation", OPERATIONS, ids=lambda operation: operation.key)
def test_an_operations_examples_fit_its_schemas(operation):
    told = told_of(operation)
    if operation.body is not None:
        assert operation.example is not None
    for example in (operation.example, *operation.more_examples.values()):
        if example is not None:
            validated(operation.body, example)
            assert problems_of(told["requestBody"]["content"]["application/json"]["schema"], example) == []
    for status, answer in told["responses"].items():
        for media, content in answer["content"].items():
            if media != "application/pdf":
                assert problems_of(content["schema"], content["example"]) == [], status


def test_there_is_an_example_for_each_operation_and_for_no_other():
    assert set(examples()) == {operation.key for operation in OPERATIONS}


def test_answers_may_get_further_members():
    assert 'additionalProperties": false' not in json.dumps(ANSWERS)


# --- the page ---


def test_the_documentation_needs_nothing_else(app):
    page = app.test_client().get("/docs").text
    assert "<script" not in page
    assert not re.search(r"(src|href)=['\"](https?:)?//", page)


def test_the_documentation_tells_of_every_operation_and_schema(app):
    page = app.test_client().get("/docs").text
    anchors = set(re.findall(r"id='([^']+)'", page))
    assert set(re.findall(r"href='#([^']+)'", page)) <= anchors
    assert {f"schema-{name}" for name in document()["components"]["schemas"]} <= anchors
    for operation in OPERATIONS:
        assert f"</b> {operation.path}<" in page
    assert "model-not-found" in anchors, "an error's type leads to its explanation"


def test_the_document_is_served(app):
    assert app.test_client().get("/openapi.json").json == document()


# --- what a running service does ---


LONG = "^/(reports/(performance|ab_test)|api/algorithm/run)$"
"""Every valid case of a report draws charts, for a second or two; `/api/algorithm/run` is `/run_algorithm`."""


def test_a_running_service_does_what_the_document_says(tmp_path):
    """`make fuzz` tries the slow operations, too, on many examples."""
    with inhabited_service(tmp_path / "home") as running:
        most = fuzz(running, 2, 1, "--phases", "examples,coverage,fuzzing", "--exclude-path-regex", LONG)
        slow = fuzz(running, 4, 1, "--phases", "examples,fuzzing", "--include-path-regex", LONG)
        log = running.output.read_text(errors="replace")
    for status, report in (most, slow):
        assert status == 0, report[-6_000:]
    assert n_cases(most[1]) > 500
    assert n_cases(slow[1]) >= 9
    assert "Traceback" not in log


def _numbers_without_a_unit(schema: object, path: str) -> Iterator[str]:
    """Paths of the numbers, pairs and lists of numbers that neither they nor what holds them describe."""
    if not isinstance(schema, dict):
        return
    kinds = schema.get("type")
    if "number" in ([kinds] if isinstance(kinds, str) else kinds or []) and "description" not in schema:
        yield path
    for name, member in schema.get("properties", {}).items():
        yield from _numbers_without_a_unit(member, f"{path}.{name}")
    for key in ("items", "additionalProperties"):
        if "description" not in schema or "number" not in str(schema.get(key, {}).get("type")):
            yield from _numbers_without_a_unit(schema.get(key), f"{path}[]")
    for each in schema.get("anyOf", []):
        yield from _numbers_without_a_unit(each, path)


def test_every_figure_of_experiments_and_alerts_says_its_unit():
    """Shares, points and percent stand side by side there, and look alike."""
    schemas = document()["components"]["schemas"]
    named = ("ResultsAnswer", "Comparison", "PairedVerdict", "Guardrail", "CannotTell", "Contradiction", "Experiment")
    more = ("Rollout", "PlanAnswer", "CourseAnswer", "AssignmentAnswer", "ReplayAnswer", "Alert", "AlertsAnswer")
    assert [path for name in (*named, *more) for path in _numbers_without_a_unit(schemas[name], name)] == []

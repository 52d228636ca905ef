"""The OpenAPI document and its page: complete, valid, and true for a running service."""

import json
import re
from collections.abc import Iterator
from typing import Any, get_args

import pytest
from jsonschema import Draft202012Validator
from openapi_spec_validator import validate

from benchmarks.fuzzing import CONFIG, fuzz, inhabited_service, n_cases
from scheduler_service.http.bodies import validated
from scheduler_service.http.contract import problems
from scheduler_service.http.contract.contract import Lane
from scheduler_service.http.routes.docs import CONTRACTS
from scheduler_service.http.routes.docs import whole_document as document
from scheduler_service.http.services import Services


def problems_of(schema: dict[str, Any], value: object) -> list[str]:
    whole = schema | {"components": document()["components"]}
    return [f"{list(err.path)}: {err.message[:200]}" for err in Draft202012Validator(whole).iter_errors(value)]


def told_of(contract) -> dict[str, Any]:
    return document()["paths"][contract.path][contract.method.lower()]


# --- the document ---


def test_the_document_is_valid_openapi():
    validate(document())
    assert document()["openapi"].startswith("3.1.")


def test_the_document_has_exactly_the_routes(app):
    rules = {
        (method, re.sub(r"<(\w+)>", r"{\1}", rule.rule))
        for rule in app.url_map.iter_rules()
        if not rule.endpoint.startswith("console.")  # a page for people, no API
        for method in rule.methods - {"HEAD", "OPTIONS"}
    }
    assert {(contract.method, contract.path) for contract in CONTRACTS} == rules


def test_every_reference_exists():
    text = json.dumps(document())
    assert set(re.findall(r'"#/components/schemas/(\w+)"', text)) <= set(document()["components"]["schemas"])
    assert set(re.findall(r'"#/components/headers/([\w-]+)"', text)) <= set(document()["components"]["headers"])


@pytest.mark.parametrize("contract", CONTRACTS, ids=lambda contract: contract.key)
def test_the_examples_of_an_operation_match_its_schemas(contract):
    result = told_of(contract)
    if contract.body is not None:
        described = result["requestBody"]["content"]["application/json"]
        assert described["examples"]
        for example in described["examples"].values():
            validated(contract.body, example["value"])
            assert problems_of(described["schema"], example["value"]) == []
    errors = {status: answer for status, answer in result["responses"].items() if int(status) >= 400}
    assert errors
    for status, answer in errors.items():
        (content,) = answer["content"].values()
        assert problems_of(content["schema"], content["example"]) == [], status


def test_each_lane_is_a_part_of_the_service():
    lanes = {contract.lane for contract in CONTRACTS} - {None}
    assert lanes == set(get_args(Lane))
    assert lanes <= Services.__annotations__.keys()


def test_answers_may_get_additional_members():
    schemas = document()["components"]["schemas"]
    strict = [name for name, schema in schemas.items() if "additionalProperties" in schema]
    assert [name for name in strict if not name.endswith("Request")] == []


def test_limits_are_in_the_words_of_json_schema():
    """pydantic writes `ge` for a limit that follows a validator."""
    assert not re.search(r'"(ge|gt|le|lt|max_length|min_length|multiple_of)":', json.dumps(document()))


# --- the page ---


def test_the_page_explains_every_type_of_problem(app):
    answer = app.test_client().get("/docs")
    anchors = set(re.findall(r'id="([^"]+)"', answer.text))
    assert {problems.kind_of(cls).partition("#")[2] for cls in problems.classes()} <= anchors
    assert "model-not-found" in anchors
    assert not re.search(r"(src|href)=['\"](https?:)?//", answer.text)
    (script,) = re.findall(r'src="([^"]+)"', answer.text)
    assert app.test_client().get(script).status_code == 200


def test_the_document_is_served(app):
    assert app.test_client().get("/openapi.json").json == document()


# --- what a running service does ---


FEWER = """
# Every valid case of a report draws charts, for a second or two; `/api/algorithm/run` is `/run_algorithm`.
[[operations]]
include-path-regex = "^/(reports/(performance|ab_test)|api/algorithm/run)$"
phases.coverage.enabled = false
generation.max-examples = 4
"""
"""The cases of the slow operations; `make fuzz` has the others, too."""


def test_a_running_service_matches_the_document(tmp_path):
    """`make fuzz` also tries the slow operations, with many examples."""
    config = tmp_path / "schemathesis.toml"
    config.write_text(CONFIG.read_text("utf-8") + FEWER, "utf-8")
    with inhabited_service(tmp_path / "home") as running:
        status, report = fuzz(running, 2, 1, "--phases", "examples,coverage,fuzzing", config=config)
        log = running.output.read_text(errors="replace")
    assert status == 0, report[-6_000:]
    assert n_cases(report) > 500
    told = re.search(r"Selected: (\d+)/(\d+)\n +Tested: (\d+)", report)
    assert told is not None, report[-6_000:]
    assert len(set(told.groups())) == 1, told[0]
    assert "Traceback" not in log


def _numbers_without_a_unit(schema: object, path: str) -> Iterator[str]:
    """Paths of numbers, pairs and lists of numbers whose unit neither they nor their parent describe."""
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
    for each in schema.get("anyOf", []) if "description" not in schema else ():
        yield from _numbers_without_a_unit(each, path)


def test_every_figure_of_experiments_and_alerts_has_a_unit():
    """Shares, percentage points and percent appear side by side and look alike."""
    schemas = document()["components"]["schemas"]
    named = ("ResultsAnswer", "Comparison", "PairedVerdict", "Guardrail", "CannotTell", "Contradiction", "Experiment")
    options = ("Rollout", "PlanAnswer", "CourseAnswer", "AssignmentAnswer", "ReplayAnswer", "Alert", "AlertsAnswer")
    assert [path for name in (*named, *options) for path in _numbers_without_a_unit(schemas[name], name)] == []

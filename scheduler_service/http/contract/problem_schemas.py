"""The problem of a run request as JSON Schema: what `scheduler_env.readers` reads; `null` is as good as absent."""

from typing import Any

from scheduler_env.standard_cycle import MAX_DURATION_H, SAMPLE_PARAMS
from scheduler_env.teams import MAX_TEAMS
from scheduler_env.written import MAX_PREDECESSORS, MAX_STEPS_OF_A_WORKPOINT, MAX_WORKPOINTS

Schema = dict[str, Any]


def _or_null(schema: Schema) -> Schema:
    """`schema`, or null, which counts as absent."""
    if "anyOf" in schema:
        return schema | {"anyOf": [*schema["anyOf"], {"type": "null"}]}
    if "enum" in schema:
        return schema | {"enum": [*schema["enum"], None]}
    return schema | {"type": [schema["type"], "null"]}


def _optional(**members: Schema) -> dict[str, Schema]:
    return {name: _or_null(schema) for name, schema in members.items()}


_PEOPLE: Schema = {"type": "integer", "minimum": 1, "maximum": 1000}
_HOURS: Schema = {"type": "number", "exclusiveMinimum": 0, "maximum": MAX_DURATION_H, "description": "Nominal hours."}
_NAME: Schema = {"type": "string", "minLength": 1, "maxLength": 200}
_ID: Schema = {"anyOf": [_NAME, {"type": "integer"}]}
_PARAMS: Schema = {"type": "array", "items": _HOURS, "minItems": 15, "maxItems": 15, "examples": [list(SAMPLE_PARAMS)]}
_FLAG: Schema = {"type": "boolean"}
_STEP: Schema = {
    "type": "object",
    "required": ["name", "team", "duration"],
    "additionalProperties": False,
    "properties": {
        "name": _NAME,
        "team": _ID,
        "duration": _HOURS,
        **_optional(
            id=_ID,
            order={"type": "integer"},
            dedicated=_FLAG | {"description": "Takes its team's whole headcount."},
            team_size=_PEOPLE | {"description": "Headcount of its team."},
            parallel=_FLAG | {"description": "false: alone among the steps of its order."},
            min_crew=_PEOPLE,
            max_crew=_PEOPLE,
            predecessors={
                "type": "array",
                "items": _ID,
                "maxItems": MAX_PREDECESSORS,
                "description": "Ids or names of steps to wait for.",
            },
        ),
    },
}
_STEPS: Schema = {"type": "array", "items": _STEP, "maxItems": MAX_STEPS_OF_A_WORKPOINT}
_WORKPOINT: Schema = {
    "type": "object",
    "additionalProperties": False,
    "properties": _optional(id=_ID, name=_NAME, steps=_STEPS, params=_PARAMS),
}
_WORKPOINTS: Schema = {
    "anyOf": [
        {"type": "array", "items": _WORKPOINT, "minItems": 1, "maxItems": MAX_WORKPOINTS},
        {
            "type": "object",
            "additionalProperties": _WORKPOINT,
            "propertyNames": _NAME,
            "minProperties": 1,
            "maxProperties": MAX_WORKPOINTS,
        },
    ],
    "description": "Work points, as a list or by id; one without steps gets the standard cycle.",
}
_TEAM: Schema = {
    "type": "object",
    "additionalProperties": False,
    "properties": {"name": _ID, **_optional(headcount=_PEOPLE, dedicated=_FLAG, min_crew=_PEOPLE)},
}
_NAMED_TEAM = _TEAM | {"required": ["name"]}
_TEAMS: Schema = {
    "anyOf": [
        {"type": "array", "items": _NAMED_TEAM, "maxItems": MAX_TEAMS},
        {"type": "object", "additionalProperties": _TEAM, "propertyNames": _NAME, "maxProperties": MAX_TEAMS},
    ],
    "description": "Changes to the default plant.",
}
_CURVE: Schema = {"enum": ["default", "linear"], "description": "linear: a crew twice as large takes half as long."}
ONE_PROBLEM: Schema = {
    "oneOf": [
        {"required": ["params"], "properties": {"params": {"type": "array"}}},
        {"required": ["workpoints"], "properties": {"workpoints": {"type": ["array", "object"]}}},
    ]
}

PARAMS, WORKPOINTS, TEAMS, CREW_EFFICIENCY = map(_or_null, (_PARAMS, _WORKPOINTS, _TEAMS, _CURVE))

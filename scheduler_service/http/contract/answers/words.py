"""The words that schemas of answers are written in."""

from typing import Any

Schema = dict[str, Any]

TEXT: Schema = {"type": "string"}
NUMBER: Schema = {"type": "number"}
SHARE: Schema = {"type": "number", "minimum": 0, "maximum": 1}
COUNT: Schema = {"type": "integer", "minimum": 0}
FLAG: Schema = {"type": "boolean"}
TIME: Schema = {"type": "string", "format": "date-time", "description": "ISO-8601, UTC."}
ANYTHING: Schema = {"type": "object", "additionalProperties": True}
PAIR: Schema = {"type": "array", "items": NUMBER, "minItems": 2, "maxItems": 2}


def object_of(required: Schema, optional: Schema | None = None, about: str = "") -> Schema:
    """An object with these members, and maybe others."""
    told: Schema = {"type": "object", "required": list(required), "properties": required | (optional or {})}
    return told | ({"description": about} if about else {})


def list_of(items: Schema) -> Schema:
    return {"type": "array", "items": items}


def map_of(values: Schema, about: str = "") -> Schema:
    """An object whose names are not known beforehand."""
    return {"type": "object", "additionalProperties": values} | ({"description": about} if about else {})


def maybe(schema: Schema) -> Schema:
    """`schema` or null."""
    if isinstance(schema.get("type"), str) and "enum" not in schema:
        return schema | {"type": [schema["type"], "null"]}
    return {"anyOf": [schema, {"type": "null"}]}


def ref(name: str) -> Schema:
    return {"$ref": f"#/components/schemas/{name}"}


def told(schema: Schema, about: str) -> Schema:
    return schema | {"description": about}


def one_of(*words: str) -> Schema:
    return {"type": "string", "enum": list(words)}


def success(required: Schema, optional: Schema | None = None) -> Schema:
    """The answer of a request that succeeded."""
    return object_of({"status": {"const": "success"}} | required, optional)

"""`/docs`: the document as one HTML page to read. It needs no script and nothing from elsewhere."""

import html
import json
from functools import cache
from typing import Any

from scheduler_service.http.contract import problems
from scheduler_service.http.contract.openapi import TAGS, document, examples
from scheduler_service.http.contract.operation import Operation
from scheduler_service.http.contract.operations import OPERATIONS

_STYLE = """
:root{color-scheme:light dark}
body{font:16px/1.5 system-ui,sans-serif;max-width:64em;margin:0 auto;padding:1em 1.2em 4em}
h2{border-bottom:2px solid #8886;margin-top:2.5em} h3{margin:2.2em 0 .2em} h4{margin:1em 0 .2em}
code,pre{font-family:ui-monospace,monospace;font-size:.88em}
pre{background:#8881;padding:.7em;overflow:auto;max-height:26em;border-radius:4px}
table{border-collapse:collapse;width:100%;font-size:.92em} th,td{text-align:left;vertical-align:top;padding:.25em .6em}
th{border-bottom:1px solid #8888} td{border-bottom:1px solid #8883}
td{overflow-wrap:anywhere} td:first-child code{white-space:nowrap}
nav ul{columns:2;list-style:none;padding:0} summary{cursor:pointer} .scope{font-size:.85em;opacity:.75}
.GET{color:#2778c4}.POST{color:#2c8a4b}.PUT{color:#a46a00}.DELETE{color:#c0392b}
"""


@cache
def docs_page() -> str:
    """The page; errors' `type` points into it."""
    contents, parts = [], []
    for tag, about in TAGS.items():
        mine = [operation for operation in OPERATIONS if operation.tag == tag]
        entries = "".join(f"<li><a href='#{_anchor(each)}'>{_title(each)}</a></li>" for each in mine)
        contents.append(f"<h4><a href='#tag-{tag}'>{tag.capitalize()}</a></h4><ul>{entries}</ul>")
        parts.append(f"<h2 id='tag-{tag}'>{tag.capitalize()}</h2><p>{_text(about)}</p>")
        parts += [_operation(each) for each in mine]
    return (
        "<!doctype html><html lang='en'><head><meta charset='utf-8'><meta name='viewport' content='width=device-width'>"
        f"<title>Shutdown scheduler: HTTP interface</title><style>{_STYLE}</style></head><body>"
        f"<h1>Shutdown scheduler</h1><p>{_text(document()['info']['description'])} For machines: "
        "<a href='/openapi.json'>/openapi.json</a>.</p>"
        f"<nav>{''.join(contents)}<p><a href='#schemas'>Schemas</a> · <a href='#errors'>Errors</a></p></nav>"
        f"{''.join(parts)}{_schemas()}{_errors()}</body></html>"
    )


def _operation(operation: Operation) -> str:
    told = document()["paths"][operation.path][operation.method.lower()]
    parts = [f"<h3 id='{_anchor(operation)}'>{_title(operation)}</h3><p>{_text(operation.summary)}."]
    if operation.scope:
        parts.append(f" <span class='scope'>Scope: {operation.scope}</span>")
    parts.append("</p>")
    rows: list[tuple[str, ...]] = [
        (f"<code>{each['name']}</code>", each["in"], _type(each["schema"]), _text(each["description"]))
        for each in told["parameters"]
        if each["in"] != "header"
    ]
    if rows:
        parts.append(f"<h4>Parameters</h4>{_table(('name', 'in', 'type and limits', 'meaning'), rows)}")
    for media, content in told.get("requestBody", {}).get("content", {}).items():
        optional = "" if told["requestBody"]["required"] else ", optional"
        about = (
            f"<pre>{_text(content['example'])}</pre>"
            if "example" in content
            else _members(_resolved(content["schema"]))
        )
        parts.append(f"<h4>Body <span class='scope'>{media}{optional}</span></h4>{about}")
    parts.append(f"<h4>Request</h4><pre>{_text(_curl(operation))}</pre>")
    answer = examples()[operation.key]
    shown = answer if isinstance(answer, str) else json.dumps(answer, ensure_ascii=False, indent=1)
    content = told["responses"][str(operation.success)]["content"]
    schema = next(iter(content.values()))["schema"]
    named = f": {_type(schema)}" if "$ref" in schema else f" <span class='scope'>{', '.join(content)}</span>"
    parts.append(f"<details><summary>Answer {operation.success}{named}</summary><pre>{_text(shown)}</pre></details>")
    rows = [
        (f"<code>{status}</code>", _problem(answer))
        for status, answer in told["responses"].items()
        if status != str(operation.success)
    ]
    parts.append(f"<details><summary>Errors: {', '.join(map(str, operation.statuses))}</summary>")
    parts.append(f"{_table(('status', 'for example'), rows)}</details>")
    return "".join(parts)


def _problem(answer: Any) -> str:
    return _text(next(iter(answer["content"].values()))["example"]["detail"])


def _curl(operation: Operation) -> str:
    told = document()["paths"][operation.path][operation.method.lower()]
    path = operation.path
    for each in told["parameters"]:
        if each["in"] == "path":
            path = path.replace(f"{{{each['name']}}}", each["example"])
    if "user_id" in operation.query:
        path += "?user_id=user_12345"
    method = "" if operation.method == "GET" else f" -X {operation.method}"
    body = ""
    if operation.example is not None:
        written = json.dumps(operation.example, ensure_ascii=False)
        body = f" \\\n  -H 'Content-Type: application/json' \\\n  -d '{written}'"
    return f"curl -sS{method} 'http://localhost:5001{path}'{body}"


def _schemas() -> str:
    parts = ["<h2 id='schemas'>Schemas</h2>"]
    for name, schema in sorted(document()["components"]["schemas"].items()):
        about = f"<p>{_text(schema['description'])}</p>" if "description" in schema else ""
        parts.append(f"<h4 id='schema-{name}'>{name}</h4>{about}{_members(schema)}")
    return "".join(parts)


def _members(schema: Any) -> str:
    required = schema.get("required", ())
    rows = [
        (
            f"<code>{_text(name)}</code>{' *' if name in required else ''}",
            _type(member),
            _text(member.get("description", "")),
        )
        for name, member in schema.get("properties", {}).items()
    ]
    return _table(("field (* needed)", "type and limits", "meaning"), rows)


def _type(schema: Any) -> str:
    """A schema in few words, with links to those that have a name."""
    if "$ref" in schema:
        name = schema["$ref"].rpartition("/")[2]
        return f"<a href='#schema-{name}'>{name}</a>"
    for word in ("anyOf", "oneOf", "allOf"):
        if word in schema and "properties" not in schema:
            return " or ".join(dict.fromkeys(map(_type, schema[word])))
    if "const" in schema:
        return f"<code>{_text(json.dumps(schema['const']))}</code>"
    if "enum" in schema:
        return " | ".join(f"<code>{_text('null' if each is None else str(each))}</code>" for each in schema["enum"])
    kind = schema.get("type", "anything")
    words = " or ".join(kind) if isinstance(kind, list) else kind
    if "items" in schema:
        words += f" of {_type(schema['items'])}"
    elif isinstance(schema.get("additionalProperties"), dict):
        words += f" of {_type(schema['additionalProperties'])}"
    elif "properties" in schema:
        words += f" {{{', '.join(map(_text, schema['properties']))}}}"
    return words + _limits(schema)


def _limits(schema: Any) -> str:
    signs = {
        "minimum": "≥",
        "exclusiveMinimum": ">",
        "maximum": "≤",
        "exclusiveMaximum": "<",
        "minLength": "length ≥",
        "maxLength": "length ≤",
        "minItems": "entries ≥",
        "maxItems": "entries ≤",
        "format": "",
        "pattern": "like",
        "default": "default",
    }
    return "".join(
        f", {sign} {_text(json.dumps(schema[word], ensure_ascii=False).strip(chr(34)))}"
        for word, sign in signs.items()
        if schema.get(word) is not None
    )


def _errors() -> str:
    parts = ["<h2 id='errors'>Errors</h2><p>As <code>application/problem+json</code> (RFC 9457).</p><dl>"]
    for cls, status in problems.STATUS_OF.items():
        for kind in dict.fromkeys((cls, *_subclasses(cls))):
            anchor = problems.kind_of(kind).partition("#")[2]
            about = _text((kind.__doc__ or "").strip().partition("\n")[0])
            parts.append(f"<dt id='{anchor}'><code>{status} {kind.__name__}</code></dt><dd>{about}</dd>")
    return "".join(parts) + "</dl>"


def _subclasses(cls: type[Exception]) -> list[type[Exception]]:
    return [found for child in cls.__subclasses__() for found in (child, *_subclasses(child))]


def _resolved(schema: Any) -> Any:
    return document()["components"]["schemas"][schema["$ref"].rpartition("/")[2]] if "$ref" in schema else schema


def _anchor(operation: Operation) -> str:
    return operation.key.translate(str.maketrans(" /{}.", "-----")).lower()


def _title(operation: Operation) -> str:
    return f"<code><b class='{operation.method}'>{operation.method}</b> {_text(operation.path)}</code>"


def _table(heads: tuple[str, ...], rows: list[Any]) -> str:
    top = "".join(f"<th>{each}</th>" for each in heads)
    return f"<table><tr>{top}</tr>{''.join(_row(row) for row in rows)}</table>"


def _row(cells: Any) -> str:
    return f"<tr>{''.join(f'<td>{cell}</td>' for cell in cells)}</tr>"


def _text(text: str) -> str:
    return html.escape(text)

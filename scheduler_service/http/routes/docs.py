"""The documentation of the interface: `/openapi.json`, and `/docs` to read and to try it.

The page is Scalar's API reference (`console/vendor`): it searches, sends requests, and shows curl for each of them.
"""

import html
import json
from functools import cache
from typing import Any

from flask import Response

from scheduler_service.http.bodies import json_bytes
from scheduler_service.http.contract import problems
from scheduler_service.http.contract.openapi import document
from scheduler_service.http.contract.operations import Document
from scheduler_service.http.routes import alerts, experiments, models, operations, plan_figures, runs
from scheduler_service.http.services import Services

APIS = (runs.api, plan_figures.api, models.api, experiments.api, operations.api, alerts.api)
"""Everything that is documented, in this order."""
SCALAR = "/console/vendor/scalar-1.46.4/standalone.js"
POLICY = (
    "default-src 'none'; script-src 'self'; style-src 'self' 'unsafe-inline'; img-src 'self' data:; "
    "font-src 'self' data:; connect-src 'self'; base-uri 'none'; form-action 'none'; frame-ancestors 'none'"
)
CONFIGURATION = {
    "agent": {"disabled": True},
    "defaultOpenAllTags": True,
    "hideClientButton": True,
    "mcp": {"disabled": True},
    "showDeveloperTools": "never",
    "telemetry": False,
    "withDefaultFonts": False,
}
"""Without what would send the document to other sites; the policy would stop it, too."""
_PAGE = """<!doctype html>
<html lang="en">
<head><meta charset="utf-8"><meta name="viewport" content="width=device-width"><title>Shutdown scheduler</title>
<link rel="icon" href="/console/icon.svg">
<style>body{margin:0} #errors{font:15px/1.5 system-ui,sans-serif;max-width:60em;margin:3em auto;padding:0 1em}
dt{font-family:ui-monospace,monospace;margin-top:.8em} dt:target{background:#ffef9c}</style></head>
<body>
<script id="api-reference" data-url="/openapi.json"
  data-configuration='CONFIGURATION'></script>
<script src="SCALAR"></script>
<section id="errors"><h2>Errors</h2><p>The <code>type</code> of a problem leads here.</p><dl>ERRORS</dl></section>
</body>
</html>
"""


@operations.api.get("/openapi.json", lane="probing", admission="open")
def get_openapi(parts: Services) -> Document:  # noqa: ARG001
    """This interface as OpenAPI 3.1."""
    return Response(_document_bytes(), mimetype="application/json")  # type: ignore[return-value]


@operations.api.get("/docs", lane="probing", admission="open", media=("text/html",))
def get_docs(parts: Services) -> Response:  # noqa: ARG001
    """This page."""
    answer = Response(_page(), content_type="text/html; charset=utf-8")
    answer.headers["Content-Security-Policy"] = POLICY
    return answer


@cache
def whole_document() -> Any:
    """The document of all of `APIS`."""
    return document(APIS)


@cache
def _document_bytes() -> bytes:
    return json_bytes(whole_document())


@cache
def _page() -> str:
    errors = "".join(
        f'<dt id="{problems.kind_of(cls).partition("#")[2]}">{problems.status_of(cls)} {cls.__name__}</dt>'
        f"<dd>{html.escape(problems.meaning_of(cls))}</dd>"
        for cls in problems.classes()
    )
    configuration = html.escape(json.dumps(CONFIGURATION))
    return _PAGE.replace("SCALAR", SCALAR).replace("CONFIGURATION", configuration).replace("ERRORS", errors)


CONTRACTS = [contract for api in APIS for contract in api.contracts]
"""Of every route that is documented."""

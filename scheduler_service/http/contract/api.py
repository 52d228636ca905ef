"""Routes are declared where they are handled.

    @models.post("/models/rollback", scope="admin", raises=(ModelNotFound, Conflict))
    def roll_back(parts: Services, body: RollbackRequest) -> ModelChangedAnswer:
        \"""Return to the version that was stable before.\"""

The view, the guards and OpenAPI are made from the decorator and the annotations: `parts` are the service's parts,
`query` and `body` are read from the request, other arguments from its path, and the annotation of the result is the
schema of the answer. The function runs on the threads of its `lane`.
"""

import inspect
import re
from collections.abc import Callable, Mapping, Sequence
from typing import Any, TypeVar, get_type_hints

from flask import Blueprint, Response, request
from pydantic import BaseModel

from scheduler_service.http.bodies import json_bytes, read_body, read_query
from scheduler_service.http.contract.contract import Admission, Contract, Lane
from scheduler_service.http.server.offload import HAS_CLIENT_LEFT
from scheduler_service.http.services import services
from scheduler_service.keys import Scope

Handler = TypeVar("Handler", bound=Callable[..., Any])


class Api:
    """The routes of one subject, which is their tag in OpenAPI."""

    def __init__(self, tag: str, about: str = "") -> None:
        self.tag, self.about = tag, about
        self.contracts: list[Contract] = []
        self.blueprint = Blueprint(tag, __name__)

    def get(self, path: str, **declared: Any) -> Callable[[Handler], Handler]:
        return self.route("GET", path, **({"scope": "read"} | declared))

    def post(self, path: str, **declared: Any) -> Callable[[Handler], Handler]:
        return self.route("POST", path, **declared)

    def put(self, path: str, **declared: Any) -> Callable[[Handler], Handler]:
        return self.route("PUT", path, **declared)

    def delete(self, path: str, **declared: Any) -> Callable[[Handler], Handler]:
        return self.route("DELETE", path, **declared)

    def route(
        self,
        method: str,
        path: str,
        *,
        scope: Scope | None = "admin",
        lane: Lane | None = "storage",
        raises: Sequence[type[Exception]] = (),
        body: type[BaseModel] | None = None,
        success: int = 200,
        is_body_optional: bool = False,
        table: str = "",
        media: Sequence[str] = (),
        admission: Admission = "keyed",
    ) -> Callable[[Handler], Handler]:
        """Declare the route that the decorated function handles.

        Args:
            path: as in OpenAPI: /models/{name}.
            scope: that a key needs, where keys are needed.
            lane: the threads that it runs on; None: the event loop.
            raises: what it may raise beside what reading the request, the guards and the lane raise.
            body: what the body holds, where the function reads it itself.
            is_body_optional: whether an absent body counts as `{}`.
            table: an example of the CSV that it also takes.
            media: media types of an answer that is not JSON; the function returns a `Response`.
            admission: who is let in.
        """

        def declare(handler: Handler) -> Handler:
            types: Mapping[str, Any] = get_type_hints(handler, include_extras=True)
            summary, _, details = (inspect.getdoc(handler) or "").partition("\n")
            contract = Contract(
                method=method,
                path=path,
                tag=self.tag,
                summary=summary.rstrip("."),
                details=details.strip(),
                handler=handler,
                path_types={name: types[name] for name in re.findall(r"{(?:path:)?(\w+)}", path)},
                query=types.get("query"),
                body=body or types.get("body"),
                is_body_read=body is None,
                is_body_optional=is_body_optional,
                table=table,
                answer=None if media else types["return"],
                media=media,
                success=success,
                raises=raises,
                lane=lane,
                scope=scope if admission == "keyed" else None,
                admission=admission,
            )
            self.contracts.append(contract)
            rule = path.translate(str.maketrans("{}", "<>"))
            self.blueprint.add_url_rule(rule, contract.operation_id, Endpoint(contract), methods=[method])
            return handler

        return declare


def success(**members: Any) -> Any:
    """An answer with the status `success`."""
    return {"status": "success", **members}


class Endpoint:
    """A handler as Flask calls it."""

    def __init__(self, contract: Contract) -> None:
        self.contract = contract

    def __call__(self, **arguments: Any) -> Response:
        contract, parts = self.contract, services()
        query = read_query(contract.query) if contract.admission != "page" else None
        if query is not None:
            arguments["query"] = query
        if contract.body is not None and contract.is_body_read:
            arguments["body"] = read_body(contract.body, parts.reading, is_optional=contract.is_body_optional)
        answer = self._handled(arguments | {"parts": parts})
        if isinstance(answer, Response):
            return answer
        return Response(json_bytes(answer), contract.success, mimetype="application/json")

    def _handled(self, arguments: dict[str, Any]) -> Any:
        handler, lane = self.contract.handler, self.contract.lane
        if lane is None:
            return handler(**arguments)
        # A report takes seconds and changes nothing that its client would ask for later.
        is_gone = request.environ.get(HAS_CLIENT_LEFT) if lane == "reporting" else None
        return getattr(arguments["parts"], lane).run(lambda: handler(**arguments), is_gone=is_gone)

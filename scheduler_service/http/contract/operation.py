"""A row of the table of routes."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field

from pydantic import BaseModel

from scheduler_service.keys import Scope


@dataclass(frozen=True, slots=True)
class Operation:
    """A row of the table: what a route takes and answers."""

    method: str
    path: str  # as in OpenAPI: /models/{name}
    tag: str
    summary: str
    body: type[BaseModel] | None = None
    is_body_optional: bool = False
    table: str = ""  # an example of the CSV that it takes, too
    query: Sequence[str] = ()  # names in QUERY
    answer: str = "DoneAnswer"  # name of a component schema, or media types
    success: int = 200
    errors: Sequence[int] = ()
    example: object = None
    more_examples: Mapping[str, object] = field(default_factory=dict)
    scope: Scope | None = None  # that a key needs, where keys are needed
    is_probe: bool = False  # never told to come back later

    @property
    def statuses(self) -> tuple[int, ...]:
        """Every error that it may answer."""
        guarded = (401, 403) if self.scope else ()
        return tuple(sorted({*self.errors, *guarded, 422, *(() if self.is_probe else (429,)), 500}))

    @property
    def key(self) -> str:
        return f"{self.method} {self.path}"

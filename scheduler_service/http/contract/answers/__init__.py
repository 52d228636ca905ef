"""What every answer holds, as JSON Schema: the components that `openapi` refers to.

Answers may get further members, so none of these schemas forbids any. `examples.json` has an answer of each kind that
a service gave; a test holds them, and what a running service answers, against these schemas.
"""

from scheduler_service.http.contract.answers.experiments import EXPERIMENTS
from scheduler_service.http.contract.answers.models import MODELS
from scheduler_service.http.contract.answers.operations import OPERATIONS
from scheduler_service.http.contract.answers.runs import RUNS
from scheduler_service.http.contract.answers.words import Schema

ANSWERS: dict[str, Schema] = RUNS | MODELS | EXPERIMENTS | OPERATIONS

"""The errors of the service: one class hierarchy.

The domain does not depend on HTTP: `scheduler_service.http.contract.problems` maps each class to a status.
"""

from pathlib import Path
from typing import Any

from scheduler_env.errors import CodedError, Loc
from scheduler_env.validation import invalid_in
from scheduler_service.words import WORDS


class ServiceError(CodedError):
    """The root; its text names the object, the value and the remedy, and may be shown to a client."""

    words = WORDS


class InvalidInput(ServiceError):
    """The input is well-formed but invalid; `loc` and `more` give the location."""

    @property
    def errors(self) -> list[tuple[Loc, str]]:
        """(location, text) of each mistake."""
        return [(each.loc, each.text()) for each in self.each]


invalid = invalid_in(WORDS)
"""Makes an error for pydantic validators to raise; `scheduler_env.validation.refusal` converts it."""


class NotFound(ServiceError):
    """There is no object with this name."""


class Conflict(ServiceError):
    """The request is valid, but the current state does not allow it."""


class StorageUnavailable(ServiceError):
    """A file or the database cannot be read or written now; trying again later may help."""


class LeaseLost(StorageUnavailable):
    """Another process has taken over; nothing was changed, and it does what this one would have done."""


class MustBeMended(StorageUnavailable):
    """A file is invalid, and a person has to repair it; trying again does not help before."""


def cannot_read(path: Path, err: OSError) -> StorageUnavailable:
    """The error to raise from `err`."""
    return StorageUnavailable("cannot_read", path=str(path), reason=err.strerror or str(err))


def cannot_write(path: Path, err: OSError) -> StorageUnavailable:
    """The error to raise from `err`."""
    return StorageUnavailable("cannot_write", path=str(path), reason=err.strerror or str(err))


class Overloaded(ServiceError):
    """More work than the service can accept; try again after `retry_after_s`."""

    def __init__(self, code: str, /, *, retry_after_s: int = 1, **params: Any) -> None:
        super().__init__(code, **params)
        self.retry_after_s = retry_after_s


class ClientGone(Exception):
    """The client has disconnected; the work was dropped."""


# --- models ---


class ModelNotFound(NotFound):
    """No registered model has this key, short name or tag."""


class AmbiguousModelName(Conflict):
    """The name matches several models; the message lists them."""


class ModelConflict(Conflict):
    """The version already exists, or the model is in use and cannot be deleted."""


class InvalidTransition(Conflict):
    """The model's lifecycle does not allow this transition."""


class InvalidModel(InvalidInput):
    """The weights cannot be trusted or used: wrong format, features, shape, or not finite."""


class ForbiddenPath(InvalidInput):
    """The path is outside the folders from which models may be registered."""


# --- experiments ---


class ExperimentNotFound(NotFound):
    """No experiment has this name."""


class ExperimentConflict(Conflict):
    """The experiment already exists, or its status does not allow this."""


class ConsentNeeded(Conflict):
    """The results are against the promotion, and the request does not confirm it."""


class InvalidExperiment(InvalidInput):
    """The definition of the experiment is invalid: splits, models, durations."""


class NothingToReplay(Conflict):
    """There is no recorded request that could be replayed."""


class ReplayNotFound(NotFound):
    """The experiment has not been replayed."""


# --- records and reports ---


class DatabaseDamaged(StorageUnavailable):
    """The database file is damaged; `python -m monitoring repair` saves the readable records."""


class RunNotFound(NotFound):
    """No recorded run has this request id."""


class AlertNotFound(NotFound):
    """No alert or active silence has this id."""


class ReportNotFound(NotFound):
    """No report has this name."""


# --- plans ---


class PlanNotFound(NotFound):
    """No plan, or no version of it, has this name or number."""


class PlanConflict(Conflict):
    """The plan exists already, or somebody else has changed it meanwhile."""


# --- alerts ---


class DeliveryFailed(ServiceError):
    """A channel did not accept a notice; the text has no secrets. `is_final`: sending again does not help."""

    def __init__(
        self, code: str, /, *, is_final: bool = False, retry_after_s: float | None = None, **params: Any
    ) -> None:
        super().__init__(code, **params)
        self.is_final = is_final
        self.retry_after_s = retry_after_s

"""What can go wrong in the service: one tree, named for what went wrong.

The domain never knows HTTP; `scheduler_service.http.contract.problems` maps each class to a status in one table.
"""

from pathlib import Path
from typing import Any

from scheduler_env.errors import CodedError, Loc
from scheduler_service.words import WORDS


class ServiceError(CodedError):
    """The root; its text names the thing, the value and the remedy, and may be shown to a client."""

    words = WORDS


class InvalidInput(ServiceError):
    """Well-formed, but not acceptable; `loc` and `more` say where."""

    @property
    def errors(self) -> list[tuple[Loc, str]]:
        """Where each mistake is, and its text."""
        return [(each.loc, each.text()) for each in self.each]


class NotFound(ServiceError):
    """A name that nothing bears."""


class Conflict(ServiceError):
    """The request is valid, but the present state does not allow it."""


class StorageUnavailable(ServiceError):
    """A file or the database cannot be read or written now; trying again later may help."""


class MustBeMended(StorageUnavailable):
    """A file is broken, and a person has to mend it first: trying again is of no use before."""


def cannot_read(path: Path, err: OSError) -> StorageUnavailable:
    """The error to raise from `err`."""
    return StorageUnavailable("cannot_read", path=str(path), reason=err.strerror or str(err))


def cannot_write(path: Path, err: OSError) -> StorageUnavailable:
    """The error to raise from `err`."""
    return StorageUnavailable("cannot_write", path=str(path), reason=err.strerror or str(err))


class Overloaded(ServiceError):
    """More work than the service takes on; `retry_after_s` says when to come back."""

    def __init__(self, code: str, /, *, retry_after_s: int = 1, **params: Any) -> None:
        super().__init__(code, **params)
        self.retry_after_s = retry_after_s


class ClientGone(Exception):
    """Nobody waits for the answer any more; the work was dropped."""


# --- models ---


class ModelNotFound(NotFound):
    """No registered model bears this key, short name or tag."""


class AmbiguousModelName(Conflict):
    """A short name fits several models; the message lists them."""


class ModelConflict(Conflict):
    """The version exists already, or the model is in use and cannot go."""


class InvalidTransition(Conflict):
    """The model's lifecycle does not allow this move."""


class InvalidModel(InvalidInput):
    """The weights cannot be trusted or used: wrong format, features, shape, or not finite."""


class ForbiddenPath(InvalidInput):
    """The path is outside the folders that models may be registered from."""


# --- experiments ---


class ExperimentNotFound(NotFound):
    """No experiment bears this name."""


class ExperimentConflict(Conflict):
    """The experiment exists already, or its status does not allow this."""


class ConsentNeeded(Conflict):
    """Figures speak against the promotion, and nobody said that it is wanted all the same."""


class InvalidExperiment(InvalidInput):
    """The experiment's definition cannot work: splits, models, durations."""


class NothingToReplay(Conflict):
    """No request is recorded that could be run again."""


class ReplayNotFound(NotFound):
    """The experiment has not been replayed."""


# --- records and reports ---


class DatabaseDamaged(StorageUnavailable):
    """The file of the records holds what cannot be read; `python -m monitoring repair` saves what is left."""


class RunNotFound(NotFound):
    """No recorded run has this request id."""


class AlertNotFound(NotFound):
    """No alert or silence in force has this id."""


class ReportNotFound(NotFound):
    """No report has this name."""


# --- alerts ---


class DeliveryFailed(ServiceError):
    """A channel did not take a notice; the text holds no secret. `is_final`: to send it again cannot help."""

    def __init__(
        self, code: str, /, *, is_final: bool = False, retry_after_s: float | None = None, **params: Any
    ) -> None:
        super().__init__(code, **params)
        self.is_final = is_final
        self.retry_after_s = retry_after_s

"""What may be done with a model now, and what would follow: for whoever decides it, before anything is changed."""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import asdict, dataclass, replace
from typing import Any

from scheduler_service.errors import InvalidModel, InvalidTransition, ModelConflict, ServiceError
from scheduler_service.registry.index import Index
from scheduler_service.registry.moves import check_deletion, check_deployment, check_promotion, rollback_target
from scheduler_service.registry.names import STABLE
from scheduler_service.registry.records import ModelRecord, Status
from scheduler_service.registry.store import Store
from scheduler_service.registry.usage import User

PROMOTIONS: tuple[Status, ...] = ("validated", "deployed", "retired")


@dataclass(frozen=True, slots=True)
class Outlook:
    """The moves that a model may make, and what hangs on them. The next change may make it untrue."""

    model_key: str
    refusals: Mapping[
        str, ServiceError | None
    ]  # move (of PROMOTIONS, default, deleted) -> why not; None: it may be made
    used_by: Sequence[User]  # who needs this model, whatever name they call it by
    stable: str | None  # the key of its algorithm's live version
    follows_stable: Sequence[User]  # who calls that one by its tag, and so gets another one when the tag moves
    rollback_to: str | None  # the key of the version that a rollback of its algorithm would return to

    def to_dict(self) -> dict[str, Any]:
        """JSON-able; `reasons` has the codes of `refusals`."""
        found = self.refusals.items()
        return asdict(replace(self, refusals={})) | {
            "refusals": {move: err and str(err) for move, err in found},
            "reasons": {move: err and {"code": err.code, "params": err.params} for move, err in found},
        }


def look_ahead(store: Store, index: Index, record: ModelRecord, in_use: Mapping[str, Sequence[User]]) -> Outlook:
    """The outlook of a model; its weights are read when only they can say whether it may be deployed.

    Args:
        in_use: as `models_in_use` answers it.
    """
    tag = f"{record.algorithm}:{STABLE}"
    stable = index.tags.get(tag)

    # Asked for the status it has, a model stays as it is, unless it was never measured, or is not the live one.
    is_reached = {
        "validated": record.status == "validated" and bool(record.validation),
        "deployed": record.status == "deployed" and record.model_key == stable,
        "retired": record.status == "retired",
    }

    def refusal(status: Status) -> ServiceError | None:
        if is_reached[status]:
            return InvalidTransition("model_has_status", model=record.model_key, status=status)
        return _refusal(lambda: check_promotion(store, record, status))

    names = (tag, STABLE)
    return Outlook(
        model_key=record.model_key,
        refusals={
            **{status: refusal(status) for status in PROMOTIONS},
            "default": _refusal_as_default(store, record, in_use),
            "deleted": _refusal(lambda: check_deletion(record, in_use)),
        },
        used_by=tuple(in_use.get(record.model_key, ())),
        stable=stable,
        follows_stable=tuple(user for user in in_use.get(stable or "", ()) if user.named in names),
        rollback_to=rollback_target(store, index, record.algorithm) if stable else None,
    )


def _refusal_as_default(store: Store, record: ModelRecord, in_use: Mapping[str, Sequence[User]]) -> ServiceError | None:
    if any(user.role == "default" for user in in_use.get(record.model_key, ())):
        return InvalidTransition("model_is_default", model=record.model_key)
    return _refusal(lambda: check_deployment(store, record))


def _refusal(check: Callable[[], None]) -> ServiceError | None:
    try:
        check()
    except (InvalidTransition, InvalidModel, ModelConflict) as err:
        return err
    return None

"""The possible changes of a model and their effects, for the decision before a change."""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import asdict, dataclass, replace
from typing import Any

from scheduler_service.errors import InvalidModel, InvalidTransition, ModelConflict, ServiceError
from scheduler_service.registry.index import Index
from scheduler_service.registry.moves import check_deletion, check_deployment, check_promotion, rollback_target
from scheduler_service.registry.names import STABLE
from scheduler_service.registry.records import ModelRecord, Status
from scheduler_service.registry.store import RegistryStore
from scheduler_service.registry.usage import ModelUse

PROMOTIONS: tuple[Status, ...] = ("validated", "deployed", "retired")


@dataclass(frozen=True, slots=True)
class Outlook:
    """The possible changes of a model and their effects; valid until the next change."""

    model_key: str
    refusals: Mapping[
        str, ServiceError | None
    ]  # PROMOTIONS, default, deleted -> reason against it; None: it is allowed
    used_by: Sequence[ModelUse]  # users of this model, by any of its names
    stable: str | None  # the key of its algorithm's live version
    follows_stable: Sequence[ModelUse]  # users of the tag, who get another model when the tag moves
    rollback_to: str | None  # the target of a rollback of its algorithm

    def to_dict(self) -> dict[str, Any]:
        """JSON-able; `reasons` has the codes of `refusals`."""
        found = self.refusals.items()
        return asdict(replace(self, refusals={})) | {
            "refusals": {move: err and str(err) for move, err in found},
            "reasons": {move: err and err.to_dict() for move, err in found},
        }


def outlook_of(
    store: RegistryStore, index: Index, record: ModelRecord, in_use: Mapping[str, Sequence[ModelUse]]
) -> Outlook:
    """The outlook of a model; reads its weights if nothing else prevents its deployment.

    Args:
        in_use: from `models_in_use`.
    """
    tag = f"{record.algorithm}:{STABLE}"
    stable = index.tags.get(tag)

    # A promotion to the current status has no effect, unless the model was never measured or is not live.
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
        follows_stable=tuple(use for use in in_use.get(stable or "", ()) if use.named in names),
        rollback_to=rollback_target(store, index, record.algorithm) if stable else None,
    )


def _refusal_as_default(
    store: RegistryStore, record: ModelRecord, in_use: Mapping[str, Sequence[ModelUse]]
) -> ServiceError | None:
    if any(use.role == "default" for use in in_use.get(record.model_key, ())):
        return InvalidTransition("model_is_default", model=record.model_key)
    return _refusal(lambda: check_deployment(store, record))


def _refusal(check: Callable[[], None]) -> ServiceError | None:
    try:
        check()
    except (InvalidTransition, InvalidModel, ModelConflict) as err:
        return err
    return None

"""Changes of models: checks of promotions and deletions, rollback, deletion, tags."""

import logging
from collections.abc import Mapping, Sequence
from dataclasses import replace
from typing import Any

from scheduler_env.errors import CodedError
from scheduler_env.values import shortened
from scheduler_service.clock import Clock, to_iso
from scheduler_service.errors import InvalidModel, InvalidTransition, ModelConflict, ModelNotFound
from scheduler_service.lease import Lease
from scheduler_service.registry.examination import examine
from scheduler_service.registry.history import EventKind, previous_target
from scheduler_service.registry.index import Index
from scheduler_service.registry.loading import check_weights
from scheduler_service.registry.names import LATEST, STABLE
from scheduler_service.registry.records import MOVES, ModelRecord, Status, check_move, check_text
from scheduler_service.registry.store import RegistryChange, RegistryStore
from scheduler_service.registry.usage import ModelUse, Role
from scheduler_service.registry.validation import check_validated
from scheduler_service.store.change import Change

logger = logging.getLogger(__name__)

USED_BY: Mapping[Role, str] = {
    "default": "used_as_default",
    "experiment": "used_by_experiment",
    "way_back": "used_as_way_back",
}
"""Role of a model in use -> code of the refusal to delete it."""


def check_deployment(store: RegistryStore, record: ModelRecord) -> None:
    """Check that the model can be deployed.

    Raises:
        InvalidTransition: its status does not allow it, or it was never measured.
        InvalidModel: its weights are missing or damaged.
    """
    if record.status != "deployed":
        check_move(record, "deployed")
    check_weights(record, store.weights_file(record.model_key))
    if not record.validation:
        raise InvalidTransition("never_validated", model=record.model_key)


def check_promotion(store: RegistryStore, record: ModelRecord, status: Status) -> None:
    """Check that the model can be promoted to `status`, or has it; the measurement may still refuse it.

    Raises:
        InvalidTransition: its status does not allow it, it was never measured, or a stable model would be retired.
        InvalidModel: for a deployment, its weights are missing or damaged.
    """
    if status == "deployed":
        check_deployment(store, record)
    elif status != record.status:
        check_move(record, status)
    if status == "retired" and STABLE in record.tags:
        raise InvalidTransition("model_is_stable", model=record.model_key)


def promote(
    store: RegistryStore,
    clock: Clock,
    key: str,
    status: Status,
    measured: Mapping[str, Any],
    actor: str,
    reason: str | CodedError,
    within: Change | None,
) -> None:
    """Give a model the status `status`; deploying also moves the tag `stable`. Nothing changes if it has both already.

    Args:
        measured: the result of a validation that was just made; else empty.
        within: a change of the store, with which this one is committed.

    Raises:
        InvalidTransition, InvalidModel: as `check_promotion`.
    """
    with store.changing(within) as change:
        record = change.index.records[change.index.resolve(key)]
        if status == record.status and not measured and (status != "deployed" or STABLE in record.tags):
            return
        check_promotion(store, record, status)
        moved = replace(with_status(record, status, clock), validation=measured or record.validation)
        change.commit(
            "promoted",
            key,
            records={key: moved},
            tags={f"{record.algorithm}:{STABLE}": key} if status == "deployed" else {},
            actor=actor,
            reason=reason,
            details={"validation": measured} if measured else {},
        )


def validate(store: RegistryStore, clock: Clock, record: ModelRecord, actor: str) -> dict[str, Any]:
    """Measure the model on the validation set; empty if it is already validated, or cannot become so.

    Raises:
        InvalidInput: `actor` is not a text that can be stored.
        InvalidModel: it fails, or is no better than a simple rule; recorded in the history.
    """
    check_text("actor", actor)
    is_valid = record.status == "validated"
    if (is_valid and record.validation) or not (is_valid or "validated" in MOVES[record.status]):
        return {}
    weights = store.weights_file(record.model_key)
    check_weights(record, weights)
    measured = examine(record.algorithm, weights).verified_metrics
    try:
        check_validated(record.model_key, measured)
    except InvalidModel as err:
        record_refusal(store, record.model_key, err, actor, measured)
        raise
    return {**measured, "measured_at": to_iso(clock())}


def check_deletion(record: ModelRecord, in_use: Mapping[str, Sequence[ModelUse]]) -> None:
    """Check that the model can be deleted.

    Args:
        in_use: from `models_in_use`.

    Raises:
        ModelConflict: it is deployed, has a tag other than `latest`, or is in use.
    """
    held = [tag for tag in record.tags if tag != LATEST]
    if STABLE in held:
        raise ModelConflict("model_is_stable", model=record.model_key)
    if held:
        raise ModelConflict("model_has_tags", model=record.model_key, tags=held)
    if record.status == "deployed":
        raise ModelConflict("model_is_deployed", model=record.model_key)
    if uses := in_use.get(record.model_key):
        raise ModelConflict(USED_BY[uses[-1].role], model=record.model_key, experiment=uses[-1].experiment)


def roll_back(
    store: RegistryStore,
    clock: Clock,
    algorithm: str,
    reason: str | CodedError,
    actor: str,
    *,
    details: Mapping[str, Any] | None = None,
    only_from: str | None = None,
    within: Change | None = None,
    lease: Lease | None = None,
) -> str:
    """Make the previous stable version stable again; the version it replaces becomes `validated`. Returns the key.

    Args:
        only_from: the rollback is refused if another model is live.
        within: a change of the store, with which this one is committed.
        lease: the rollback rests on it; as in `Store.changing`.

    Raises:
        ModelNotFound: the algorithm has no stable version.
        ModelConflict: no earlier version still exists, or `only_from` is not live.
        LeaseLost: nothing was changed.
    """
    stable = f"{algorithm}:{STABLE}"
    with store.changing(within, lease) as change:
        index = change.index
        if stable not in index.tags:
            raise ModelNotFound("no_stable_version", algorithm=shortened(algorithm)[1:-1])
        left = index.records[index.tags[stable]]
        if only_from not in (None, left.model_key):
            raise ModelConflict("another_is_live", model=left.model_key, expected=only_from)
        target = rollback_target(store, index, algorithm)
        if target is None:
            raise ModelConflict("no_earlier_version", algorithm=algorithm, model=left.model_key)
        change.commit(
            "rolled_back",
            target,
            records={
                left.model_key: with_status(left, "validated", clock),
                target: with_status(index.records[target], "deployed", clock),
            },
            tags={stable: target},
            actor=actor,
            reason=reason,
            details=details,
        )
    logger.warning("%s rolled back from %s to %s: %s", algorithm, left.model_key, target, reason)
    return target


def rollback_target(store: RegistryStore, index: Index, algorithm: str) -> str | None:
    """The previous stable version with intact weights; a retired one only if there is no other."""
    stable = f"{algorithm}:{STABLE}"
    events = store.history.lines()
    in_use = {key for key, record in index.records.items() if record.status != "retired"}
    for usable in (in_use, set(index.records)):
        while target := previous_target(events, stable, usable):
            if _is_intact(store, index.records[target]):
                return target
            usable.discard(target)
    return None


def _is_intact(store: RegistryStore, record: ModelRecord) -> bool:
    """Whether a model's weights are the registered ones; if not, logs that the model is skipped."""
    try:
        check_weights(record, store.weights_file(record.model_key))
    except InvalidModel as err:
        logger.warning("skipped when rolling back: %s", err)
        return False
    return True


def commit_deletion(change: RegistryChange, record: ModelRecord, actor: str, reason: str | CodedError) -> None:
    """Delete a model; `latest` moves to the newest remaining model, other tags are removed."""
    others = [other for other in change.index.of_algorithm(record.algorithm) if other.model_key != record.model_key]
    newest = others[0].model_key if others else None
    change.commit(
        "deleted",
        record.model_key,
        records={record.model_key: None},
        tags={f"{record.algorithm}:{tag}": newest if tag == LATEST else None for tag in record.tags},
        actor=actor,
        reason=reason,
    )


def commit_tag(
    change: RegistryChange, event: EventKind, full_tag: str, key: str | None, actor: str, reason: str
) -> None:
    """Move a tag to `key`; None removes the tag."""
    change.commit(
        event,
        key or change.index.tags[full_tag],
        tags={full_tag: key},
        actor=actor,
        reason=reason,
    )


def record_refusal(
    store: RegistryStore, model_key: str, reason: InvalidModel, actor: str, measured: Mapping[str, Any]
) -> None:
    """Record in the history that the model failed validation, and why; nothing else changes."""
    with store.changing() as change:
        change.commit("refused", model_key, actor=actor, reason=reason, details={"validation": measured})


def note_default(store: RegistryStore, change: Mapping[str, Any], within: Change | None) -> None:
    """Record a change of the default model in the history.

    Args:
        change: from `ab_test_config.json`: id, time, before, after, actor, reason; `code` and `params` of the reason if
            an experiment made the change.
    """
    with store.changing(within) as whole:
        whole.commit(
            "made_default",
            whole.index.resolve_oldest(change["after"]),
            actor=change["actor"],
            reason=change["reason"],
            details={
                "id": change["id"],
                "named": change["after"],
                "before": whole.index.find(change["before"]) or change["before"],
                **{name: change[name] for name in ("code", "params") if name in change},
            },
        )


def with_status(record: ModelRecord, status: Status, clock: Clock) -> ModelRecord:
    return replace(record, status=status, status_since=to_iso(clock()))

"""Registration of a weights file as a model."""

import json
import logging
from collections.abc import Callable
from pathlib import Path
from typing import BinaryIO

from scheduler_service.clock import Clock, to_iso
from scheduler_service.errors import ServiceError
from scheduler_service.registry.examination import Examination
from scheduler_service.registry.history import used_versions
from scheduler_service.registry.names import LATEST, choose_version, hash_of_config, key_of
from scheduler_service.registry.records import ModelRecord
from scheduler_service.registry.registration import Draft, full_lineage, same_model, seed_draft, seed_may_have_tag
from scheduler_service.registry.store import RegistryStore
from scheduler_service.registry.validation import check_validated
from scheduler_service.registry.weights import copied

logger = logging.getLogger(__name__)


def register_weights(
    store: RegistryStore,
    clock: Clock,
    source: BinaryIO,
    draft: Draft,
    examine: Callable[[str, Path], Examination],
    *,
    is_seed: bool = False,
) -> tuple[str, bool]:
    """Copy the weights, examine them, and register them under the next version; returns (key, whether it is new).

    The examination runs without the registry's lock; only the registration takes it.

    Raises:
        InvalidModel, ModelConflict, ModelNotFound, StorageUnavailable: see `ModelVersionManager.register_model`.
    """
    with copied(source, store.incoming) as weights:
        index = store.index()
        existing = same_model(index, draft, weights.sha256)
        if existing is not None:
            return existing, False
        if parent := draft.lineage.get("parent"):
            parent = index.resolve(parent)
        found = examine(draft.algorithm, weights.path)
        with store.changing() as change:
            index = change.index
            existing = same_model(index, draft, weights.sha256)  # another process may have registered it meanwhile
            if existing is not None:
                return existing, False
            config_hash = hash_of_config(draft.training_params)
            used = used_versions(store.history.lines(), draft.algorithm) | {
                (record.config_hash, record.parsed_version) for record in index.of_algorithm(draft.algorithm)
            }
            version = choose_version(used, config_hash, draft.version, draft.bump)
            key = key_of(draft.algorithm, config_hash, version)
            if draft.status != "registered":
                check_validated(key, found.verified_metrics)
            now = to_iso(clock())
            record = ModelRecord(
                model_key=key,
                algorithm=draft.algorithm,
                version=str(version),
                status=draft.status,
                performance=draft.performance,
                created_at=now,
                created_by=draft.created_by,
                description=draft.description,
                training_params=draft.training_params,
                sha256=weights.sha256,
                size_bytes=weights.size_bytes,
                signature=found.signature,
                status_since=now,
                verified_metrics=found.verified_metrics,
                validation={} if draft.status == "registered" else {**found.verified_metrics, "measured_at": now},
                lineage=full_lineage(draft, parent, found.training),
            )
            tags = [tag for tag in (LATEST, *draft.tags) if not is_seed or seed_may_have_tag(index, record, tag)]
            change.commit(
                "registered",
                key,
                records={key: record},
                weights={key: weights.path},
                tags={f"{draft.algorithm}:{tag}": key for tag in tags},
                actor=draft.created_by,
                reason=ServiceError("shipped") if is_seed else draft.description,
                details={"sha256": weights.sha256, "flags": [flag.message for flag in record.flags]},
            )
    logger.info("model %s registered by %s", key, draft.created_by or "unknown")
    for flag in record.flags:
        logger.warning("model %s: %s", key, flag.message)
    return key, True


def missing_seeds(store: RegistryStore, seed_dir: Path) -> list[tuple[Draft, Path]]:
    """(registration, weights file) of each shipped model that was never in this registry, lower versions first.

    A seed is `<name>.pth` with `<name>.json` next to it; a deleted one is not missing. A broken card is logged and
    skipped.
    """
    seeds = []
    for card in sorted(seed_dir.glob("*.json")):
        try:
            seeds.append((seed_draft(json.loads(card.read_bytes())), card.with_suffix(".pth")))
        except (OSError, ValueError, KeyError, TypeError, ServiceError) as err:
            logger.error("the seed model %s is skipped: %s: %s", card, type(err).__name__, err)
    events = store.history.lines()
    return [
        (draft, path)
        for draft, path in sorted(seeds, key=lambda seed: (seed[0].algorithm, seed[0].version))
        if (hash_of_config(draft.training_params), draft.version) not in used_versions(events, draft.algorithm)
    ]

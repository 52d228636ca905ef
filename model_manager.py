"""The model registry: versions, the live version, and rollback."""

import logging
import sys
from collections.abc import Mapping, Sequence
from datetime import datetime, timedelta
from pathlib import Path
from typing import TYPE_CHECKING, Any, BinaryIO

from scheduler_service.clock import Clock, utc_now
from scheduler_service.errors import InvalidInput, ModelConflict, ServiceError, StorageUnavailable
from scheduler_service.experiments.config import ConfigFile
from scheduler_service.lease import Lease
from scheduler_service.registry.degradation import drop_of_live_model
from scheduler_service.registry.examination import examine, examine_in_process
from scheduler_service.registry.history import Event, LiveModel, is_cooling_down, live_at
from scheduler_service.registry.index import Index
from scheduler_service.registry.intake import missing_seeds, register_weights
from scheduler_service.registry.loading import LoadedModel, LoadedModels
from scheduler_service.registry.moves import (
    check_deletion,
    check_deployment,
    commit_deletion,
    commit_tag,
    note_default,
    promote,
    roll_back,
    validate,
)
from scheduler_service.registry.names import STABLE, Bump, split_tag
from scheduler_service.registry.outlook import Outlook, outlook_of
from scheduler_service.registry.records import ModelRecord, check_status
from scheduler_service.registry.registration import Draft, new_draft
from scheduler_service.registry.retention import expired
from scheduler_service.registry.store import RegistryStore
from scheduler_service.registry.usage import ModelUse, models_in_use
from scheduler_service.registry.weights import open_weights
from scheduler_service.store.change import Change, Store
from scheduler_service.store.folder import FolderStore
from scheduler_service.store.opening import store_for

if TYPE_CHECKING:
    import pandas as pd

__all__ = [
    "AUTO_CLEANUP_ENABLED", "METADATA_RETENTION_DAYS", "MODEL_BASE_PATH",
    "LoadedModel", "ModelRecord", "ModelVersionManager",
]  # fmt: skip

logger = logging.getLogger(__name__)

MODEL_BASE_PATH = "./models"
"""The folder of the models; a relative path is relative to SCHED_HOME."""
METADATA_RETENTION_DAYS = 365
"""A cleanup removes models that have been retired, or not validated, for longer."""
AUTO_CLEANUP_ENABLED = True
"""Whether each registration is followed by a cleanup."""
KEEP_LAST_VERSIONS = 5
"""A cleanup never removes this many newest versions of each algorithm."""

TRASH_RETENTION_DAYS = 30
"""How long files of deleted models are kept in `.trash/`."""
MAX_LOADED_MODELS = 8
"""Capacity of the cache of loaded models; the least recently used one is evicted."""
AUTO_ROLLBACK = "auto-rollback"
"""The actor of automatic rollbacks in the history."""


class ModelVersionManager:
    """The models of one folder. Several threads and processes may use the same folder concurrently.

    Every name argument accepts a key, a short name or a tag (`scheduler_service.registry.names`). Each change is
    written to `history.jsonl`, with its author (`actor`) and `reason`.

    Args:
        base_path: the folder, created if missing; by default `MODEL_BASE_PATH` below SCHED_HOME.
        store: where the registry and the experiments are; by default the folder that contains `base_path`.
        allowed_sources: `register_model` reads only from these folders and follows no link below them. Relative paths
            are relative to the first one. None: any file, relative to the working folder.

    Raises:
        StorageUnavailable: from every method, if the folder cannot be read or written.
    """

    def __init__(
        self,
        base_path: str | Path | None = None,
        *,
        allowed_sources: Sequence[Path] | None = None,
        clock: Clock = utc_now,
        store: Store | None = None,
    ) -> None:
        self._clock = clock
        home = store_for(base_path, store)
        self._experiments = ConfigFile(home)  # models named in it must not be deleted
        base = Path(base_path or home.home / MODEL_BASE_PATH).absolute()
        self.store = home if base.parent == home.home else FolderStore(base.parent)
        # A path may name a folder directly or through a link to it.
        both = None if allowed_sources is None else [(it.resolve(), it.absolute()) for it in allowed_sources]
        self._allowed = None if both is None else list(dict.fromkeys(path for paths in both for path in paths))
        self._store = RegistryStore(self.store, base.name, clock)
        self.loaded = LoadedModels(MAX_LOADED_MODELS)
        self._store.sweep()

    @property
    def fault(self) -> StorageUnavailable | None:
        """The error of registry files that cannot be read now; the content read before remains in use."""
        fault = self._store.fault or self.store.fault
        return None if fault is None else fault.at(())

    # --- registering ---

    def register_model(
        self,
        model_path: str | Path,
        algorithm_name: str,
        training_params: Mapping[str, Any],
        performance_metrics: Mapping[str, Any],
        description: str = "",
        created_by: str = "",
        *,
        version: str | None = None,
        bump: Bump | None = None,
        tags: Sequence[str] = (),
        lineage: Mapping[str, Any] | None = None,
    ) -> str:
        """Register a copy of the weights; returns the key of the new version, such as `DDQN_1a2b3c4d_v2.0.0`.

        A new training configuration raises the major version, new weights of a known one the minor version, unless
        `version` or `bump` (major, minor, patch) is given. The tags `latest` and `tags` move to the new version. The
        same weights with the same parameters are registered only once; a repetition returns the existing key.

        Args:
            performance_metrics: as claimed; stored, but not trusted.

        Raises:
            ForbiddenPath: the path is outside `allowed_sources`.
            InvalidModel: no such file, or not a usable model of the algorithm; nothing is registered.
            InvalidInput: an unknown algorithm, or parameters that are not JSON or not finite.
            ModelConflict: the version was used before.
        """
        draft = new_draft(
            algorithm_name, training_params, performance_metrics, description, created_by, version, bump, tags, lineage
        )
        with open_weights(model_path, self._allowed) as source:
            return self._register(source, draft)

    def register_upload(
        self,
        stream: BinaryIO,
        algorithm_name: str,
        training_params: Mapping[str, Any],
        performance_metrics: Mapping[str, Any],
        description: str = "",
        created_by: str = "",
        *,
        version: str | None = None,
        bump: Bump | None = None,
        tags: Sequence[str] = (),
        lineage: Mapping[str, Any] | None = None,
    ) -> str:
        """As `register_model`, with the weights read from `stream`."""
        draft = new_draft(
            algorithm_name, training_params, performance_metrics, description, created_by, version, bump, tags, lineage
        )
        return self._register(stream, draft)

    def register_seed_models(self, seed_dir: Path) -> None:
        """Register each shipped model that was never in this registry, lower versions first; `seed_dir` is only read.

        A seed is `<name>.pth` with `<name>.json` next to it. A deleted seed stays deleted. A seed takes no tag from
        another model, except for `latest` from a lower version. A broken seed is logged and skipped.
        """
        for draft, path in missing_seeds(self._store, seed_dir):
            try:
                with open_weights(path, None) as source:
                    register_weights(self._store, self._clock, source, draft, examine_in_process, is_seed=True)
            except ServiceError as err:
                logger.error("the seed model %s is skipped: %s", path, err)

    def _register(self, source: BinaryIO, draft: Draft) -> str:
        key, is_new = register_weights(self._store, self._clock, source, draft, examine)
        if is_new and AUTO_CLEANUP_ENABLED:
            try:
                self.cleanup()
            except ServiceError:
                logger.exception("the cleanup after a registration failed; the next one tries again")
        return key

    # --- looking up ---

    def list_models(
        self, algorithm: str | None = None, status: str | None = None, tag: str | None = None
    ) -> list[ModelRecord]:
        """The models that match all given filters, newest first; `tag` is bare (`stable`) or full (`DDQN:stable`).

        Raises:
            InvalidInput: no such status.
        """
        if status is not None:
            check_status(status)
        tag_algorithm, bare_tag = (None, None) if tag is None else split_tag(tag)
        return [
            record
            for record in self._store.index().newest_first
            if algorithm in (None, record.algorithm)
            and status in (None, record.status)
            and tag_algorithm in (None, record.algorithm)
            and (bare_tag is None or bare_tag in record.tags)
        ]

    def resolve(self, name: str, *, oldest: bool = False) -> str:
        """The key of the model that `name` refers to now.

        With `oldest`, for a name in a configuration: of several matching models, the one registered first.

        Raises:
            ModelNotFound: no model has this name.
            AmbiguousModelName: several models match (not with `oldest`); the text lists them.
        """
        index = self._store.index()
        return index.resolve_oldest(name) if oldest else index.resolve(name)

    def get_model(self, name: str) -> ModelRecord:
        """The record of a model; raises as `resolve`."""
        index = self._store.index()
        return index.records[index.resolve(name)]

    def get_best_model(self, algorithm: str, metric: str = "makespan") -> ModelRecord:
        """The model with the best `metric`, as measured at registration, else as claimed.

        Retired models are excluded; with equal values the newest wins.

        Raises:
            InvalidInput: an unknown metric, for which the better direction is unknown.
            ModelNotFound: no model of the algorithm has a value.
        """
        return self._store.index().best(algorithm, metric)

    def outlook(self, name: str) -> Outlook:
        """The possible changes of a model and their effects; raises as `resolve` and `cleanup`."""
        index = self._store.index()
        return outlook_of(self._store, index, index.records[index.resolve(name)], self._in_use(index))

    def history(self) -> list[Event]:
        """All changes, oldest first."""
        return self._store.history.lines()

    def live_at(self, moment: datetime, algorithm: str) -> LiveModel | None:
        """The model that was live (`stable`) at `moment`: since when, by whom and why; None if there was none."""
        return live_at(self._store.history.lines(), moment).get(algorithm)

    def history_at(
        self, moment: datetime, algorithm: str | None = None, model: str | None = None
    ) -> tuple[list[Event], list[LiveModel]]:
        """(changes until `moment`, oldest first; live models at `moment`), filtered by algorithm or model if given."""
        events = self._store.history.lines()
        if model is not None and all(event.model_key != model for event in events):
            model = self.resolve(model)
        live = [found for found in live_at(events, moment).values() if algorithm in (None, found.algorithm)]
        return [event for event in events if event.concerns(moment, algorithm, model)], live

    # --- lifecycle ---

    def promote_model(
        self,
        name: str,
        status: str,
        *,
        reason: str | ServiceError = "",
        actor: str = "",
        within: Change | None = None,
    ) -> ModelRecord:
        """Promote a model to `status`: validated, deployed or retired; returns the model.

        Validating measures the model on the validation set (`registry.validation`) and stores the result as
        `validation`. Deploying moves the tag `stable` to the model, even if it is already deployed. If the model
        already has the status, nothing else is written.

        Args:
            within: a change of the store, with which this one is committed.

        Raises:
            InvalidTransition: the model's status does not allow it; the text lists the allowed transitions.
            InvalidModel: it fails on the validation set, or is no better than a simple rule; recorded in the history.
        """
        wanted = check_status(status)
        asked = self.get_model(name)  # resolved once: a tag may move during the measurement
        measured = validate(self._store, self._clock, asked, actor) if wanted == "validated" else {}
        promote(self._store, self._clock, asked.model_key, wanted, measured, actor, reason, within)
        return self.get_model(asked.model_key)

    def check_deployable(self, name: str) -> None:
        """Check that the model could be deployed now; raises as `promote_model`."""
        check_deployment(self._store, self.get_model(name))

    def note_default(self, change: Mapping[str, Any], *, within: Change | None = None) -> None:
        """Record the `default_change` of the experiments' file in the history; raises as `resolve`."""
        note_default(self._store, change, within)

    def tag_model(self, tag: str, name: str, *, reason: str = "", actor: str = "") -> ModelRecord:
        """Set `tag` (`canary`, or in full `DDQN:canary`) on a model; returns it. Each algorithm has its own tags.

        Raises:
            InvalidInput: not a tag, or a tag of another algorithm.
            ModelConflict: `stable` is only for deployed models.
        """
        algorithm, bare = split_tag(tag)
        with self._store.changing() as change:
            record = change.index.records[change.index.resolve(name)]
            if algorithm not in (None, record.algorithm):
                raise InvalidInput("tag_of_other_algorithm", ("tag",), tag=tag, algorithm=record.algorithm)
            if bare == STABLE and record.status != "deployed":
                raise ModelConflict("stable_not_deployed", status=record.status)
            if bare in record.tags:
                return record
            commit_tag(change, "tagged", f"{record.algorithm}:{bare}", record.model_key, actor, reason)
        return self.get_model(record.model_key)

    def untag_model(self, tag: str, *, reason: str = "", actor: str = "") -> None:
        """Remove `tag` from its model; raises as `resolve`."""
        with self._store.changing() as change:
            commit_tag(change, "untagged", change.index.find_tag(tag), None, actor, reason)

    def rollback(
        self,
        algorithm: str,
        reason: str | ServiceError,
        *,
        actor: str = "",
        only_from: str | None = None,
        within: Change | None = None,
    ) -> ModelRecord:
        """Make the previous stable version stable again and return it; the replaced version becomes `validated`.

        A second rollback returns to the version before that.

        Raises:
            ModelNotFound: the algorithm has no stable version.
            ModelConflict: no earlier version still exists, or a model other than `only_from` is stable.
        """
        return self.get_model(
            roll_back(self._store, self._clock, algorithm, reason, actor, only_from=only_from, within=within)
        )

    def roll_back_if_degraded(
        self,
        algorithm: str,
        runs: "pd.DataFrame",
        cool_down: timedelta = timedelta(days=1),
        *,
        lease: Lease | None = None,
    ) -> ModelRecord | None:
        """Roll back if the live model is worse than at its validation; returns the new live model, else None.

        See `registry.degradation` for the test. Several processes may call this at any time: only one makes the
        rollback, with its figures in the history, and no other rollback follows during `cool_down`.

        Args:
            runs: from `PerformanceMonitor.get_performance_data`; runs of other models are ignored.
            lease: the rollback rests on it; LeaseLost if it is not held, and nothing was changed.
        """
        now, events = self._clock(), self._store.history.lines()
        if is_cooling_down(events, algorithm, AUTO_ROLLBACK, now - cool_down):
            return None
        drop = drop_of_live_model(self._store.index(), live_at(events, now).get(algorithm), runs, now)
        if drop is None:
            return None
        try:
            target = roll_back(
                self._store,
                self._clock,
                algorithm,
                drop.reason,
                AUTO_ROLLBACK,
                details=drop.to_dict(),
                only_from=drop.model_key,
                lease=lease,
            )
        except ModelConflict as err:  # another process has rolled back, or there is no earlier version
            logger.error("%s: %s; no automatic rollback: %s", drop.model_key, drop.reason, err)
            return None
        return self.get_model(target)

    def delete_model(self, name: str, *, reason: str = "", actor: str = "") -> None:
        """Delete a model; its files stay in `.trash/` for a while, and its version is never reused.

        Raises:
            ModelConflict: it is deployed, has a tag other than `latest`, is the default model or in an experiment.
        """
        with self._store.changing() as change:
            record = change.index.records[change.index.resolve(name)]
            check_deletion(record, self._in_use(change.index))
            commit_deletion(change, record, actor, reason)

    def cleanup(self, dry_run: bool = False) -> list[str]:
        """Remove old models (not with `dry_run`); returns their keys, oldest first.

        These have been retired, or registered without validation, for more than `METADATA_RETENTION_DAYS`. Excluded are
        models with a tag, the newest `KEEP_LAST_VERSIONS` of an algorithm, the default model, models of experiments
        that are not over, and the target of a rollback. The files are moved to `.trash/`.

        Raises:
            StorageUnavailable: the experiments' file is invalid, so the models in use are unknown.
        """
        keys, removed = self._expired(self._store.index()), []
        if dry_run:
            return keys
        for key in keys:
            with self._store.changing() as change:
                if key in self._expired(change.index):
                    record = change.index.records[key]
                    reason = ServiceError("kept_too_long", status=record.status, limit=METADATA_RETENTION_DAYS)
                    commit_deletion(change, record, "cleanup", reason)
                    removed.append(key)
        self.store.empty(self._store.trash, TRASH_RETENTION_DAYS * 86_400.0)
        return removed

    # --- loading ---

    def load_model(self, name: str, *, oldest: bool = False) -> LoadedModel:
        """The model, ready to build schedules; loaded from disk once, with its SHA-256 checked, then cached.

        Raises:
            ModelNotFound, AmbiguousModelName: as `resolve`, also for `oldest`.
            InvalidModel: the weights are missing, are not those that were registered, or cannot be used.
        """
        index = self._store.index()
        record = index.records[index.resolve_oldest(name) if oldest else index.resolve(name)]
        return self.loaded.get(record, self._store.weights_file(record.model_key))

    def check_file(self, key: str) -> None:
        """Check that the weights of a model are unchanged; raises as `LoadedModels.check_file`."""
        self.loaded.check_file(self.get_model(key), self._store.weights_file(key))

    # --- parts ---

    def _expired(self, index: Index) -> list[str]:
        events, now = self._store.history.lines(), self._clock()
        return expired(index, events, now, METADATA_RETENTION_DAYS, KEEP_LAST_VERSIONS, self._in_use(index))

    def _in_use(self, index: Index) -> dict[str, list[ModelUse]]:
        return models_in_use(self._experiments, index, self._clock())


if __name__ == "__main__":
    from scheduler_service.registry.cli import main

    sys.exit(main(ModelVersionManager))

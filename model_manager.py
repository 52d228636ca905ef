"""The model registry: which versions exist, which one is live, and how to get back."""

import json
import logging
from collections.abc import Mapping, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any, BinaryIO

from scheduler_service.clock import Clock, to_iso, utc_now
from scheduler_service.errors import InvalidInput, InvalidTransition, ModelConflict, ModelNotFound, ServiceError
from scheduler_service.files import move
from scheduler_service.registry.history import Event, EventKind, previous_target, used_versions
from scheduler_service.registry.index import Index
from scheduler_service.registry.loading import LoadedModel, LoadedModels
from scheduler_service.registry.names import LATEST, STABLE, Bump, choose_version, hash_of_config, key_of, split_tag
from scheduler_service.registry.records import ModelRecord, Status, check_move, check_status, check_text
from scheduler_service.registry.registration import Draft, new_draft, same_model, seed_draft, seed_may_take
from scheduler_service.registry.retention import expired
from scheduler_service.registry.store import Store
from scheduler_service.registry.weights import copied, load, open_weights
from scheduler_service.settings import settings_from_environment
from scheduler_service.stats.metrics import metric_named

__all__ = [
    "AUTO_CLEANUP_ENABLED",
    "METADATA_RETENTION_DAYS",
    "MODEL_BASE_PATH",
    "LoadedModel",
    "ModelRecord",
    "ModelVersionManager",
]

logger = logging.getLogger(__name__)

MODEL_BASE_PATH = "./models"
"""Where models are kept; a relative path is taken below SCHED_HOME."""
METADATA_RETENTION_DAYS = 365
"""How long a retired model is kept before a cleanup removes it."""
AUTO_CLEANUP_ENABLED = True
"""Whether every registration is followed by a cleanup."""

TRASH_RETENTION_DAYS = 30
"""How long the files of a removed model stay in `.trash/`."""
MAX_LOADED_MODELS = 8
"""Agents kept in memory; the one not used for longest goes first."""


class ModelVersionManager:
    """The models of one folder. Threads and processes may use the same folder at once.

    Every name argument takes a key, a short name or a tag (`scheduler_service.registry.names`). Whatever changes is
    written to `history.jsonl`, with who did it (`actor`) and why (`reason`).

    Args:
        base_path: the folder, created if missing; `MODEL_BASE_PATH` below SCHED_HOME by default.
        allowed_sources: `register_model` reads only from these folders and follows no link below them, and a relative
            path is taken below the first. None: any file, relative to the working folder.

    Raises:
        StorageUnavailable: from every method, when the folder cannot be read or written.
    """

    def __init__(
        self,
        base_path: str | Path | None = None,
        *,
        allowed_sources: Sequence[Path] | None = None,
        clock: Clock = utc_now,
    ) -> None:
        base = settings_from_environment().home / MODEL_BASE_PATH if base_path is None else Path(base_path)
        self._clock = clock
        # A folder may be named by its own path or, in a path as given, by that of a link to it.
        self._allowed = (
            None
            if allowed_sources is None
            else list(
                dict.fromkeys(path for source in allowed_sources for path in (source.resolve(), source.absolute()))
            )
        )
        self._store = Store(base.absolute(), clock)
        self._loaded = LoadedModels(MAX_LOADED_MODELS)
        self._store.sweep()

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
    ) -> str:
        """The key of the new version, such as `DDQN_1a2b3c4d_v2.0.0`; the file's bytes are copied.

        A new training configuration raises the major version, new weights of a known one the minor version, unless
        `version` or `bump` (major, minor, patch) says otherwise. The tag `latest` and those of `tags` move to it. The
        same weights with the same parameters are registered once: again, the answer is the existing key, and nothing
        changes.

        Args:
            performance_metrics: as claimed; kept, not believed.

        Raises:
            ForbiddenPath: outside `allowed_sources`.
            InvalidModel: no such file, or not a usable model of the algorithm; nothing is left behind.
            InvalidInput: an unknown algorithm, or parameters that are not JSON or not finite.
            ModelConflict: the version was used before.
        """
        draft = new_draft(
            algorithm_name, training_params, performance_metrics, description, created_by, version, bump, tags
        )
        with open_weights(model_path, self._allowed) as source:
            return self._register(source, repr(str(model_path)), draft)

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
    ) -> str:
        """As `register_model`, with the weights read from `stream`."""
        draft = new_draft(
            algorithm_name, training_params, performance_metrics, description, created_by, version, bump, tags
        )
        return self._register(stream, "of the upload", draft)

    def register_seed_models(self, seed_dir: Path) -> None:
        """Registers each shipped model that this registry never had, lower versions first; only reads `seed_dir`.

        A seed is `<name>.pth` with `<name>.json` beside it. A seed that its owner deleted stays deleted, and none
        takes a tag from another model, but for `latest` from a lower version. A broken one is logged and passed over.
        """
        seeds = []
        for card in sorted(seed_dir.glob("*.json")):
            try:
                seeds.append((seed_draft(json.loads(card.read_bytes())), card.with_suffix(".pth")))
            except (OSError, ValueError, KeyError, TypeError, ServiceError) as err:
                logger.error("the seed model %s is passed over: %s: %s", card, type(err).__name__, err)
        for draft, path in sorted(seeds, key=lambda seed: (seed[0].algorithm, seed[0].version)):
            used = used_versions(self._store.history.events(), draft.algorithm)
            if (hash_of_config(draft.training_params), draft.version) in used:
                continue
            try:
                with open_weights(path, None) as source:
                    self._register(source, repr(str(path)), draft, is_seed=True)
            except ServiceError as err:
                logger.error("the seed model %s is passed over: %s", path, err)

    def _register(self, source: BinaryIO, name: str, draft: Draft, *, is_seed: bool = False) -> str:
        with copied(source, self._store.incoming_dir, name) as weights:
            existing = same_model(self._store.index(), draft, weights.sha256)
            if existing is not None:
                return existing
            signature = load(draft.algorithm, weights.path).signature
            with self._store.changing() as index:
                existing = same_model(index, draft, weights.sha256)  # another process may have been quicker
                if existing is not None:
                    return existing
                config_hash = hash_of_config(draft.training_params)
                used = used_versions(self._store.history.events(), draft.algorithm) | {
                    (record.config_hash, record.parsed_version) for record in index.of_algorithm(draft.algorithm)
                }
                version = choose_version(used, config_hash, draft.version, draft.bump)
                key = key_of(draft.algorithm, config_hash, version)
                now = to_iso(self._clock())
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
                    signature=signature,
                    status_since=now,
                )
                tags = [tag for tag in (LATEST, *draft.tags) if not is_seed or seed_may_take(index, record, tag)]
                move(weights.path, self._store.weights_file(key))
                self._store.commit(
                    index,
                    "registered",
                    key,
                    records={key: record},
                    tags={f"{draft.algorithm}:{tag}": key for tag in tags},
                    actor=draft.created_by,
                    reason="shipped with the project" if is_seed else draft.description,
                    details={"sha256": weights.sha256},
                )
        logger.info("model %s registered by %s", key, draft.created_by or "nobody named")
        if AUTO_CLEANUP_ENABLED:
            try:
                self.cleanup()
            except ServiceError:
                logger.exception("the cleanup after a registration failed; the next one tries again")
        return key

    # --- looking up ---

    def list_models(
        self, algorithm: str | None = None, status: str | None = None, tag: str | None = None
    ) -> list[ModelRecord]:
        """The models that fit all that is given, newest first; `tag` is bare (`stable`) or full (`DDQN:stable`).

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

    def resolve(self, name: str) -> str:
        """The key of the model that `name` stands for now.

        Raises:
            ModelNotFound: nothing bears the name.
            AmbiguousModelName: several models do; the text lists them.
        """
        return self._store.index().resolve(name)

    def get_model(self, name: str) -> ModelRecord:
        """What is known of a model; raises as `resolve`."""
        index = self._store.index()
        return index.records[index.resolve(name)]

    def get_best_model(self, algorithm: str, metric: str = "makespan") -> ModelRecord:
        """The model with the best claimed `metric`; retired ones do not count, of equals the newest wins.

        Raises:
            InvalidInput: not a metric, so nobody knows which direction is better.
            ModelNotFound: no model of the algorithm claims a value.
        """
        try:
            lower_is_better = metric_named(metric).lower_is_better
        except KeyError as err:
            raise InvalidInput(str(err.args[0])) from err
        claims = [
            (record.performance[metric] * (1 if lower_is_better else -1), record)
            for record in self._store.index().of_algorithm(algorithm)
            if record.status != "retired"
            and isinstance(record.performance.get(metric), int | float)
            and not isinstance(record.performance[metric], bool)
        ]
        if not claims:
            raise ModelNotFound(f"no model of {algorithm!r} that is not retired claims a {metric}")
        return min(claims, key=lambda claim: claim[0])[1]

    def history(self) -> list[Event]:
        """Every change since the beginning, oldest first."""
        return self._store.history.events()

    # --- the life of a model ---

    def promote_model(self, name: str, status: str, *, reason: str = "", actor: str = "") -> ModelRecord:
        """The model after its move to `status`: validated, deployed or retired.

        Deploying moves the tag `stable`, also from a deployed model to another that is deployed already. A model that
        has the status keeps it, and nothing is written.

        Raises:
            InvalidTransition: the model's life does not allow the move; the text says which are allowed.
        """
        wanted = check_status(status)
        with self._store.changing() as index:
            record = index.records[index.resolve(name)]
            is_stable = STABLE in record.tags
            if wanted == record.status and (wanted != "deployed" or is_stable):
                return record
            if wanted != record.status:
                check_move(record, wanted)
            if wanted == "retired" and is_stable:
                raise InvalidTransition(
                    f"{record.model_key} bears the tag {STABLE!r}; deploy another version or roll back first"
                )
            tags = {f"{record.algorithm}:{STABLE}": record.model_key} if wanted == "deployed" else {}
            self._store.commit(
                index,
                "promoted",
                record.model_key,
                records={record.model_key: self._with_status(record, wanted)},
                tags=tags,
                actor=check_text("actor", actor),
                reason=check_text("reason", reason),
            )
        return self.get_model(record.model_key)

    def tag_model(self, tag: str, name: str, *, reason: str = "", actor: str = "") -> ModelRecord:
        """The model, now bearing `tag` (`canary`, or in full `DDQN:canary`); each algorithm has its own.

        Raises:
            InvalidInput: not a tag, or one of another algorithm.
            ModelConflict: `stable` goes to deployed models only.
        """
        algorithm, bare = split_tag(tag)
        with self._store.changing() as index:
            record = index.records[index.resolve(name)]
            if algorithm not in (None, record.algorithm):
                raise InvalidInput(f"{record.model_key} is a {record.algorithm} model; it cannot bear {tag!r}")
            if bare == STABLE and record.status != "deployed":
                raise ModelConflict(
                    f"{record.model_key} is {record.status}, and the tag {STABLE!r} is for deployed models; promote it"
                )
            if bare in record.tags:
                return record
            self._commit_tag(index, "tagged", f"{record.algorithm}:{bare}", record.model_key, actor, reason)
        return self.get_model(record.model_key)

    def untag_model(self, tag: str, *, reason: str = "", actor: str = "") -> None:
        """Takes `tag` from the model that bears it; raises as `resolve`."""
        with self._store.changing() as index:
            self._commit_tag(index, "untagged", index.find_tag(tag), None, actor, reason)

    def rollback(self, algorithm: str, reason: str, *, actor: str = "") -> ModelRecord:
        """The version that was stable before, now deployed and stable again; the one it replaces is validated again.

        A second rollback goes one further back.

        Raises:
            ModelNotFound: the algorithm has no stable version.
            ModelConflict: it never had another one that still exists.
        """
        stable = f"{algorithm}:{STABLE}"
        with self._store.changing() as index:
            if stable not in index.tags:
                raise ModelNotFound(f"no model bears the tag {stable!r}, so there is nothing to roll back")
            left = index.records[index.tags[stable]]
            target = previous_target(self._store.history.events(), stable, index.records)
            if target is None:
                raise ModelConflict(f"{left.model_key} is the first stable version of {algorithm}; none came before it")
            self._store.commit(
                index,
                "rolled_back",
                target,
                records={
                    left.model_key: self._with_status(left, "validated"),
                    target: self._with_status(index.records[target], "deployed"),
                },
                tags={stable: target},
                actor=check_text("actor", actor),
                reason=check_text("reason", reason),
            )
        logger.warning("%s rolled back from %s to %s: %s", algorithm, left.model_key, target, reason)
        return self.get_model(target)

    def delete_model(self, name: str, *, reason: str = "", actor: str = "") -> None:
        """Takes a model out of the registry; its files stay in `.trash/` for a while, and its version is never reused.

        Raises:
            ModelConflict: it is deployed, or bears a tag other than `latest`.
        """
        with self._store.changing() as index:
            record = index.records[index.resolve(name)]
            held = [tag for tag in record.tags if tag != LATEST]
            if record.status == "deployed" or held:
                why = f"bears the tag {', '.join(held)}" if held else "is deployed"
                raise ModelConflict(f"{record.model_key} {why}; it cannot be deleted")
            self._commit_deletion(index, record, actor, reason)

    def cleanup(self, dry_run: bool = False) -> list[str]:
        """Keys of the models removed (with `dry_run`: that would be), oldest first.

        Removed are models retired for more than `METADATA_RETENTION_DAYS`, but for those that bear a tag, the newest of
        an algorithm and the one that a rollback would return to.
        """
        keys = self._expired(self._store.index())
        if dry_run:
            return keys
        removed = []
        for key in keys:
            with self._store.changing() as index:
                if key in self._expired(index):
                    reason = f"retired for more than {METADATA_RETENTION_DAYS} days"
                    self._commit_deletion(index, index.records[key], "cleanup", reason)
                    removed.append(key)
        self._store.empty_trash(TRASH_RETENTION_DAYS * 86_400.0)
        return removed

    # --- loading ---

    def load_model(self, name: str) -> LoadedModel:
        """The model, ready to build schedules; read from disk once, its SHA-256 checked, and then kept in memory.

        Raises:
            ModelNotFound, AmbiguousModelName: as `resolve`.
            InvalidModel: the weights are missing, are not those that were registered, or cannot be used.
        """
        record = self.get_model(name)
        return self._loaded.get(record, self._store.weights_file(record.model_key))

    # --- parts ---

    def _with_status(self, record: ModelRecord, status: Status) -> ModelRecord:
        return replace(record, status=status, status_since=to_iso(self._clock()))

    def _expired(self, index: Index) -> list[str]:
        return expired(index, self._store.history.events(), self._clock(), METADATA_RETENTION_DAYS)

    def _commit_tag(
        self, index: Index, event: EventKind, full_tag: str, key: str | None, actor: str, reason: str
    ) -> None:
        self._store.commit(
            index,
            event,
            key or index.tags[full_tag],
            tags={full_tag: key},
            actor=check_text("actor", actor),
            reason=check_text("reason", reason),
        )

    def _commit_deletion(self, index: Index, record: ModelRecord, actor: str, reason: str) -> None:
        others = [other for other in index.of_algorithm(record.algorithm) if other.model_key != record.model_key]
        newest = others[0].model_key if others else None
        self._store.commit(
            index,
            "deleted",
            record.model_key,
            records={record.model_key: None},
            tags={f"{record.algorithm}:{LATEST}": newest} if LATEST in record.tags else {},
            actor=check_text("actor", actor),
            reason=check_text("reason", reason),
        )

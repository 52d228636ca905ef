"""Changes of experiments: configuration, history and the registry's tags are one change of the store."""

import logging
import secrets
from collections.abc import Callable, Mapping, Sequence
from datetime import datetime
from typing import Any, Protocol

from scheduler_service.clock import Clock, to_iso
from scheduler_service.errors import (
    ExperimentConflict,
    ExperimentNotFound,
    InvalidExperiment,
    ModelConflict,
    ServiceError,
)
from scheduler_service.experiments.archive import Archive, check_archivable
from scheduler_service.experiments.config import NAME, ConfigFile, Document, Snapshot, validate
from scheduler_service.experiments.edits import set_default
from scheduler_service.experiments.experiment import Experiment, Promotion
from scheduler_service.experiments.history import ExperimentHistory
from scheduler_service.experiments.lifecycle import EventKind, Transition
from scheduler_service.lease import Lease
from scheduler_service.registry.names import parse_versioned
from scheduler_service.store.change import Change, Store
from scheduler_service.words import WORDS, Message

log = logging.getLogger(__name__)

Reason = str | Sequence[Message]
"""A person's text, or what the service decided a move upon."""


class Registry(Protocol):
    """The methods of the model registry (`ModelVersionManager`) that experiments need."""

    @property
    def store(self) -> Store: ...
    def resolve(self, name: str, *, oldest: bool = False) -> str: ...
    def check_deployable(self, name: str) -> None: ...
    def promote_model(
        self,
        name: str,
        status: str,
        *,
        reason: str | ServiceError = "",
        actor: str = "",
        within: Change | None = None,
    ) -> object: ...
    def rollback(
        self,
        algorithm: str,
        reason: str | ServiceError,
        *,
        actor: str = "",
        only_from: str | None = None,
        within: Change | None = None,
    ) -> object: ...
    def note_default(self, change: Mapping[str, Any], *, within: Change | None = None) -> None: ...


class ChangedMeanwhile(ExperimentConflict):
    """The experiment was changed after it was read."""


class Changes:
    """The experiments' file, their history and archive, and the registry."""

    def __init__(self, store: Store, registry: Registry | None, clock: Clock, name: str = NAME) -> None:
        """`name`: that of the configuration in the store."""
        self._registry = registry
        self._clock = clock
        # The same object, so that a change of both is one change.
        self.store = registry.store if registry is not None and registry.store.home == store.home else store
        self.file = ConfigFile(self.store, name, approve=self._approve)
        self.history = ExperimentHistory(self.store)
        self.archived = Archive(self.store)

    def find(self, name: str) -> Experiment:
        """The experiment with its current status; an archived one has `archived_at`.

        Raises:
            ExperimentNotFound: no experiment has this name.
            StorageUnavailable: no experiment is found, and the file is broken.
        """
        config = self.file.current()
        found = config.experiments.get(name) or self.archived.find(name)
        if found is None:
            self.file.check()
        return experiment_in(config, name, self._clock()) if found is None else as_of(found, self._clock())

    def find_changeable(self, name: str) -> Experiment:
        """As `find`, for an experiment to be changed.

        Raises:
            ExperimentConflict: it is archived.
            StorageUnavailable: the file is broken.
        """
        self.file.check()
        found = self.find(name)
        if found.archived_at is not None:
            raise ExperimentConflict("experiment_archived", experiment=name, time=to_iso(found.archived_at))
        return found

    def create(self, experiment: Experiment, actor: str) -> None:
        """Add the experiment to the file.

        Raises:
            ExperimentConflict: the name is in use, in the file or in the archive.
        """
        name = experiment.name

        def add(document: Document) -> None:
            experiments = document.setdefault("experiments", {})
            if name in experiments:
                raise ExperimentConflict("experiment_exists", experiment=name)
            if name in self.archived:
                raise ExperimentConflict("name_in_archive", experiment=name)
            experiments[name] = experiment.to_dict()

        self.make(name, "created", add, actor)

    def make(
        self,
        name: str,
        event: EventKind,
        change: Callable[[Document], None],
        actor: str = "",
        reason: Reason = "",
        figures: Mapping[str, Any] | None = None,
        expected: Experiment | None = None,
        models: Callable[[Change], None] | None = None,
        lease: Lease | None = None,
    ) -> Transition:
        """Apply `change` to the file's JSON, and write the transition to the history.

        Args:
            expected: the experiment as it was read; status, stage and stopped arms must be unchanged.
            models: changes the registry, in the same change of the store.
            lease: the change rests on it; as in `Store.changing`.

        Raises:
            ChangedMeanwhile: they are not; nothing was changed.
            LeaseLost: another process has taken the lease; nothing was changed.
            ServiceError: raised by `change`; or the file would become invalid, or cannot be written.
        """
        made: list[Transition] = []
        said, messages = _recorded(reason)

        def apply(document: Document) -> None:
            now = self._clock()
            before: dict[str, Any] = {}
            if name in document.get("experiments", {}):
                found = experiment_in(validate(document, set()), name, now)
                before = state_of(found)
                if expected is not None and before != state_of(expected):
                    read, current = _state_texts(expected), _state_texts(found)
                    raise ChangedMeanwhile("overtaken", experiment=name, before=read, after=current)
            elif event != "created":  # archived or deleted after it was read
                self.find_changeable(name)
                raise ExperimentNotFound("experiment_not_found", experiment=name)
            change(document)
            after = state_of(experiment_in(validate(document, set()), name, now))
            line = Transition(
                secrets.token_hex(8), to_iso(now), name, event, actor, said, before, after, figures or {}, messages
            )
            slot = "last_description" if event == "described" else "last_transition"
            document["experiments"][name][slot] = line.to_dict()
            made.append(line)

        with self.store.changing(lease=lease) as whole:
            self.file.update(apply, within=whole)
            self.history.record(made[0].to_dict(), whole)
            if models is not None:
                models(whole)
        log.info("experiment %s: %s by %s: %s", name, event, actor or "nobody named", said or "no reason given")
        return made[0]

    def promote(
        self,
        experiment: Experiment,
        arm: str,
        actor: str,
        reason: Reason,
        figures: Mapping[str, Any] | None = None,
        *,
        lease: Lease | None = None,
    ) -> Transition:
        """Make the arm's model the default model, conclude the experiment, and update the registry's tags.

        Raises:
            InvalidTransition: the model cannot be deployed; nothing was changed.
            ChangedMeanwhile, LeaseLost: as `make`.
        """
        key = self._key(experiment.models[arm])
        if self._registry is not None:
            self._registry.check_deployable(key)

        noted: list[Mapping[str, Any]] = []

        def promote(document: Document) -> None:
            entry = document["experiments"][experiment.name]
            entry["promotion"] = Promotion(
                arm=arm,
                model=key,
                previous_default=document.get("default_model", self.file.current().default_model),
                previous_stable=self._stable(algorithm_of(key)),
                are_tags_right=True,
            ).model_dump()
            noted.append(set_default(document, key, actor, _about(experiment.name, reason), self._clock()))
            entry["status"] = "concluded"
            if experiment.rollout is not None:
                last_stage = len(experiment.rollout.stages) - 1
                entry["rollout"] |= {"stage": last_stage, "stage_since": to_iso(self._clock())}

        def deploy(whole: Change) -> None:
            if self._registry is not None:
                within = self._shared(whole)
                self._registry.note_default(noted[-1], within=within)
                about = _about(experiment.name)
                self._registry.promote_model(key, "deployed", reason=about, actor=actor, within=within)

        return self.make(experiment.name, "promoted", promote, actor, reason, figures, experiment, deploy, lease)

    def revert(self, experiment: Experiment, actor: str, reason: str) -> None:
        """Restore the default model from before the promotion, and update the registry's tags.

        Raises:
            ExperimentConflict: nothing was promoted, it was reverted already, or the default model was changed again.
        """
        name, promotion = experiment.name, experiment.promotion
        if promotion is None or promotion.is_reverted:
            raise ExperimentConflict("nothing_to_revert", experiment=name)
        noted: list[Mapping[str, Any]] = []

        def revert(document: Document) -> None:
            current = document.get("default_model")
            if current != promotion.model:
                raise ExperimentConflict("not_default_any_more", model=promotion.model, default=current)
            why = _about(name, reason) if reason else ServiceError("experiment_reverted", experiment=name)
            noted.append(set_default(document, promotion.previous_default, actor, why, self._clock()))
            document["experiments"][name]["promotion"] |= {"is_reverted": True}

        def roll_back(whole: Change) -> None:
            if self._registry is not None:
                within = self._shared(whole)
                self._registry.note_default(noted[-1], within=within)
                algorithm = algorithm_of(promotion.model)
                has_moved = self._stable(algorithm) == promotion.model != promotion.previous_stable
                if has_moved and promotion.previous_stable is not None:
                    why = ServiceError("experiment_reverted", experiment=name)
                    self._registry.rollback(algorithm, why, actor=actor, only_from=promotion.model, within=within)

        self.make(name, "reverted", revert, actor, reason, expected=experiment, models=roll_back)

    def make_default(self, model: str, actor: str, reason: str) -> None:
        """Make a model the default model; a tag is stored as `algorithm:tag`, any other name as the model's key.

        Raises:
            ModelNotFound, AmbiguousModelName, InvalidTransition: there is no such model, or it cannot be deployed.
            ModelConflict: it is the default model already.
            StorageUnavailable: the file is broken or cannot be written.
        """
        self.file.check()
        key = self._key(model)
        if self._registry is not None:
            self._registry.check_deployable(key)
        is_tag = model != key and parse_versioned(model) is None
        named = f"{algorithm_of(key)}:{model.rpartition(':')[2]}" if is_tag else key

        noted: list[Mapping[str, Any]] = []

        def change(document: Document) -> None:
            if named == document.get("default_model", self.file.current().default_model):
                raise ModelConflict("model_is_default", model=named)
            noted.append(set_default(document, named, actor, reason, self._clock()))

        with self.store.changing() as whole:
            self.file.update(change, within=whole)
            if self._registry is not None:
                self._registry.note_default(noted[-1], within=self._shared(whole))
        log.info("%s is the default model, by %s: %s", named, actor or "nobody named", reason or "no reason given")

    def write_default(self) -> None:
        """Write the file if there is none."""
        if not self.file.exists:
            self.file.update(lambda document: document.setdefault("default_model", self.file.current().default_model))

    def archive(self, name: str, actor: str, reason: str) -> None:
        """Move the complete experiment from the file to the archive.

        Raises:
            ExperimentConflict: its status, or a promotion that can be reverted, does not allow this.
            StorageUnavailable: the change cannot be written; nothing has changed.
        """

        def apply(document: Document) -> None:
            if name not in document.get("experiments", {}):
                self.find_changeable(name)
            now = self._clock()
            found = experiment_in(validate(document, set()), name, now)
            check_archivable(found, document.get("default_model"))
            state = state_of(found)
            after = state | {"is_archived": True}
            made = Transition(secrets.token_hex(8), to_iso(now), name, "archived", actor, reason, state, after)
            self.archived.add(document["experiments"].pop(name), made, whole)
            self.history.record(made.to_dict(), whole)

        with self.store.changing() as whole:
            self.file.update(apply, within=whole)
        log.info("experiment %s: archived by %s: %s", name, actor or "nobody named", reason or "no reason given")

    def _shared(self, whole: Change) -> Change | None:
        """The change, if the registry has the same store; else it makes a change of its own."""
        return whole if self._registry is not None and self._registry.store is self.store else None

    def is_default(self, model: str) -> bool:
        """Whether a name means the default model."""
        default = self.file.current().default_model
        try:
            return model == default or self._key(model) == self._key(default)
        except ServiceError:
            return False

    def _key(self, model: str) -> str:
        return model if self._registry is None else self._registry.resolve(model, oldest=True)

    def _stable(self, algorithm: str) -> str | None:
        """The key of the model with the algorithm's tag `stable`."""
        try:
            return None if self._registry is None else self._registry.resolve(f"{algorithm}:stable")
        except ServiceError:
            return None

    def _approve(self, before: Snapshot, after: Snapshot) -> None:
        """Refuse a change with a model that the registry does not have, or with the same model in two arms."""
        if self._registry is None:
            return
        if after.default_model != before.default_model:
            self._registry.resolve(after.default_model)
        for name, experiment in after.experiments.items():
            known = before.experiments.get(name)
            if known is not None and known.models == experiment.models:
                continue
            keys: dict[str, str] = {}
            for arm, model in experiment.models.items():
                key = self._registry.resolve(model)
                if key in keys:
                    names = [experiment.models[keys[key]], model]
                    raise InvalidExperiment("same_model", (arm,), experiment=name, names=names, model=key)
                keys[key] = arm
            if experiment.rollout is not None:
                self._approve_rollout(experiment, after.default_model)

    def _approve_rollout(self, experiment: Experiment, default: str) -> None:
        """Refuse a rollout whose candidate cannot be deployed, or whose baseline is not the default model."""
        assert self._registry is not None
        if self._registry.resolve(experiment.model_a) != self._registry.resolve(default, oldest=True):
            model = experiment.model_a
            raise InvalidExperiment("rollout_baseline", ("model_a",), model=model, default=default)
        self._registry.check_deployable(experiment.model_b)


def _recorded(reason: Reason) -> tuple[str, list[dict[str, Any]]]:
    """(text, messages as JSON) for the history; a person's text has no messages."""
    if isinstance(reason, str):
        return reason, []
    return WORDS.say(*reason), [each.to_dict() for each in reason]


def _about(experiment: str, reason: Reason = "") -> ServiceError:
    """The reason of a change of models that an experiment made."""
    if not reason:
        return ServiceError("by_experiment", experiment=experiment)
    return ServiceError("by_experiment_because", experiment=experiment, reason=reason)


def algorithm_of(key: str) -> str:
    """The algorithm in a model's key (`DDQN_1a2b3c4d_v2.0.0`)."""
    return key.rsplit("_", 2)[0]


def experiment_in(config: Snapshot, name: str, now: datetime) -> Experiment:
    """The experiment with its status at `now`.

    Raises:
        ExperimentNotFound: no experiment has this name.
    """
    if name not in config.experiments:
        raise ExperimentNotFound("experiment_not_found", experiment=name)
    return as_of(config.experiments[name], now)


def as_of(experiment: Experiment, now: datetime) -> Experiment:
    """The experiment with its status at `now`."""
    status = experiment.status_at(now)
    return experiment if status == experiment.status else experiment.model_copy(update={"status": status})


def state_of(experiment: Experiment) -> dict[str, Any]:
    """The state in the history: the status, the stage of a rollout, and the stopped arms, if any."""
    stage = {} if experiment.rollout is None else {"stage": experiment.rollout.share}
    stopped = {"stopped_arms": list(experiment.stopped_arms)} if experiment.stopped_arms else {}
    return {"status": experiment.status, **stage, **stopped}


def _state_texts(experiment: Experiment) -> list[str]:
    """`state_of` as texts for an error: the status, the share of a rollout, and the running arms."""
    share = [] if experiment.rollout is None else [f"{experiment.rollout.share:.0%}"]
    return [experiment.status, *share, *experiment.running_candidates]

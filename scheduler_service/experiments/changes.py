"""Changes of experiments, each as a whole: the file first, its line of history next, the registry's tags last.

The file is the moment of truth: it holds the new state together with the line that tells of it and with what is left
to do in the registry. A process killed in between leaves the rest to whoever calls `settle` next. Of an experiment that
is archived, the line in the archive is: until the file follows, it has the experiment still, which `settle` takes away.
"""

import logging
import secrets
from collections.abc import Callable, Mapping, Sequence
from datetime import datetime
from pathlib import Path
from typing import Any, Protocol

from scheduler_service.clock import Clock, to_iso
from scheduler_service.errors import (
    ExperimentConflict,
    ExperimentNotFound,
    InvalidExperiment,
    ModelConflict,
    ServiceError,
)
from scheduler_service.experiments.archive import archive_of, check_archivable
from scheduler_service.experiments.config import ConfigFile, Document, Snapshot, validate
from scheduler_service.experiments.edits import set_default
from scheduler_service.experiments.experiment import Experiment, Promotion
from scheduler_service.experiments.history import ExperimentHistory
from scheduler_service.experiments.lifecycle import EventKind, Transition
from scheduler_service.registry.names import parse_versioned
from scheduler_service.words import WORDS, Message

log = logging.getLogger(__name__)

Reason = str | Sequence[Message]
"""A person's text, or what the service decided a move upon."""


class Registry(Protocol):
    """What experiments need of the model registry; `ModelVersionManager` has it."""

    def resolve(self, name: str, *, standing: bool = False) -> str: ...
    def check_deployable(self, name: str) -> None: ...
    def promote_model(self, name: str, status: str, *, reason: str | ServiceError = "", actor: str = "") -> object: ...
    def rollback(
        self, algorithm: str, reason: str | ServiceError, *, actor: str = "", only_from: str | None = None
    ) -> object: ...
    def note_default(self, change: Mapping[str, Any]) -> None: ...


class Overtaken(ExperimentConflict):
    """Somebody else moved the experiment since it was looked at."""


class Changes:
    """The experiments' file with its history and the registry that follows it."""

    def __init__(self, path: Path, registry: Registry | None, clock: Clock) -> None:
        self._registry = registry
        self._clock = clock
        self._told: set[str] = set()  # troubles that are in the log already; `settle` meets them every second
        self._written: set[str] = set()  # transitions that are known to be in the history
        self.file = ConfigFile(path, approve=self._approve)
        self.history = ExperimentHistory(path.parent / "logs" / "experiments.jsonl")
        self.archived = archive_of(path)

    def find(self, name: str) -> Experiment:
        """The experiment with its status now; one in the archive has `archived_at`.

        Raises:
            ExperimentNotFound: nothing bears this name.
            StorageUnavailable: nobody can tell, since the file is broken.
        """
        config = self.file.current()
        found = config.experiments.get(name) or self.archived.find(name)
        if found is None:
            self.file.check()
        return experiment_in(config, name, self._clock()) if found is None else as_of(found, self._clock())

    def movable(self, name: str) -> Experiment:
        """As `find`, of an experiment that may change still.

        Raises:
            ExperimentConflict: it is archived.
            StorageUnavailable: the file is broken, so that nothing can change.
        """
        self.file.check()
        found = self.find(name)
        if found.archived_at is not None:
            raise ExperimentConflict("experiment_archived", experiment=name, time=to_iso(found.archived_at))
        return found

    def create(self, experiment: Experiment, actor: str) -> None:
        """Puts the experiment into the file.

        Raises:
            ExperimentConflict: the name is taken, be it in the archive.
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
    ) -> Transition:
        """Applies `change` to the file's JSON and writes the line of history that tells of it.

        Args:
            expected: the experiment that was looked at; its status, stage and stopped arms must still be these.

        Raises:
            Overtaken: they are not; nothing was changed.
            ServiceError: whatever `change` raises; the file would not be valid, or cannot be written.
        """
        made: list[Transition] = []
        said, messages = _recorded(reason)

        def apply(document: Document) -> None:
            now = self._clock()
            before: dict[str, Any] = {}
            if name in document.get("experiments", {}):
                found = experiment_in(validate(document), name, now)
                before = state_of(found)
                if expected is not None and before != state_of(expected):
                    raise Overtaken("overtaken", experiment=name, before=_said(expected), after=_said(found))
                self._keep_lines(found)
            elif event != "created":  # taken away since it was looked at
                self.movable(name)
                raise ExperimentNotFound("experiment_not_found", experiment=name)
            change(document)
            after = state_of(experiment_in(validate(document), name, now))
            line = Transition(
                secrets.token_hex(8), to_iso(now), name, event, actor, said, before, after, figures or {}, messages
            )
            slot = "last_description" if event == "described" else "last_transition"
            document["experiments"][name][slot] = line.to_dict()
            made.append(line)

        self.file.update(apply)
        self._record(made[0].to_dict())
        log.info("experiment %s: %s by %s: %s", name, event, actor or "nobody named", said or "no reason given")
        return made[0]

    def _keep_lines(self, experiment: Experiment) -> None:
        """Writes the lines that the file has of the experiment into the history, before it forgets them."""
        for line in filter(None, (experiment.last_transition, experiment.last_description)):
            self.history.record(line)

    def promote(
        self, experiment: Experiment, arm: str, actor: str, reason: Reason, figures: Mapping[str, Any] | None = None
    ) -> Transition:
        """Makes the arm's model the default one and concludes the experiment; the registry's tags follow.

        Raises:
            InvalidTransition: the model cannot be deployed; nothing was changed.
        """
        key = self._key(experiment.models[arm])
        if self._registry is not None:
            self._registry.check_deployable(key)

        def promote(document: Document) -> None:
            entry = document["experiments"][experiment.name]
            entry["promotion"] = Promotion(
                arm=arm,
                model=key,
                previous_default=document.get("default_model", self.file.current().default_model),
                previous_stable=self._stable(algorithm_of(key)),
            ).model_dump()
            set_default(document, key, actor, _about(experiment.name, reason), self._clock())
            entry["status"] = "concluded"
            if experiment.rollout is not None:
                entry["rollout"] |= {
                    "stage": len(experiment.rollout.stages) - 1,
                    "stage_since": to_iso(self._clock()),
                }

        made = self.make(experiment.name, "promoted", promote, actor, reason, figures, expected=experiment)
        self.settle()
        return made

    def revert(self, experiment: Experiment, actor: str, reason: str) -> None:
        """Makes the default model what it was before the promotion; the registry's tags follow.

        Raises:
            ExperimentConflict: nothing was promoted, it was reverted already, or something else is the default by now.
        """
        name, promotion = experiment.name, experiment.promotion
        if promotion is None or promotion.is_reverted:
            raise ExperimentConflict("nothing_to_revert", experiment=name)

        def revert(document: Document) -> None:
            current = document.get("default_model")
            if current != promotion.model:
                raise ExperimentConflict("not_default_any_more", model=promotion.model, default=current)
            said = _about(name, reason) if reason else ServiceError("experiment_reverted", experiment=name)
            set_default(document, promotion.previous_default, actor, said, self._clock())
            document["experiments"][name]["promotion"] |= {"is_reverted": True, "are_tags_right": False}

        self.make(name, "reverted", revert, actor, reason, expected=experiment)
        self.settle()

    def make_default(self, model: str, actor: str, reason: str) -> None:
        """Lets the model answer what no experiment takes; a tag is kept in full, of another name the key.

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

        def change(document: Document) -> None:
            if named == document.get("default_model", self.file.current().default_model):
                raise ModelConflict("model_is_default", model=named)
            set_default(document, named, actor, reason, self._clock())

        self.file.update(change)
        log.info("%s is the default model, by %s: %s", named, actor or "nobody named", reason or "no reason given")
        self.settle()

    def archive(self, name: str, actor: str, reason: str) -> None:
        """Takes the experiment out of the file and puts it into the archive, whole.

        Raises:
            ExperimentConflict: its status, or a promotion that is not over, does not allow this.
            StorageUnavailable: a file cannot be written. What is in the archive by then stays, and `settle` goes on.
        """

        def apply(document: Document) -> None:
            if name not in document.get("experiments", {}):
                self.movable(name)
            now = self._clock()
            found = experiment_in(validate(document), name, now)
            check_archivable(found, document.get("default_model"))
            self._keep_lines(found)
            line = self.archived.line(name)
            if line is None or not _is_archived(line, document):
                state = state_of(found)
                after = state | {"is_archived": True}
                made = Transition(secrets.token_hex(8), to_iso(now), name, "archived", actor, reason, state, after)
                line = self.archived.add(document["experiments"][name], made)
            self._leave(document, line)

        self.file.update(apply)
        log.info("experiment %s: archived by %s: %s", name, actor or "nobody named", reason or "no reason given")

    def settle(self) -> None:
        """Finishes what a kill cut off: lines of the history, archiving, and tags that follow a promotion.

        Quick if there is nothing. What the registry refuses is logged, and tried again the next time.
        """
        self._note_default(self.file.current().default_change)
        for name in self.file.current().experiments.keys() & self.archived.summaries().keys():
            self._finish_archiving(name)
        for experiment in self.file.current().experiments.values():
            for line in filter(None, (experiment.last_transition, experiment.last_description)):
                self._record(line)
            if experiment.promotion is not None and not experiment.promotion.are_tags_right:
                self._move_tags(experiment, experiment.promotion)

    def _note_default(self, change: Mapping[str, str] | None) -> None:
        """Tells the registry's history of the last change of the default model, unless it knows."""
        if change is None or self._registry is None or change["id"] in self._written:
            return
        try:
            self._registry.note_default(change)
        except ServiceError as err:  # the file has it; `settle` tries again
            trouble = f"the registry's history does not tell of the new default model yet: {err}"
            if trouble not in self._told:
                self._told.add(trouble)
                log.warning("%s", trouble)
        else:
            self._written.add(change["id"])

    def _finish_archiving(self, name: str) -> None:
        """Takes an experiment out of the file that is in the archive as it is; another one of its name stays."""
        trouble = f"{self.file.path} has another experiment {name!r} than the archive; it is in force, both are kept"
        line = None if trouble in self._told else self.archived.line(name)
        if line is not None and _is_archived(line, self.file.current().document):
            self.file.update(lambda document: self._leave(document, line) if _is_archived(line, document) else None)
        elif line is not None:
            self._told.add(trouble)
            log.warning("%s", trouble)

    def _leave(self, document: Document, line: Mapping[str, Any]) -> None:
        """Takes the experiment of a line of the archive out of the file's JSON, once the history tells of it."""
        self.history.record(line["transition"])
        del document["experiments"][line["transition"]["experiment"]]

    def is_default(self, model: str) -> bool:
        """Whether a name stands for the default model."""
        default = self.file.current().default_model
        try:
            return model == default or self._key(model) == self._key(default)
        except ServiceError:
            return False

    def _key(self, model: str) -> str:
        return model if self._registry is None else self._registry.resolve(model, standing=True)

    def _record(self, transition: Mapping[str, Any]) -> None:
        if transition.get("id") in self._written:
            return
        try:
            self.history.record(transition)
        except ServiceError as err:  # the file has it; `settle` tries again
            log.warning("%s", err)
        else:
            self._written.add(transition["id"])

    def _move_tags(self, experiment: Experiment, promotion: Promotion) -> None:
        if self._registry is not None:
            said = experiment.last_transition or {}
            actor, name = str(said.get("actor", "")), experiment.name
            try:
                if promotion.is_reverted:
                    algorithm = algorithm_of(promotion.model)
                    has_moved = self._stable(algorithm) == promotion.model != promotion.previous_stable
                    if has_moved and promotion.previous_stable is not None:
                        reverted = ServiceError("experiment_reverted", experiment=name)
                        self._registry.rollback(algorithm, reverted, actor=actor, only_from=promotion.model)
                else:
                    self._registry.promote_model(promotion.model, "deployed", reason=_about(name), actor=actor)
            except ServiceError as err:
                trouble = f"the registry's tags do not follow the experiment {name}: {err}"
                if trouble not in self._told:
                    self._told.add(trouble)
                    log.error("%s", trouble)
                return

        def done(document: Document) -> None:
            entry = document["experiments"][experiment.name].get("promotion")
            if entry is not None and entry["is_reverted"] == promotion.is_reverted:
                entry["are_tags_right"] = True

        self.file.update(done)

    def _stable(self, algorithm: str) -> str | None:
        """The key of the model that bears the algorithm's `stable` now."""
        try:
            return None if self._registry is None else self._registry.resolve(f"{algorithm}:stable")
        except ServiceError:
            return None

    def _approve(self, before: Snapshot, after: Snapshot) -> None:
        """Refuses a change that brings in a model which the registry lacks, or arms that are one model."""
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
        """Refuses a rollout that could not end in production, or compares with something else than production."""
        assert self._registry is not None
        if self._registry.resolve(experiment.model_a) != self._registry.resolve(default, standing=True):
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
    """The algorithm that a model's key (`DDQN_1a2b3c4d_v2.0.0`) begins with."""
    return key.rsplit("_", 2)[0]


def experiment_in(config: Snapshot, name: str, now: datetime) -> Experiment:
    """The experiment with its status at `now`.

    Raises:
        ExperimentNotFound: nothing bears this name.
    """
    if name not in config.experiments:
        raise ExperimentNotFound("experiment_not_found", experiment=name)
    return as_of(config.experiments[name], now)


def as_of(experiment: Experiment, now: datetime) -> Experiment:
    """The experiment with its status at `now`."""
    status = experiment.status_at(now)
    return experiment if status == experiment.status else experiment.model_copy(update={"status": status})


def state_of(experiment: Experiment) -> dict[str, Any]:
    """What the history tells of it: the status, in a rollout the stage, and the stopped arms if there are any."""
    stage = {} if experiment.rollout is None else {"stage": experiment.rollout.share}
    stopped = {"stopped_arms": list(experiment.stopped_arms)} if experiment.stopped_arms else {}
    return {"status": experiment.status, **stage, **stopped}


def _is_archived(line: Mapping[str, Any], document: Document) -> bool:
    """Whether the file's JSON has the experiment just as the line of the archive has it."""
    name = line["transition"]["experiment"]
    entry = document.get("experiments", {}).get(name)
    return entry is not None and line["experiment"] == {"name": name, **entry}


def _said(experiment: Experiment) -> list[str]:
    """`state_of` for people: the status, in a rollout the share, and the arms that run."""
    share = [] if experiment.rollout is None else [f"{experiment.rollout.share:.0%}"]
    return [experiment.status, *share, *experiment.running_candidates]

"""A/B tests of models: who gets which model, for how long, what came of it, and what to do about it.

    ab_manager = ABTestManager()
    ab_manager.create_experiment("ddqn_v1_vs_v2", "DDQN_v1.0", "DDQN_v2.0", {"model_a": 0.7, "model_b": 0.3})
    ab_manager.get_model_for_request("ddqn_v1_vs_v2", "user_12345")
    ab_manager.config["default_model"] = "DDQN_v2.0"

The experiments are in one file, `ab_test_config.json`, which people may edit, and their changes in
`logs/experiments.jsonl`; with `SCHED_DATABASE_URL`, both are in the database. `docs/experiments.md` tells the story.
"""

import sys
from collections.abc import Mapping, MutableMapping
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Any

from scheduler_service.clock import Clock, to_iso, utc_now
from scheduler_service.errors import ExperimentConflict, InvalidExperiment, StorageUnavailable
from scheduler_service.experiments.about import check_about
from scheduler_service.experiments.answering import Assignment, assign
from scheduler_service.experiments.automatic import act
from scheduler_service.experiments.changes import Changes, Registry, as_of, experiment_in
from scheduler_service.experiments.config import NAME, ConfigView, Document, validate
from scheduler_service.experiments.edits import set_about, set_arm_stopped, set_next_stage
from scheduler_service.experiments.examination import Examination, Replayed, examine
from scheduler_service.experiments.experiment import OPTIONS, Experiment, explanation, parse_request
from scheduler_service.experiments.history import ExperimentHistory
from scheduler_service.experiments.lifecycle import MOVES, Action, Transition, check_allowed
from scheduler_service.experiments.prospect import Prospect, Records, consented, prospect
from scheduler_service.experiments.rollout import Evidence, decide
from scheduler_service.experiments.sizes import breakdowns, with_sizes
from scheduler_service.lease import Lease
from scheduler_service.stats.arms import BASELINE
from scheduler_service.stats.breaker import check_requests
from scheduler_service.store.change import Store
from scheduler_service.store.opening import store_for

if TYPE_CHECKING:
    import pandas as pd  # slow to import, and the service starts without it

__all__ = ["ABTestManager", "Assignment", "Experiment", "Records"]


class ABTestManager:
    """Creates experiments, assigns users to arms, says what they found, ramps candidates up and stops bad ones.

    A hash of the experiment's name and the user's id decides the arm. Safe for threads, greenlets and processes.
    """

    def __init__(
        self,
        config_path: str | Path | None = None,
        *,
        registry: Registry | None = None,
        clock: Clock = utc_now,
        store: Store | None = None,
    ) -> None:
        """Reads the file; a broken one leaves the built-in default model in force, and `config_problem` says so.

        Args:
            config_path: the file of the experiments; `<SCHED_HOME>/ab_test_config.json` if None.
            registry: that of the models. None: any name is accepted, and a promotion moves no tags.
            clock: answers the current time, aware.
            store: where the experiments are; the folder of `config_path`, or what the environment says, if None.
        """
        self._clock = clock
        name = NAME if config_path is None else Path(config_path).name
        self._changes = Changes(store_for(config_path, store), registry, clock, name)
        self._file = self._changes.file

    # --- the file ---

    @property
    def config(self) -> MutableMapping[str, Any]:
        """The file as a mapping. What is assigned or deleted, on any level, is checked and on the disk at once.

        Raises (on assignment and deletion):
            InvalidExperiment: the file would not be valid any more.
            ModelNotFound, AmbiguousModelName: the registry cannot tell which model is meant.
            StorageUnavailable: the file is broken or cannot be written.
        """
        return ConfigView(self._file)

    @property
    def config_problem(self) -> str | None:
        """What is wrong with the file as it is now (the last good one is in force); None when all is well."""
        return self._file.problem

    @property
    def config_fault(self) -> StorageUnavailable | None:
        """`config_problem` as an error to raise."""
        return self._file.fault

    @property
    def default_model(self) -> str:
        """The model of every request that no running experiment claims."""
        return self._file.current().default_model

    def make_default(self, model: str, *, actor: str = "", reason: str = "") -> None:
        """Lets `model` answer what no experiment takes; a tag is followed. Raises as `Changes.make_default`."""
        self._changes.make_default(model, actor, reason)

    @property
    def history(self) -> ExperimentHistory:
        """What was done with the experiments, by whom and why."""
        return self._changes.history

    def write_default(self) -> None:
        """Writes the file if there is none, for people to edit. Raises as `config`."""
        self._changes.write_default()

    # --- experiments ---

    def create_experiment(
        self,
        experiment_name: str,
        model_a: str,
        model_b: str,
        traffic_split: Mapping[str, float] | None = None,
        success_metric: str = "makespan",
        duration_days: float | None = None,
        *,
        actor: str = "",
        **options: Any,
    ) -> Experiment:
        """The new experiment; it runs from now on, in every process.

        Args:
            experiment_name: 1 to 64 of A-Z a-z 0-9 _ . - and no sign first; also the salt of the assignment.
            model_a: the baseline, by key, short name or tag.
            model_b: the candidate.
            traffic_split: the share of the users that each arm gets, adding up to 1; equal ones if None.
            success_metric: what the arms are judged by, a name of `scheduler_service.stats.metrics`.
            duration_days: greater than 0; after that everyone gets the default model again. 7 if None; of a `rollout`
                3,650, which is open-ended: until it is promoted, aborted or ended by a person.
            actor: who creates it, for the history.
            options: further fields of `experiments.experiment.Experiment`: `model_c` ... `model_h`, `coverage`,
                `min_samples`, `alpha`, `margin`, `guardrails`, `shadow`, `forced_variants`, `excluded_users`, `title`,
                `hypothesis`, `owner` and `rollout`.
                No shadow unless it is said; `POST /experiments`, which knows the users, chooses one.

        Raises:
            InvalidExperiment: it cannot work; `errors` says where.
            ModelNotFound, AmbiguousModelName: the registry cannot tell which model is meant.
            InvalidTransition: a rollout's candidate could not be deployed.
            ExperimentConflict: the name is taken.
        """
        unknown = sorted(set(options) - OPTIONS)
        if unknown:
            raise TypeError(
                f"create_experiment has no option {', '.join(unknown)}; it has {', '.join(sorted(OPTIONS))}"
            )
        definition: Document = {
            "name": experiment_name,
            "model_a": model_a,
            "model_b": model_b,
            "success_metric": success_metric,
            "start_time": to_iso(self._clock()),
            "duration_days": duration_days,
            "traffic_split": traffic_split,
        } | options
        self._changes.create(parse_request(definition), actor)
        return self.get_experiment(experiment_name)

    def list_experiments(self) -> list[Experiment]:
        """Every experiment that is not archived, the one that started last first, each with its status now.

        Raises:
            StorageUnavailable: the file is broken, and nothing good was read of it since the start.
        """
        return self._newest_first(self._file.known().experiments)

    def archived_experiments(self) -> list[Experiment]:
        """Those in the archive, the newest first, without the lists of users that `get_experiment` has."""
        archived, configured = self._changes.archived.summaries(), self._file.current().experiments
        return self._newest_first({name: each for name, each in archived.items() if name not in configured})

    def active_experiments(self) -> list[Experiment]:
        """Those that run now; cheap enough to ask every second."""
        now, experiments = self._clock(), self._file.current().experiments.values()
        return [as_of(each, now) for each in experiments if each.status_at(now) == "active"]

    def get_experiment(self, name: str) -> Experiment:
        """The experiment with its status now; one in the archive has `archived_at`.

        Raises:
            ExperimentNotFound: nothing bears this name.
            StorageUnavailable: nobody can tell, since the file is broken.
        """
        return self._changes.find(name)

    def start_experiment(self, name: str, *, actor: str = "", reason: str = "") -> Experiment:
        """Lets a paused experiment run on; every user is in the same arm as before. Raises as `conclude_experiment`."""
        return self._move(name, "start", actor, reason)

    def pause_experiment(self, name: str, *, actor: str = "", reason: str = "") -> Experiment:
        """Sends everyone to the default model until it is started again. Raises as `conclude_experiment`."""
        return self._move(name, "pause", actor, reason)

    def stop_experiment(self, name: str, *, actor: str = "", reason: str = "") -> Experiment:
        """Sends everyone to the default model for good. Raises as `conclude_experiment`."""
        return self._move(name, "stop", actor, reason)

    def conclude_experiment(self, name: str, *, actor: str = "", reason: str = "") -> Experiment:
        """Closes the experiment for good: its results have been read and acted upon.

        Raises:
            ExperimentNotFound: nothing bears this name.
            ExperimentConflict: its status does not allow this.
            StorageUnavailable: the file is broken or cannot be written.
        """
        return self._move(name, "conclude", actor, reason)

    def describe_experiment(
        self, name: str, texts: Mapping[str, str | None], *, actor: str = "", reason: str = ""
    ) -> Experiment:
        """The experiment with another title, hypothesis or owner; None takes one away, what is not named stays.

        Raises:
            InvalidExperiment: a text is too long or has control characters, or is none of the three.
            ExperimentNotFound, ExperimentConflict, StorageUnavailable: as `conclude_experiment`.
        """
        check_about(texts)
        change = partial(set_about, name=name, texts=texts)
        self._changes.make(name, "described", change, actor, reason, {"about": dict(texts)})
        return self.get_experiment(name)

    def archive_experiment(self, name: str, *, actor: str = "", reason: str = "") -> Experiment:
        """Takes an experiment that is over out of the file; it reads as before. Raises as `conclude_experiment`."""
        self._changes.archive(name, actor, reason)
        return self.get_experiment(name)

    # --- requests ---

    def get_model_for_request(self, experiment: str | None, user_id: str) -> str:
        """The name of the model that answers this user, as configured; never an error."""
        return self.assign(experiment, user_id).model

    def assign(self, experiment: str | None, user_id: str) -> Assignment:
        """Arm and model for this user, and why; a missing or finished experiment means the default model."""
        config = self._file.current()
        return assign(config.experiments, config.default_model, experiment, user_id, self._clock())

    def explain_assignment(self, name: str, user_id: str) -> dict[str, Any]:
        """Where a user falls and why, as JSON.

        Raises:
            ExperimentNotFound: nothing bears this name.
        """
        experiment, assignment = self.get_experiment(name), self.assign(name, user_id)
        reason = assignment.reason if experiment.archived_at is None else "experiment_not_active"
        return explanation(experiment, user_id, assignment.model, str(reason))

    # --- results, and what follows from them ---

    def examine(
        self, name: str, runs: "pd.DataFrame", pairs: "pd.DataFrame | None" = None, replayed: Replayed | None = None
    ) -> Examination:
        """What the recorded runs say of the experiment; arguments as of `experiments.examination.examine`.

        Raises:
            ExperimentNotFound: nothing bears this name.
        """
        return examine(self.get_experiment(name), runs, pairs, self._clock(), replayed)

    def results(
        self, name: str, runs: "pd.DataFrame", pairs: "pd.DataFrame | None" = None, replayed: Replayed | None = None
    ) -> dict[str, Any]:
        """`examine` as JSON: API.md's `results`, and more.

        Figures that cannot be computed are None, and `reasons` says why. `improvement_percentage` and its
        `confidence_interval` are of the user means and positive when model_b is better; `p_value` is Welch's on the
        user means. Formulas: docs/statistics.md.
        """
        examined = self.examine(name, runs, pairs, replayed)
        experiment, is_default = examined.experiment, self._changes.is_default(examined.experiment.model_a)
        next_move = None
        if experiment.rollout is not None and experiment.status == "active":
            decision = decide(experiment.rollout, examined.evidence(is_baseline_the_default=is_default), self._clock())
            next_move = decision.to_dict()
        told = with_sizes(examined.to_dict(), breakdowns(examined, runs, pairs))
        return told | {"is_baseline_the_default": is_default, "rollout_decision": next_move}

    def prospect(self, name: str, arm: str, records: Records) -> Prospect:
        """What promoting `arm` would rest on, and what speaks against it; records are read if it can be promoted.

        Raises:
            InvalidExperiment, ExperimentConflict: as `promote_arm`.
        """
        experiment, (runs, pairs, *replayed) = self._promotable(name, arm), records()
        return prospect(examine(experiment, runs, pairs, self._clock(), *replayed), arm)

    def review(
        self, name: str, runs: "pd.DataFrame", pairs: "pd.DataFrame | None" = None, *, lease: Lease | None = None
    ) -> Transition | None:
        """The move that the figures call for, made: next stage, promotion, stop of an arm, abort. None: nothing to do.

        Of several moves (two arms are stopped) the last one is answered. Any number of processes may call this at any
        time: whoever comes late finds the move made. What a person does in the meantime wins. Arguments as `examine`;
        `lease`: the move rests on it, as in `Store.changing`.

        Raises:
            LeaseLost: it is not held; nothing was changed.
            InvalidTransition: the candidate cannot be deployed; it stays where it is.
            StorageUnavailable: the file is broken or cannot be written.
        """
        examined = self.examine(name, runs, pairs)
        evidence = examined.evidence(is_baseline_the_default=self._changes.is_default(examined.experiment.model_a))
        made = act(self._changes, examined.experiment, evidence, self._clock(), lease)
        again = made is not None and made.event == "arm_stopped" and self.review(name, runs, pairs, lease=lease)
        return again or made

    def trip(self, name: str, runs: "pd.DataFrame") -> Transition | None:
        """As `review`, by the breaker alone: a candidate is stopped if its own model fails on most requests.

        Quick enough to be asked for at each failed request. `runs` needs only the columns `breaker.REQUEST_COLUMNS`.
        """
        experiment = self.get_experiment(name)
        if not experiment.guardrails:  # a person switched them off, and the breaker with them
            return None
        checks = {arm: [check_requests(runs, BASELINE, arm)] for arm in experiment.running_candidates}
        if all(each.state != "breached" for found in checks.values() for each in found):
            return None
        evidence = Evidence({}, None, (), False, checks, False, is_one_of_several=len(experiment.candidates) > 1)
        made = act(self._changes, experiment, evidence, self._clock())
        return made if made is None or made.event != "arm_stopped" else self.trip(name, runs) or made

    def advance_experiment(
        self,
        name: str,
        *,
        from_stage: int | None = None,
        actor: str = "",
        reason: str = "",
        records: Records | None = None,
        although_worse: bool = False,
    ) -> Experiment:
        """The rollout at its next stage, whatever the figures say; the last stage is the promotion, as `promote_arm`.

        Raises:
            ExperimentConflict: it is not active, has no rollout, or is at another stage than `from_stage` by now.
        """
        experiment = self._changes.find_changeable(name)
        if experiment.rollout is None:
            raise ExperimentConflict("no_rollout", experiment=name)
        if experiment.status != "active":
            raise ExperimentConflict("rollout_not_active", experiment=name, status=experiment.status)
        if from_stage not in (None, experiment.rollout.stage):
            raise ExperimentConflict(
                "another_stage", experiment=name, stage=experiment.rollout.stage, expected=from_stage
            )
        if experiment.rollout.is_last_before_promotion:
            return self.promote_arm(name, actor=actor, reason=reason, records=records, although_worse=although_worse)
        change = partial(set_next_stage, experiment=experiment, now=self._clock())
        self._changes.make(name, "advanced", change, actor, reason, expected=experiment)
        return self.get_experiment(name)

    def stop_arm(self, name: str, arm: str, *, actor: str = "", reason: str = "") -> Experiment:
        """The experiment without one candidate: its users get the default model for good, nobody else changes arms.

        The last candidate that runs is stopped together with the experiment.

        Raises:
            InvalidExperiment: there is no such candidate; the baseline cannot be stopped alone.
            ExperimentConflict: the arm is stopped already, or the status of the experiment does not allow this.
        """
        experiment = self._changes.find_changeable(name)
        if arm not in experiment.candidates:
            known = list(experiment.candidates)
            raise InvalidExperiment("unknown_candidate", ("arm",), experiment=name, arm=arm, known=known)
        if arm in experiment.stopped_arms:
            raise ExperimentConflict("arm_stopped_already", experiment=name, arm=arm)
        check_allowed(experiment.name, experiment.status, "stop_arm", MOVES["stop"][0])
        if experiment.running_candidates == (arm,):
            return self.stop_experiment(name, actor=actor, reason=reason)
        change = partial(set_arm_stopped, name=name, arm=arm, now=self._clock())
        self._changes.make(name, "arm_stopped", change, actor, reason, {"arm": arm}, expected=experiment)
        return self.get_experiment(name)

    def promote_arm(
        self,
        name: str,
        arm: str = "model_b",
        *,
        actor: str = "",
        reason: str = "",
        records: Records | None = None,
        although_worse: bool = False,
    ) -> Experiment:
        """The experiment, concluded: the arm's model is the default model and bears `stable` from now on.

        Args:
            records: reads the experiment's runs and pairs; the history keeps their result. None: none is looked at.
            although_worse: promote it though figures speak against it.

        Raises:
            InvalidExperiment: there is no such arm.
            ExperimentConflict: the experiment is concluded.
            ConsentNeeded: figures speak against it; the text says which.
            InvalidTransition: the model cannot be deployed.
            StorageUnavailable: the file, or what figures rest on, cannot be read.
        """
        experiment = self._promotable(name, arm)
        now = self._clock()
        figures = None if records is None else consented(experiment, arm, records, now, although_worse=although_worse)
        self._changes.promote(experiment, arm, actor, reason, figures)
        return self.get_experiment(name)

    def revert_promotion(self, name: str, *, actor: str = "", reason: str = "") -> Experiment:
        """The experiment, its promotion undone: default model and tag are what they were before.

        Raises:
            ExperimentConflict: it promoted nothing, was reverted already, or something else is the default by now.
        """
        self._changes.revert(self._changes.find_changeable(name), actor, reason)
        return self.get_experiment(name)

    # --- inside ---

    def _newest_first(self, experiments: Mapping[str, Experiment]) -> list[Experiment]:
        now = self._clock()
        return sorted((as_of(each, now) for each in experiments.values()), key=lambda e: e.start_time, reverse=True)

    def _promotable(self, name: str, arm: str = "model_b") -> Experiment:
        """The experiment, if its state lets `arm` be promoted. Raises as `promote_arm`."""
        experiment = self._changes.find_changeable(name)
        if arm not in experiment.models:
            known = list(experiment.models)
            raise InvalidExperiment("unknown_arm", ("arm",), experiment=name, arm=arm, known=known)
        if experiment.status == "concluded":
            raise ExperimentConflict("concluded_already", experiment=name)
        return experiment

    def _move(self, name: str, action: Action, actor: str, reason: str) -> Experiment:
        allowed, target, event = MOVES[action]
        self._changes.find_changeable(name)  # an unknown one is refused before anything is locked

        def move(document: Document) -> None:
            check_allowed(name, experiment_in(validate(document, set()), name, self._clock()).status, action, allowed)
            document["experiments"][name]["status"] = target

        self._changes.make(name, event, move, actor, reason)
        return self.get_experiment(name)


if __name__ == "__main__":
    from scheduler_service.experiments.cli import main

    sys.exit(main(ABTestManager))

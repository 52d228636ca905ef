"""A/B tests of models: who gets which model, for how long, and what came of it.

    ab_manager = ABTestManager()
    ab_manager.create_experiment("ddqn_v1_vs_v2", "DDQN_v1.0", "DDQN_v2.0", {"model_a": 0.7, "model_b": 0.3})
    ab_manager.get_model_for_request("ddqn_v1_vs_v2", "user_12345")
    ab_manager.config["default_model"] = "DDQN_v2.0"

The experiments live in one file, `ab_test_config.json`, which people may edit; this class adds no state of its own, so
any number of managers, in any number of processes, agree.
"""

from collections.abc import Callable, Mapping, MutableMapping
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal

from scheduler_service.clock import Clock, to_iso, utc_now
from scheduler_service.errors import ExperimentConflict, ExperimentNotFound, InvalidExperiment
from scheduler_service.experiments.config import ConfigFile, ConfigView, Document, Snapshot, validate
from scheduler_service.experiments.experiment import MOVES, Action, Experiment, invalid_experiment
from scheduler_service.settings import settings_from_environment
from scheduler_service.stats.comparison import compare_arms

if TYPE_CHECKING:
    import pandas as pd  # slow to import, and the service starts without it

__all__ = ["ABTestManager", "Assignment", "Experiment"]

AssignmentReason = Literal["assigned", "default", "pinned", "experiment_not_found", "experiment_not_active"]


@dataclass(frozen=True, slots=True)
class Assignment:
    """Which model answers a request, and why. `variant` is the arm; None unless `reason` is `assigned` or `pinned`.

    `pinned` is a tester whom the experiment forces into an arm, or a request that names its model.
    """

    experiment: str | None  # as asked for
    variant: str | None
    model: str  # as configured: a key, short name or tag of the registry
    user_id: str
    reason: AssignmentReason


class ABTestManager:
    """Creates experiments, assigns users to arms, ends experiments and says what they found.

    Assignment is sticky without being stored: a hash of the experiment's name and the user's id decides. Safe to use
    from several threads, greenlets and processes.
    """

    def __init__(
        self,
        config_path: str | Path | None = None,
        *,
        resolve_model: Callable[[str], str] | None = None,
        clock: Clock = utc_now,
    ) -> None:
        """Reads the file; a broken one leaves the built-in default model in force, and `config_problem` says so.

        Args:
            config_path: the file of the experiments; `<SCHED_HOME>/ab_test_config.json` if None.
            resolve_model: the registry's key for a model's name, e.g. `ModelVersionManager().resolve`; raises for one
                that it does not have. None: any name is accepted.
            clock: answers the current time, aware.
        """
        self._resolve_model = resolve_model
        self._clock = clock
        path = settings_from_environment().ab_config_file if config_path is None else Path(config_path)
        self._file = ConfigFile(path, approve=self._approve_models)

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
    def default_model(self) -> str:
        """The model of every request that no running experiment claims."""
        return self._file.current().default_model

    # --- experiments ---

    def create_experiment(
        self,
        experiment_name: str,
        model_a: str,
        model_b: str,
        traffic_split: Mapping[str, float] | None = None,
        success_metric: str = "makespan",
        duration_days: float = 7,
        *,
        min_samples: int = 100,
        alpha: float = 0.05,
    ) -> Experiment:
        """The new experiment; it runs from now on, in every process.

        Args:
            experiment_name: 1 to 64 of A-Z a-z 0-9 _ . - and no sign first; also the salt of the assignment.
            model_a: the baseline, by key, short name or tag.
            model_b: the candidate.
            traffic_split: the share of the users that each arm gets, adding up to 1; halves if None.
            success_metric: what the arms are judged by, a name of `scheduler_service.stats.metrics`.
            duration_days: greater than 0; after that everyone gets the default model again.
            min_samples: values of the metric that each arm needs before a difference may be called significant.
            alpha: p-values below it are called significant.

        Raises:
            InvalidExperiment: it cannot work; `errors` says where.
            ModelNotFound, AmbiguousModelName: the registry cannot tell which model is meant.
            ExperimentConflict: the name is taken.
        """
        definition: Document = {
            "name": experiment_name,
            "model_a": model_a,
            "model_b": model_b,
            "success_metric": success_metric,
            "start_time": to_iso(self._clock()),
            "duration_days": duration_days,
            "min_samples": min_samples,
            "alpha": alpha,
        }
        if traffic_split is not None:
            definition["traffic_split"] = traffic_split
        try:
            experiment = Experiment.parse(definition)
        except InvalidExperiment as err:
            # The file's word is `name`; callers said `experiment_name`.
            errors = [(("experiment_name",) if loc == ("name",) else loc, message) for loc, message in err.errors]
            raise invalid_experiment(errors) from err

        def add(document: Document) -> None:
            experiments = document.setdefault("experiments", {})
            if experiment_name in experiments:
                raise ExperimentConflict(f"the experiment {experiment_name!r} exists already; choose another name")
            experiments[experiment_name] = experiment.to_dict()

        self._file.update(add)
        return experiment

    def list_experiments(self) -> list[Experiment]:
        """Every experiment, the one that started last first, each with its status now."""
        experiments = self._file.current().experiments.values()
        return sorted((self._as_of_now(each) for each in experiments), key=lambda each: each.start_time, reverse=True)

    def get_experiment(self, name: str) -> Experiment:
        """The experiment with its status now.

        Raises:
            ExperimentNotFound: nothing bears this name.
        """
        return self._as_of_now(_experiment(self._file.current(), name))

    def start_experiment(self, name: str) -> Experiment:
        """Lets a paused experiment run on; every user is in the same arm as before. Raises as `conclude_experiment`."""
        return self._move(name, "start")

    def pause_experiment(self, name: str) -> Experiment:
        """Sends everyone to the default model until it is started again. Raises as `conclude_experiment`."""
        return self._move(name, "pause")

    def stop_experiment(self, name: str) -> Experiment:
        """Sends everyone to the default model for good. Raises as `conclude_experiment`."""
        return self._move(name, "stop")

    def conclude_experiment(self, name: str) -> Experiment:
        """Closes the experiment for good: its results have been read and acted upon.

        Raises:
            ExperimentNotFound: nothing bears this name.
            ExperimentConflict: its status does not allow this.
            StorageUnavailable: the file is broken or cannot be written.
        """
        return self._move(name, "conclude")

    # --- requests ---

    def get_model_for_request(self, experiment: str | None, user_id: str) -> str:
        """The name of the model that answers this user, as configured; never an error."""
        return self.assign(experiment, user_id).model

    def assign(self, experiment: str | None, user_id: str) -> Assignment:
        """Arm and model for this user, and why; a missing or finished experiment means the default model."""
        config = self._file.current()
        if not experiment:
            return Assignment(None, None, config.default_model, user_id, "default")
        found = config.experiments.get(experiment)
        if found is None:
            return Assignment(experiment, None, config.default_model, user_id, "experiment_not_found")
        if found.status_at(self._clock()) != "active":
            return Assignment(experiment, None, config.default_model, user_id, "experiment_not_active")
        place = found.place_of(user_id)
        if place.arm is None:
            return Assignment(experiment, None, config.default_model, user_id, "default")
        reason: AssignmentReason = "pinned" if place.why == "forced" else "assigned"
        return Assignment(experiment, place.arm, found.models[place.arm], user_id, reason)

    # --- results ---

    def results(self, name: str, runs: "pd.DataFrame") -> dict[str, Any]:
        """What the recorded runs say of the experiment, as JSON: API.md's `results`, and more.

        Figures that cannot be computed are None, and `reasons` says why. `improvement_percentage` and its
        `confidence_interval` are of the user means and positive when model_b is better; `p_value` is Welch's on the
        user means. Formulas: docs/statistics.md.

        Args:
            runs: as `PerformanceMonitor.get_performance_data(experiment=name)` answers them.

        Raises:
            ExperimentNotFound: nothing bears this name.
        """
        experiment = self.get_experiment(name)
        comparison = compare_arms(
            runs,
            experiment.success_metric,
            min_samples=experiment.min_samples,
            alpha=experiment.alpha,
            split=experiment.traffic_split,
        )
        return {
            "experiment_name": experiment.name,
            "status": experiment.status,
            "models": dict(experiment.models),
            "traffic_split": dict(experiment.traffic_split),
            "start_time": to_iso(experiment.start_time),
            "end_time": to_iso(experiment.end_time),
            **comparison.to_dict(),
        }

    # --- inside ---

    def _as_of_now(self, experiment: Experiment) -> Experiment:
        return experiment.model_copy(update={"status": experiment.status_at(self._clock())})

    def _move(self, name: str, action: Action) -> Experiment:
        allowed, target = MOVES[action]
        now = self._clock()

        def move(document: Document) -> None:
            status = _experiment(validate(document), name).status_at(now)
            if status not in allowed:
                raise ExperimentConflict(
                    f"the experiment {name!r} is {status}; it takes one that is {' or '.join(sorted(allowed))} to "
                    f"{action} it"
                )
            document["experiments"][name]["status"] = target

        self._file.update(move)
        return self.get_experiment(name)

    def _approve_models(self, before: Snapshot, after: Snapshot) -> None:
        """Refuses a change that brings in a model which the registry lacks, or two arms that are one model."""
        if self._resolve_model is None:
            return
        if after.default_model != before.default_model:
            self._resolve_model(after.default_model)
        for name, experiment in after.experiments.items():
            known = before.experiments.get(name)
            if known is not None and known.models == experiment.models:
                continue
            keys = {self._resolve_model(model) for model in experiment.models.values()}
            if len(keys) < len(experiment.models):
                message = f"{experiment.model_a!r} and {experiment.model_b!r} are the same model, {keys.pop()}"
                raise InvalidExperiment(f"the experiment {name!r}: {message}", [(("model_b",), message)])


def _experiment(config: Snapshot, name: str) -> Experiment:
    if name not in config.experiments:
        raise ExperimentNotFound(f"there is no experiment {name!r}")
    return config.experiments[name]

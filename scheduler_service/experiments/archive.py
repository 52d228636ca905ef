"""The archived experiments, `logs/experiments_archive.jsonl`: one per line, removed from `ab_test_config.json`.

A line has the `experiment` as it was configured, and the `transition` by which it was archived. Only a summary of each
line stays in memory: the lists of users may have megabytes.
"""

from collections.abc import Mapping
from typing import Any

from scheduler_service.errors import ExperimentConflict, InvalidExperiment, StorageUnavailable
from scheduler_service.experiments.experiment import Experiment
from scheduler_service.experiments.lifecycle import OVER, Transition, check_allowed
from scheduler_service.store.change import Change, Store

USER_LISTS = ("excluded_users", "forced_variants")
"""Summaries do not have these."""


NAME = "logs/experiments_archive.jsonl"


class Archive:
    """The log of a store; safe for threads and processes. If several lines have the same name, the last one counts."""

    def __init__(self, store: Store) -> None:
        self._store = store
        self._log = store.log(NAME, _summary)

    def __contains__(self, name: object) -> bool:
        return name in self._positions()

    def summaries(self) -> dict[str, Experiment]:
        """Name -> the experiment without `USER_LISTS`."""
        return {each.name: each for each in self._log.lines()}

    def find(self, name: str) -> Experiment | None:
        """The complete experiment; None if no experiment with this name is archived. Raises as `line`."""
        found = self.line(name)
        return None if found is None else _parsed(found["experiment"], found["transition"]["time"])

    def line(self, name: str) -> dict[str, Any] | None:
        """The `experiment` and its `transition`, as written; None if no experiment with this name is archived.

        Raises:
            StorageUnavailable: the file cannot be read, or was replaced meanwhile.
        """
        position = self._positions().get(name)
        if position is None:
            return None
        try:
            found = self._log.raw(position)
            if found["experiment"]["name"] != name:
                raise ValueError("it was replaced")
        except (OSError, ValueError, KeyError, TypeError, IndexError) as err:
            raise StorageUnavailable("cannot_read", path=self._store.shown(NAME), reason=str(err)) from err
        return found

    def add(self, entry: Mapping[str, Any], transition: Transition, change: Change) -> None:
        """Append an experiment as it is configured, in a change of the store."""
        change.append(
            NAME, {"experiment": {"name": transition.experiment, **entry}, "transition": transition.to_dict()}
        )

    def _positions(self) -> dict[str, int]:
        return {each.name: position for position, each in enumerate(self._log.lines())}


def check_archivable(experiment: Experiment, default_model: object) -> None:
    """Raise ExperimentConflict if the experiment may run again, or its promotion may be reverted."""
    check_allowed(experiment.name, experiment.status, "archive", OVER)
    promotion = experiment.promotion
    if promotion is not None and promotion.model == default_model and not promotion.is_reverted:
        raise ExperimentConflict("way_back", experiment=experiment.name, model=promotion.model)


def _summary(line: dict[str, Any]) -> Experiment:
    short = {key: value for key, value in line["experiment"].items() if key not in USER_LISTS}
    return _parsed(short, line["transition"]["time"])


def _parsed(entry: Mapping[str, Any], archived_at: str) -> Experiment:
    try:
        return Experiment.parse({**entry, "archived_at": archived_at}, set())
    except InvalidExperiment as err:
        raise ValueError(str(err)) from err

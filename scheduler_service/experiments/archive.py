"""The archived experiments, `logs/experiments_archive.jsonl`: one per line, removed from `ab_test_config.json`.

A line has the `experiment` as it was configured, and the `transition` by which it was archived. Only a summary of each
line stays in memory: the lists of users may have megabytes.
"""

from collections.abc import Mapping
from pathlib import Path
from typing import Any

from scheduler_service.errors import ExperimentConflict, InvalidExperiment, StorageUnavailable, cannot_write
from scheduler_service.experiments.experiment import Experiment
from scheduler_service.experiments.lifecycle import OVER, Transition, check_allowed
from scheduler_service.jsonlines import JsonLines

USER_LISTS = ("excluded_users", "forced_variants")
"""Summaries do not have these."""


class Archive:
    """The file at `path`; safe for threads and processes. If several lines have the same name, the last one counts."""

    def __init__(self, path: Path) -> None:
        self._file = JsonLines(path, _summary)

    def __contains__(self, name: object) -> bool:
        return name in self._positions()

    def summaries(self) -> dict[str, Experiment]:
        """Name -> the experiment without `USER_LISTS`."""
        return {each.name: each for each in self._file.lines()}

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
            found = self._file.raw(position)
            if found["experiment"]["name"] != name:
                raise ValueError("it was replaced")
        except (OSError, ValueError, KeyError, TypeError, IndexError) as err:
            raise StorageUnavailable("cannot_read", path=str(self._file.path), reason=str(err)) from err
        return found

    def add(self, entry: Mapping[str, Any], transition: Transition) -> dict[str, Any]:
        """Append an experiment as it is configured; returns its line, which is then on disk.

        Called with the configuration locked.

        Raises:
            StorageUnavailable: the file cannot be written.
        """
        line = {"experiment": {"name": transition.experiment, **entry}, "transition": transition.to_dict()}
        try:
            self._file.path.parent.mkdir(parents=True, exist_ok=True)
            self._file.append_once(line)
        except OSError as err:
            raise cannot_write(self._file.path, err) from err
        return line

    def _positions(self) -> dict[str, int]:
        return {each.name: position for position, each in enumerate(self._file.lines())}


def check_archivable(experiment: Experiment, default_model: object) -> None:
    """Raise ExperimentConflict if the experiment may run again, or its promotion may be reverted."""
    check_allowed(experiment.name, experiment.status, "archive", OVER)
    promotion = experiment.promotion
    if promotion is not None and not promotion.are_tags_right:
        raise ExperimentConflict("tags_behind", experiment=experiment.name)
    if promotion is not None and promotion.model == default_model and not promotion.is_reverted:
        raise ExperimentConflict("way_back", experiment=experiment.name, model=promotion.model)


def archive_of(config_file: Path) -> Archive:
    """The archive of the experiments that are configured in `config_file`."""
    return Archive(config_file.parent / "logs" / "experiments_archive.jsonl")


def _summary(line: dict[str, Any]) -> Experiment:
    short = {key: value for key, value in line["experiment"].items() if key not in USER_LISTS}
    return _parsed(short, line["transition"]["time"])


def _parsed(entry: Mapping[str, Any], archived_at: str) -> Experiment:
    try:
        return Experiment.parse({**entry, "archived_at": archived_at})
    except InvalidExperiment as err:
        raise ValueError(str(err)) from err

"""The part of `/metrics` that is read from the doors on each scrape.

Every process gives the same values, so nothing is summed. If a door fails, only its own metrics are missing;
`scrape_part_up` shows which. Labels are names chosen by administrators, never texts of clients.
"""

import logging
import platform
import shutil
import time
from collections.abc import Callable, Iterator, Mapping
from typing import TYPE_CHECKING

from scheduler_service.errors import StorageUnavailable
from scheduler_service.http.contract.openapi import VERSION
from scheduler_service.http.services import Services
from scheduler_service.registry.records import ModelRecord

if TYPE_CHECKING:
    from prometheus_client import Metric

    from scheduler_service.experiments.experiment import Experiment

Alerts = Callable[[], Mapping[tuple[str, str], int]]
"""(name, severity) -> number of firing alerts."""

log = logging.getLogger(__name__)


class StateCollector:
    """A prometheus_client collector over the doors; `collect` reads files and never raises."""

    def __init__(self, parts: Services, *, alerts: Alerts) -> None:
        self._parts: dict[str, Callable[[], list[Metric]]] = {
            "service": lambda: _service(parts),
            "models": lambda: _models(parts),
            "experiments": lambda: _experiments(parts),
            "alerts": lambda: _alerts(alerts()),
        }
        self._errors: dict[str, str] = {}

    def collect(self) -> "Iterator[Metric]":
        from prometheus_client.core import GaugeMetricFamily

        up = GaugeMetricFamily("scrape_part_up", "Whether a part of the service could be asked.", labels=("part",))
        took = GaugeMetricFamily("scrape_part_duration_seconds", "Time to ask a part.", labels=("part",))
        for part, ask in self._parts.items():
            began_s = time.perf_counter()
            try:
                found = ask()
            except Exception as err:  # the other parts are still shown
                if self._errors.get(part) != str(err):  # logged once, not on every scrape
                    log.warning("the metrics of %s could not be had: %s", part, err)
                self._errors[part] = str(err)
                up.add_metric((part,), 0.0)
            else:
                self._errors.pop(part, None)
                up.add_metric((part,), 1.0)
                yield from found
            took.add_metric((part,), time.perf_counter() - began_s)
        yield up
        yield took


def _service(parts: Services) -> "list[Metric]":
    from prometheus_client.core import GaugeMetricFamily

    info = GaugeMetricFamily("service_build_info", "Which program this is; always 1.", labels=("version", "python"))
    info.add_metric((VERSION, platform.python_version()), 1.0)
    warm = GaugeMetricFamily("service_warmed_up", "Whether the warm-up of the process that was asked is over.")
    warm.add_metric((), float(parts.warmed_up.is_set()))
    free = GaugeMetricFamily("home_free_bytes", "Free space where the records, models and logs are.")
    free.add_metric((), float(shutil.disk_usage(parts.settings.home).free))
    return [info, warm, free]


def _models(parts: Services) -> "list[Metric]":
    from prometheus_client.core import GaugeMetricFamily

    info = GaugeMetricFamily(
        "model_info", "A registered model; always 1.", labels=("model", "algorithm", "version", "status")
    )
    tag = GaugeMetricFamily("model_tag", "A model bears a tag; always 1.", labels=("model", "algorithm", "tag"))
    default = GaugeMetricFamily("model_default", "Whether the model answers by default.", labels=("model",))
    records: list[ModelRecord] = parts.models.list_models()
    key = parts.models.resolve(parts.experiments.default_model, oldest=True)
    for record in records:
        info.add_metric((record.model_key, record.algorithm, record.version, record.status), 1.0)
        for name in record.tags:
            tag.add_metric((record.model_key, record.algorithm, name), 1.0)
        default.add_metric((record.model_key,), float(record.model_key == key))
    return [info, tag, default]


def _experiments(parts: Services) -> "list[Metric]":
    from prometheus_client.core import GaugeMetricFamily

    valid = GaugeMetricFamily("experiments_config_valid", "Whether the experiments' file is in force as it is.")
    valid.add_metric((), float(parts.experiments.config_problem is None))
    status = GaugeMetricFamily("experiment_status", "The status now; always 1.", labels=("experiment", "status"))
    share = GaugeMetricFamily(
        "experiment_share_ratio", "Share of all users that an arm gets now.", labels=("experiment", "arm", "model")
    )
    stage = GaugeMetricFamily("experiment_stage", "The stage of a rollout, the first being 0.", labels=("experiment",))
    aborted = GaugeMetricFamily(
        "experiment_aborted", "Whether it stopped itself, until it is concluded.", labels=("experiment",)
    )
    arm_stopped = GaugeMetricFamily(
        "experiment_arm_stopped",
        "Whether a candidate alone is stopped, until the experiment is concluded.",
        labels=("experiment", "arm"),
    )
    for each in _configured(parts):
        status.add_metric((each.name, each.status), 1.0)
        coverage = each.present_coverage if each.status == "active" else 0.0
        for arm, model in each.models.items():
            present = 0.0 if arm in each.stopped_arms else each.traffic_split[arm]
            share.add_metric((each.name, arm, model), coverage * present)
        for arm in each.candidates:
            is_stopped = arm in each.stopped_arms and each.status != "concluded"
            arm_stopped.add_metric((each.name, arm), float(is_stopped))
        if each.rollout is not None:
            stage.add_metric((each.name,), float(each.rollout.stage))
        was_aborted = (each.last_transition or {}).get("event") == "aborted"
        aborted.add_metric((each.name,), float(was_aborted and each.status == "stopped"))
    return [valid, status, share, stage, aborted, arm_stopped]


def _configured(parts: Services) -> "list[Experiment]":
    """All experiments; empty if no valid file has been read, which `experiments_config_valid` shows."""
    try:
        return parts.experiments.list_experiments()
    except StorageUnavailable:
        return []


def _alerts(firing: Mapping[tuple[str, str], int]) -> "list[Metric]":
    from prometheus_client.core import GaugeMetricFamily

    family = GaugeMetricFamily("alerts_firing", "Alerts of the service itself.", labels=("name", "severity"))
    for (name, severity), count in firing.items():
        family.add_metric((name, severity), float(count))
    return [family]

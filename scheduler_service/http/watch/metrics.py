"""The metrics of `/metrics`: counters since the start, and what `StateCollector` reads on each scrape.

With several workers the counters of all are summed through files in `PROMETHEUS_MULTIPROC_DIR`, which `processes` sets
before the workers start. docs/operations.md has the table of all metrics.
"""

import os
from collections.abc import Callable
from functools import lru_cache
from typing import TYPE_CHECKING, Any, Literal

from scheduler_service.alerts.about import is_one_cycle

if TYPE_CHECKING:
    from prometheus_client import Counter, Gauge
    from prometheus_client.registry import Collector

    from monitoring import PerformanceRecord
    from scheduler_service.registry.loading import Lookup

_LATENCY_BUCKETS_S = (0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1.0, 2.5, 5.0, 10.0, 30.0, 60.0)
_MAKESPAN_BUCKETS_H = (25.0, 50.0, 52.5, 55.0, 60.0, 75.0, 100.0, 150.0, 250.0, 500.0, 1_000.0, 2_500.0, 10_000.0)
_GAP_BUCKETS = (0.0, 0.001, 0.0025, 0.005, 0.01, 0.02, 0.03, 0.05, 0.075, 0.1, 0.15, 0.2, 0.3, 0.5, 1.0)
"""The first bucket counts schedules that are proven optimal."""
_VERDICTS = (1.0, 2.0, 3.0, 4.0, 5.0)


class QueueMetrics:
    """The metrics of one queue."""

    def __init__(self, depth: "Gauge", capacity: "Gauge", refused: "Counter") -> None:
        self.set_depth = depth.set
        self.set_capacity = capacity.set
        self.count_refused = refused.inc


class Metrics:
    """The metrics of one application."""

    def __init__(self) -> None:
        # Imported late: at its import prometheus_client reads PROMETHEUS_MULTIPROC_DIR, which `processes` sets.
        from prometheus_client import CollectorRegistry, Counter, Gauge, Histogram, disable_created_metrics

        # They double the number of series, and do not exist with several processes.
        disable_created_metrics()  # type: ignore[no-untyped-call]
        self._registry = CollectorRegistry()
        self._state: Collector | None = None
        # Cached, because `labels` validates and converts its arguments on each call.
        self._series: Callable[..., Any] = lru_cache(maxsize=1_024)(lambda metric, *labels: metric.labels(*labels))
        self._requests = Counter(
            "http_requests", "Requests answered.", ("method", "route", "status"), registry=self._registry
        )
        self._latency_s = Histogram(
            "http_request_duration_seconds",
            "Time from a request's arrival to its answer.",
            ("route",),
            buckets=_LATENCY_BUCKETS_S,
            registry=self._registry,
        )
        self._runs = Counter(
            "schedule_runs", "Schedules computed.", ("model", "variant", "reason", "success"), registry=self._registry
        )
        self._makespan_h = Histogram(
            "schedule_makespan_hours",
            "Makespan of the schedules answered.",
            ("model", "variant"),
            buckets=_MAKESPAN_BUCKETS_H,
            registry=self._registry,
        )
        self._cycle_makespan_h = Histogram(
            "schedule_cycle_makespan_hours",
            "Makespan of the schedules answered to requests of one standard cycle.",
            ("model", "variant"),
            buckets=_MAKESPAN_BUCKETS_H,
            registry=self._registry,
        )
        self._policy_makespan_h = Histogram(
            "schedule_policy_makespan_hours",
            "Makespan of the models' own schedules, before any search or proof.",
            ("model", "variant"),
            buckets=_MAKESPAN_BUCKETS_H,
            registry=self._registry,
        )
        self._gap = Histogram(
            "schedule_gap_ratio",
            "Share of the lower bound by which the schedules answered are longer.",
            ("model", "variant"),
            buckets=_GAP_BUCKETS,
            registry=self._registry,
        )
        self._execution_s = Histogram(
            "schedule_execution_seconds",
            "Time to compute a schedule.",
            ("model", "variant"),
            buckets=_LATENCY_BUCKETS_S,
            registry=self._registry,
        )
        self._overrun_s = Histogram(
            "schedule_overrun_seconds",
            "Time to compute a schedule beyond what was granted to improve it.",
            ("model", "variant"),
            buckets=_LATENCY_BUCKETS_S,
            registry=self._registry,
        )
        self._shadow_pairs = Counter(
            "shadow_pairs",
            "Requests on which both models of a pair were run.",
            ("experiment",),
            registry=self._registry,
        )
        self._shadow_dropped = Counter(
            "shadow_dropped", "Shadow runs given up: the queue was full.", ("experiment",), registry=self._registry
        )
        self._shadow_waiting = Gauge(
            "shadow_waiting", "Shadow runs in the queue.", multiprocess_mode="livesum", registry=self._registry
        )
        self._queue_depth = Gauge(
            "queue_depth",
            "Pieces of work being done or waiting.",
            ("kind",),
            multiprocess_mode="livesum",
            registry=self._registry,
        )
        self._queue_capacity = Gauge(
            "queue_capacity",
            "Pieces of work there is room for; beyond it clients get 503.",
            ("kind",),
            multiprocess_mode="livesum",
            registry=self._registry,
        )
        self._queue_refused = Counter(
            "queue_refused", "Pieces of work refused: the queue was full.", ("kind",), registry=self._registry
        )
        self._model_lookups = Counter(
            "model_cache_lookups",
            "Models asked for: in memory (hit), read from the file (miss), not to be had (failed).",
            ("result",),
            registry=self._registry,
        )
        self._answer_lookups = Counter(
            "answer_cache_lookups",
            "Answers looked for in the cache, if there is one: there (hit), or not (miss).",
            ("result",),
            registry=self._registry,
        )
        self._records = Counter(
            "run_records", "Records of runs: written, or failed to be.", ("result",), registry=self._registry
        )
        self._feedback = Histogram(
            "feedback_verdict",
            "Verdicts of people on runs, 1 (bad) to 5 (good).",
            buckets=_VERDICTS,
            registry=self._registry,
        )
        self._workers = Gauge(
            "service_workers", "Processes that serve.", multiprocess_mode="livesum", registry=self._registry
        )
        self._started = Gauge(
            "service_start_time_seconds",
            "When the process that serves for longest began, in seconds since 1970.",
            multiprocess_mode="livemin",
            registry=self._registry,
        )
        self._workers.set(1)
        self._started.set_to_current_time()
        for lookup in ("hit", "miss", "failed"):  # alerting rules need the series before the first failure
            self._model_lookups.labels(lookup)
        for result in ("written", "failed"):
            self._records.labels(result)
        for result in ("hit", "miss"):
            self._answer_lookups.labels(result)

    def observe_request(self, method: str, route: str, status: int, duration_s: float) -> None:
        known = method if method in ("GET", "HEAD", "POST", "PUT", "DELETE", "OPTIONS") else "other"
        self._series(self._requests, known, route, status).inc()
        self._series(self._latency_s, route).observe(duration_s)

    def observe_run(self, record: "PerformanceRecord") -> None:
        """Count a recorded run or failed attempt."""
        model_key, variant = record.model_key or "", record.variant or ""
        self._series(self._runs, model_key, variant, record.reason or "", str(record.success).lower()).inc()
        if record.success and record.makespan is not None:
            self._series(self._makespan_h, model_key, variant).observe(record.makespan)
            if is_one_cycle(record.n_workpoints, record.n_steps):
                self._series(self._cycle_makespan_h, model_key, variant).observe(record.makespan)
            if record.policy_makespan is not None:
                self._series(self._policy_makespan_h, model_key, variant).observe(record.policy_makespan)
            if record.execution_time is not None:
                self._series(self._execution_s, model_key, variant).observe(record.execution_time)
                late_s = max(0.0, record.execution_time - (record.time_budget_ms or 0.0) / 1_000.0)
                self._series(self._overrun_s, model_key, variant).observe(late_s)
            if record.gap is not None:
                self._series(self._gap, model_key, variant).observe(record.gap)

    def observe_feedback(self, verdict: int) -> None:
        self._feedback.observe(verdict)

    def count_records(self, result: Literal["written", "failed"], number: int) -> None:
        self._series(self._records, result).inc(number)

    def count_answer_lookup(self, *, is_hit: bool) -> None:
        self._answer_lookups.labels("hit" if is_hit else "miss").inc()

    def count_model_lookup(self, lookup: "Lookup") -> None:
        self._series(self._model_lookups, lookup).inc()

    def count_shadow_pair(self, experiment: str) -> None:
        self._shadow_pairs.labels(experiment).inc()

    def count_shadow_dropped(self, experiment: str) -> None:
        self._shadow_dropped.labels(experiment).inc()

    def set_shadow_waiting(self, jobs: int) -> None:
        self._shadow_waiting.set(jobs)

    def queue(self, kind: str) -> "QueueMetrics":
        """The metrics of the queue `kind`."""
        return QueueMetrics(
            self._queue_depth.labels(kind), self._queue_capacity.labels(kind), self._queue_refused.labels(kind)
        )

    def add_collector(self, state: "Collector") -> None:
        """Include the metrics of `state` in `exposition`."""
        self._state = state

    def exposition(self) -> bytes:
        """All metrics in Prometheus' text format; reads files."""
        from prometheus_client import CollectorRegistry, generate_latest
        from prometheus_client.multiprocess import MultiProcessCollector

        everything = CollectorRegistry()
        if "PROMETHEUS_MULTIPROC_DIR" in os.environ:
            MultiProcessCollector(everything)  # type: ignore[no-untyped-call]
        else:
            everything.register(self._registry)
        if self._state is not None:
            everything.register(self._state)
        return generate_latest(everything)

"""What `/metrics` tells Prometheus: requests by route, runs by model and variant.

With several worker processes the numbers of all are added up through files in `PROMETHEUS_MULTIPROC_DIR`, which
`serving` sets before the workers start.
"""

import os

_LATENCY_BUCKETS_S = (0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1.0, 2.5, 5.0, 10.0, 30.0, 60.0)
_MAKESPAN_BUCKETS_H = (25.0, 50.0, 52.5, 55.0, 60.0, 75.0, 100.0, 150.0, 250.0, 500.0, 1_000.0, 2_500.0, 10_000.0)


class Metrics:
    """The counters of one application."""

    def __init__(self) -> None:
        # prometheus_client decides at its import whether numbers live in files, so not before `serving` has said so.
        from prometheus_client import CollectorRegistry, Counter, Gauge, Histogram

        self._registry = CollectorRegistry()
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
        self._execution_s = Histogram(
            "schedule_execution_seconds",
            "Time to compute a schedule.",
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

    def observe_request(self, method: str, route: str, status: int, duration_s: float) -> None:
        known = method if method in ("GET", "HEAD", "POST", "PUT", "DELETE", "OPTIONS") else "other"
        self._requests.labels(known, route, status).inc()
        self._latency_s.labels(route).observe(duration_s)

    def observe_run(
        self, model_key: str, variant: str, reason: str, makespan_h: float | None, execution_time_s: float
    ) -> None:
        """Count a run; one without a makespan has failed."""
        self._runs.labels(model_key, variant, reason, str(makespan_h is not None).lower()).inc()
        if makespan_h is not None:
            self._makespan_h.labels(model_key, variant).observe(makespan_h)
            self._execution_s.labels(model_key, variant).observe(execution_time_s)

    def count_shadow_pair(self, experiment: str) -> None:
        self._shadow_pairs.labels(experiment).inc()

    def count_shadow_dropped(self, experiment: str) -> None:
        self._shadow_dropped.labels(experiment).inc()

    def set_shadow_waiting(self, jobs: int) -> None:
        self._shadow_waiting.set(jobs)

    def exposition(self) -> bytes:
        """All numbers in Prometheus' text format."""
        from prometheus_client import CollectorRegistry, generate_latest
        from prometheus_client.multiprocess import MultiProcessCollector

        if "PROMETHEUS_MULTIPROC_DIR" in os.environ:
            everybody = CollectorRegistry()
            MultiProcessCollector(everybody)  # type: ignore[no-untyped-call]
            return generate_latest(everybody)
        return generate_latest(self._registry)

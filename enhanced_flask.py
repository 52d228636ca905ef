"""The service: `python enhanced_flask.py` serves schedules, models, experiments and reports over HTTP.

`create_app(settings)` wires the parts; what the routes do is in `scheduler_service.http`.
"""

import argparse
import logging
import sys
from collections.abc import Sequence
from pathlib import Path

import gevent
from flask import Flask
from pydantic import ValidationError

from ab_testing import ABTestManager
from model_manager import ModelVersionManager
from monitoring import ABTestAnalyzer, PerformanceMonitor, alert_desk
from scheduler_service.clock import utc_now
from scheduler_service.errors import ServiceError
from scheduler_service.http import auth, hygiene, problems
from scheduler_service.http.background import leave
from scheduler_service.http.bodies import OrjsonProvider
from scheduler_service.http.limits import Limits
from scheduler_service.http.metrics import Metrics
from scheduler_service.http.offload import NativeThreads
from scheduler_service.http.replays import Replays
from scheduler_service.http.routes import alerts, models, operations, runs
from scheduler_service.http.routes import experiments as experiment_routes
from scheduler_service.http.services import EXTENSION, Services
from scheduler_service.http.serving import WarmUp, serve, serve_with_workers
from scheduler_service.http.shadowing import Shadow
from scheduler_service.http.state import State
from scheduler_service.http.watching import firing_alerts, watch_alerts, watch_experiments, watch_live_models
from scheduler_service.logs import configure_logging
from scheduler_service.settings import Settings, settings_from_environment

STORAGE_THREADS = 8
"""Enough for many records to share one commit; they wait for the disk rather than compute."""
MAX_WAITING = 1_000
"""Requests in the queue of a kind of work; beyond it clients are told to come back later (503)."""
PROBING_THREADS, MAX_PROBES_WAITING = 2, 64
"""For health and metrics: one that waits for a slow disk does not keep the next from answering."""
MAX_EXAMINATIONS_WAITING = 16
"""Registrations and validations in the queue; a hostile file takes up to 20 s."""

log = logging.getLogger("scheduler")


def create_app(settings: Settings | None = None, *, limits: Limits | None = None) -> Flask:
    """The application over the folder `settings.home`: folders made, seed models registered, parts connected.

    `limits` are what several processes share of the rate limits; left out, this one has its own.
    """
    settings = settings or settings_from_environment()
    make_folders(settings)
    app = Flask("enhanced_flask", static_folder=None)
    app.config["MAX_CONTENT_LENGTH"] = settings.max_body_bytes
    app.config["MAX_FORM_MEMORY_SIZE"] = settings.max_body_bytes
    app.json = OrjsonProvider(app)
    parts = make_services(settings)
    app.extensions[EXTENSION] = parts
    parts.metrics.show(State(parts, alerts=lambda: firing_alerts(parts.monitor)))
    problems.handle_errors(app)
    hygiene.keep_clean(app, settings, parts.metrics)
    auth.guard(app, settings, limits or Limits(settings))
    for resource in (runs, models, experiment_routes, alerts, operations):
        app.register_blueprint(resource.blueprint)
    return app


def make_folders(settings: Settings) -> None:
    """The folders that the service writes to."""
    for part in ("models", "metadata", "configs"):
        (settings.models_dir / part).mkdir(parents=True, exist_ok=True)
    settings.logs_dir.mkdir(parents=True, exist_ok=True)
    settings.reports_dir.mkdir(parents=True, exist_ok=True)


def make_services(settings: Settings) -> Services:
    """The doors over `settings.home`, and the threads to use them on."""
    registry = ModelVersionManager(settings.models_dir, allowed_sources=settings.model_sources or (settings.home,))
    registry.register_seed_models(settings.seed_models_dir)
    experiments = ABTestManager(settings.ab_config_file, registry=registry)
    if not settings.ab_config_file.exists():  # people edit it, and the registry keeps the models that it names
        experiments.config["default_model"] = experiments.default_model
    monitor = PerformanceMonitor(
        settings.database_file, reports_dir=settings.reports_dir, thresholds=settings.alert_thresholds
    )
    metrics = Metrics()
    registry.loaded.tell(metrics.count_model_lookup)

    def threads(kind: str, size: int, max_waiting: int = MAX_WAITING) -> NativeThreads:
        return NativeThreads(size, max_waiting=max_waiting, metrics=metrics.queue(kind))

    compute = threads("compute", settings.compute_threads)
    improving = threads("improving", settings.compute_threads)

    def clients_wait() -> bool:
        return compute.is_busy or improving.is_busy

    return Services(
        settings=settings,
        models=registry,
        experiments=experiments,
        monitor=monitor,
        analyzer=ABTestAnalyzer(monitor, config_path=settings.ab_config_file),
        desk=alert_desk(monitor, settings, confirm_s=settings.alert_confirm_s, is_service=True),
        metrics=metrics,
        compute=compute,
        improving=improving,
        storage=threads("storage", STORAGE_THREADS),
        examining=threads("examining", 1, MAX_EXAMINATIONS_WAITING),
        probing=threads("probing", PROBING_THREADS, MAX_PROBES_WAITING),
        drawing=threads("drawing", 1),
        shadow=Shadow(registry, experiments, monitor, metrics, clients_wait),
        replays=Replays(registry, experiments, monitor, clients_wait),
        started_at=utc_now(),
    )


def warm_up(parts: Services) -> None:
    """Load the default model and the kernel, so that the first client does not wait for it."""
    from scheduler_env.standard_cycle import SAMPLE_PARAMS, standard_instance

    def first_schedule() -> None:
        key = parts.models.resolve(parts.experiments.default_model, standing=True)
        agent = parts.models.load_model(key).agent
        agent.solve(standard_instance(SAMPLE_PARAMS))
        agent.solve(standard_instance(SAMPLE_PARAMS), time_budget_ms=10_000.0, max_evaluations=1_000)

    try:
        parts.compute.run(first_schedule)
    except Exception:  # clients will be told the same; /health names it
        log.warning("the default model could not be warmed up", exc_info=True)
    else:
        log.info("warmed up")
    finally:
        parts.warmed_up.set()


def settings_from_arguments(arguments: Sequence[str] | None = None) -> Settings:
    """The settings of the environment, with what the command line says instead."""
    parser = argparse.ArgumentParser(
        prog="enhanced_flask.py",
        description="Serve inspection-shutdown schedules, model versions, A/B tests and reports over HTTP.",
        epilog="Every setting is also an environment variable, SCHED_<NAME>; see docs/operations.md.",
        formatter_class=argparse.ArgumentDefaultsHelpFormatter,
    )
    known = settings_from_environment()
    parser.add_argument("--host", default=known.host, help="address to listen on; beyond loopback, clients need a key")
    parser.add_argument("--port", type=int, default=known.port, help="TCP port; 0 picks a free one")
    parser.add_argument("--workers", type=int, default=known.workers, help="worker processes")
    parser.add_argument(
        "--home", type=Path, default=known.home, help="folder with models/, logs/, reports/ and ab_test_config.json"
    )
    given = vars(parser.parse_args(arguments))
    try:
        return Settings(**(known.model_dump() | given))
    except ValidationError as err:
        problem = err.errors()[0]
        parser.error(f"--{problem['loc'][0]}: {problem['msg']}")


def main(arguments: Sequence[str] | None = None) -> int:
    """Serve until SIGTERM or SIGINT; 0 when what was in flight is finished, 1 when the address cannot be had."""
    settings = settings_from_arguments(arguments)
    try:
        make_folders(settings)
        configure_logging(settings)
    except OSError as err:
        print(f"enhanced_flask.py: cannot write below SCHED_HOME {settings.home}: {err}", file=sys.stderr)
        return 1

    limits = Limits(settings)  # before the workers are forked

    def make_app() -> tuple[Flask, WarmUp]:
        app = create_app(settings, limits=limits)
        parts = app.extensions[EXTENSION]

        def after_start() -> None:
            warm_up(parts)
            gevent.spawn(watch_experiments, parts)
            gevent.spawn(watch_alerts, parts)
            if settings.auto_rollback:
                watch_live_models(parts)

        return app, after_start

    try:
        if settings.workers > 1:
            serve_with_workers(make_app, settings)
        else:
            serve(*make_app(), settings)
            leave()
    except OSError as err:
        log.error("cannot serve on %s:%d: %s", settings.host, settings.port, err)
        return 1
    except ServiceError as err:
        log.error("cannot start: %s", err)
        return 1
    return 0


if __name__ == "__main__":
    sys.exit(main())

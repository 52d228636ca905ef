"""The service: `python enhanced_flask.py` serves schedules, models, experiments and reports over HTTP.

`create_app(settings)` connects the parts; the routes are in `scheduler_service.http`.
"""

import argparse
import gc
import logging
import math
import os
import sys
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from functools import cache
from typing import TYPE_CHECKING

import gevent
from flask import Flask
from pydantic import ValidationError

from ab_testing import ABTestManager
from model_manager import ModelVersionManager
from monitoring import ABTestAnalyzer, PerformanceMonitor, alert_desk
from scheduler_env.cores import SOLVER_THREADS
from scheduler_service.clock import utc_now
from scheduler_service.command_line import path
from scheduler_service.errors import ServiceError, StorageUnavailable
from scheduler_service.http.bodies import OrjsonProvider
from scheduler_service.http.contract import problems
from scheduler_service.http.guards import auth, hygiene
from scheduler_service.http.guards.limits import Limits
from scheduler_service.http.guards.proxies import TrustedProxies
from scheduler_service.http.guards.shedding import Shedding
from scheduler_service.http.routes import console
from scheduler_service.http.routes.docs import APIS
from scheduler_service.http.runs.caching import AnswerCache
from scheduler_service.http.runs.recording import Recorder
from scheduler_service.http.runs.replays import Replays
from scheduler_service.http.runs.shadowing import Shadow
from scheduler_service.http.server.background import stop_background_work
from scheduler_service.http.server.offload import NativeThreads
from scheduler_service.http.server.processes import gunicorn_settings, serve_with_workers
from scheduler_service.http.server.serving import WarmUp, exit_now, serve
from scheduler_service.http.services import EXTENSION, Services
from scheduler_service.http.watch.metrics import Metrics
from scheduler_service.http.watch.spans import check_spans, flush_spans, spans_from
from scheduler_service.http.watch.state import StateCollector
from scheduler_service.http.watch.watching import (
    clean_folders,
    firing_alerts,
    watch_alerts,
    watch_experiments,
    watch_failures,
    watch_live_models,
    watch_replays,
)
from scheduler_service.logs import configure_logging
from scheduler_service.plans.records import PlanRecords
from scheduler_service.settings import PROJECT_ROOT, Settings, settings_from_environment, unknown_variables
from scheduler_service.store.opening import store_of

if TYPE_CHECKING:
    from scheduler_env.problem import Instance
    from scheduler_env.solver import Solver

STORAGE_THREADS = 8
"""They mostly wait for the disk; one of them at a time writes the records of runs."""
IMPROVING_THREADS = 8
"""May exceed the cores: searches have a time limit, so in parallel each does less, but none waits."""
PROBING_THREADS, MAX_PROBES_WAITING = 2, 64
"""For metrics, also while all other queues are full; health checks have their own threads."""
READING_THREADS = 2
"""For bodies and files of up to 8 MB. The threads of `large` are not used, because parsers hold the GIL: a thread of
low priority would hold it while other threads compute."""
MAX_EXAMINATIONS_WAITING = 16
"""Queue of registrations and validations; a hostile file takes up to 20 s."""

WARM_UP_MS = 2_000.0
"""Time limit of each schedule of the warm-up: an exact solver takes all of it, the agent a tenth."""

STORE_POLL_S = 0.5
"""How often a service that started without its database looks whether it is there."""

COMPILE_POLL_S = 0.5
"""How often the warm-up checks whether another process has compiled the kernel."""

GC_THRESHOLDS = (20_000, 20, 50)
"""A request creates some hundred objects, which are freed with it; there are hardly any cycles."""

log = logging.getLogger("scheduler")


def create_app(settings: Settings | None = None, *, limits: Limits | None = None) -> Flask:
    """The application for `settings.home`; creates folders, registers seed models and connects the parts.

    `limits`: rate limits shared by several processes; by default this process has its own.
    """
    settings = settings or settings_from_environment()
    make_folders(settings)
    app = Flask("enhanced_flask", static_folder=None)
    app.config["MAX_CONTENT_LENGTH"] = settings.max_body_bytes
    app.config["MAX_FORM_MEMORY_SIZE"] = settings.max_body_bytes
    app.ensure_sync = lambda view: view  # type: ignore[assignment, method-assign]  # no view is async
    app.json = OrjsonProvider(app)
    parts = make_services(settings)
    app.extensions[EXTENSION] = parts
    parts.metrics.add_collector(StateCollector(parts, alerts=lambda: firing_alerts(parts.monitor)))
    problems.handle_errors(app, settings.home)
    hygiene.add_ids_and_headers(app, settings, parts.metrics, spans_from(os.environ))
    auth.guard(app, settings, limits or Limits(settings))
    for api in (*APIS, console.api):
        app.register_blueprint(api.blueprint)
    console.current()  # before serving: it would keep all requests waiting
    if settings.trusted_proxies:
        app.wsgi_app = TrustedProxies(app.wsgi_app, settings.trusted_proxies)  # type: ignore[method-assign]
    app.wsgi_app = Shedding(app.wsgi_app, parts)  # type: ignore[method-assign]
    return app


def make_folders(settings: Settings) -> None:
    """Create the folders that the service writes to."""
    for part in ("models", "metadata", "configs"):
        (settings.models_dir / part).mkdir(parents=True, exist_ok=True)
    settings.logs_dir.mkdir(parents=True, exist_ok=True)
    settings.reports_dir.mkdir(parents=True, exist_ok=True)


def warn_of_unknown_variables() -> None:
    """Log unknown SCHED_ variables: a misspelled setting has no effect."""
    for line in unknown_variables(os.environ):
        log.warning("%s", line)


def make_services(settings: Settings) -> Services:
    """The doors for `settings.home`, and their threads."""
    store = store_of(settings)
    registry = ModelVersionManager(allowed_sources=settings.model_sources or (settings.home,), store=store)
    experiments = ABTestManager(registry=registry, store=store)
    with suppress_storage_errors():
        prepare(registry, experiments, settings)
    with suppress_storage_errors():
        clean_folders(settings, store)
    monitor = PerformanceMonitor(
        settings.records,
        reports_dir=settings.reports_dir,
        thresholds=settings.alert_thresholds,
        share_reports=True,
        store=store,
        must_open=False,
    )
    metrics = Metrics()
    registry.loaded.on_lookup(metrics.count_model_lookup)

    def threads(
        kind: str, size: int, max_waiting: int = settings.max_waiting, *, is_for_long_work: bool = False
    ) -> NativeThreads:
        queue = metrics.queue(kind)
        return NativeThreads(size, max_waiting=max_waiting, metrics=queue, is_for_long_work=is_for_long_work)

    SOLVER_THREADS.limit = settings.threads_of_worker  # so that the workers share the cores
    compute = threads("compute", settings.threads_of_worker)
    large = threads("large", settings.threads_of_worker, is_for_long_work=True)
    improving = threads("improving", IMPROVING_THREADS, is_for_long_work=True)
    storage = threads("storage", STORAGE_THREADS)

    def clients_wait() -> bool:
        return compute.is_busy or large.is_busy or improving.is_busy

    return Services(
        settings=settings,
        models=registry,
        experiments=experiments,
        monitor=monitor,
        analyzer=ABTestAnalyzer(monitor, store=store),
        desk=alert_desk(monitor, settings, confirm_s=settings.alert_confirm_s, is_service=True),
        plans=PlanRecords(monitor.engine, monitor.writer, monitor.clock),
        metrics=metrics,
        compute=compute,
        large=large,
        improving=improving,
        answers=AnswerCache(settings.answer_cache_mib * 2**20),
        storage=storage,
        examining=threads("examining", 1, MAX_EXAMINATIONS_WAITING, is_for_long_work=True),
        reading=threads("reading", READING_THREADS),
        probing=threads("probing", PROBING_THREADS, MAX_PROBES_WAITING),
        drawing=threads("drawing", 1, is_for_long_work=True),
        reporting=threads("reporting", 1, is_for_long_work=True),
        recorder=Recorder(monitor, storage, metrics),
        shadow=Shadow(registry, experiments, monitor, metrics, clients_wait),
        replays=Replays(registry, experiments, monitor, clients_wait),
        started_at=utc_now(),
    )


def prepare(registry: ModelVersionManager, experiments: ABTestManager, settings: Settings) -> None:
    """Give a new home or database the seed models and the default configuration.

    Raises:
        StorageUnavailable: it cannot be read or written.
    """
    registry.register_seed_models(settings.seed_models_dir)
    experiments.write_default()  # the registry keeps the models named in it


def wait_for_store(parts: Services) -> None:
    """Wait for a database that could not be reached at the start, and prepare it then."""
    if parts.models.store.fault is None:
        return
    while parts.models.store.fault is not None:
        gevent.sleep(STORE_POLL_S)
    with suppress_storage_errors():
        parts.storage.run(lambda: prepare(parts.models, parts.experiments, parts.settings))


@contextmanager
def suppress_storage_errors() -> Iterator[None]:
    """Storage errors do not prevent the start: the service can still read, and /health shows the errors."""
    try:
        yield
    except (StorageUnavailable, OSError) as err:
        log.error("started all the same: %s", err)


def warm_up(parts: Services) -> None:
    """Load the default model and the kernel, so that the first client does not wait for them."""
    from scheduler_env.compilation import is_compiling
    from scheduler_env.generator import random_instance
    from scheduler_env.interleaving import bound_by_orders
    from scheduler_env.kernel import compile_instance
    from scheduler_env.standard_cycle import SAMPLE_PARAMS, standard_instance

    def agent() -> "Solver":
        key = parts.models.resolve(parts.experiments.default_model, oldest=True)
        return parts.models.load_model(key).agent

    def load_rest() -> None:
        load_compiled_code(agent())
        problem = compile_instance(random_instance(2, seed=0))
        bound_by_orders(problem, 0.0, math.inf, math.inf, max_programs=2)

    try:
        parts.compute.run(lambda: solve(agent(), standard_instance(SAMPLE_PARAMS)))
        while is_compiling():  # at the first `make serve`; does not block a compute thread
            gevent.sleep(COMPILE_POLL_S)
        parts.compute.run(load_rest)
    except Exception:  # runs will fail with the same error; /health shows it
        log.warning("the default model could not be warmed up", exc_info=True)
    else:
        log.info("warmed up")
    finally:
        # Exclude all current objects from garbage collection, which took 5 % of the time under load.
        gc.collect()
        gc.freeze()
        gc.set_threshold(*GC_THRESHOLDS)
        parts.warmed_up.set()


def load_compiled_code(agent: "Solver") -> None:
    """Run every stage of the search: compiled functions are read from disk at their first call.

    The sample request is solved by decomposition and needs none of the stages. Four work points need them, and have no
    bound by orders. The solver of that bound is only imported: it might start threads, which a fork would not copy.
    """
    import scipy.optimize
    import scipy.sparse  # noqa: F401

    from scheduler_env.generator import random_instance
    from scheduler_env.interleaving import MAX_PROJECTS
    from scheduler_env.standard_cycle import SAMPLE_PARAMS, standard_instance

    for instance in (standard_instance(SAMPLE_PARAMS), random_instance(MAX_PROJECTS + 1, seed=0)):
        solve(agent, instance)


def solve(agent: "Solver", instance: "Instance") -> None:
    """Solve with the model alone, and with a search."""
    agent.solve(instance)
    agent.solve(instance, time_budget_ms=WARM_UP_MS, max_evaluations=1_000)


def reload(parts: Services) -> None:
    """At SIGHUP: load the models again. Other files are read again after each change without a signal."""
    log.info("SIGHUP: models and experiments are read again; settings are the environment's, and need a restart")
    parts.models.loaded.forget()
    warm_up(parts)


def load_before_fork() -> None:
    """Import what every worker needs, and load the compiled kernel; a worker then only reads its models."""
    # Before numpy is imported: its threads would not survive the fork, and the workers have their own threads.
    for name in ("OMP_NUM_THREADS", "OPENBLAS_NUM_THREADS"):
        os.environ.setdefault(name, "1")
    try:
        from scheduler_env.agent import load_agent

        load_compiled_code(load_agent(min((PROJECT_ROOT / "models" / "seed").glob("*.pth"))))
    except Exception:  # the workers try again, and /health shows the error
        log.warning("nothing could be loaded before the workers were started", exc_info=True)


def make_app(settings: Settings, limits: Limits) -> tuple[Flask, WarmUp]:
    """The application, and its warm-up and periodic tasks, to be called once clients can connect."""
    app = create_app(settings, limits=limits)
    parts = app.extensions[EXTENSION]

    def after_start() -> None:
        wait_for_store(parts)
        warm_up(parts)
        gevent.spawn(watch_failures, parts)
        gevent.spawn(watch_experiments, parts)
        gevent.spawn(watch_alerts, parts)
        gevent.spawn(watch_replays, parts)
        if settings.auto_rollback:
            watch_live_models(parts)

    return app, after_start


def gunicorn_configuration() -> dict[str, object]:
    """For `deploy/gunicorn.conf.py`: gunicorn's settings for the environment, as for `--workers`."""
    settings = settings_from_environment()
    make_folders(settings)
    configure_logging(settings)
    warn_of_unknown_variables()
    try:
        check_spans(os.environ)
    except ServiceError as err:
        raise SystemExit(f"cannot start: {err}") from err
    _limits()  # before the workers are forked
    return {
        **gunicorn_settings(settings, load=load_before_fork),
        "wsgi_app": "enhanced_flask:worker_application()",
        "chdir": str(PROJECT_ROOT),
    }


def worker_application() -> Flask:
    """For gunicorn: the application of this process, with its warm-up started."""
    app, after_start = make_app(settings_from_environment(), _limits())
    gevent.spawn(after_start)
    return app


@cache
def _limits() -> Limits:
    """The limits of this process and of its forked workers."""
    return Limits(settings_from_environment())


def settings_from_arguments(arguments: Sequence[str] | None = None) -> Settings:
    """The settings of the environment, overridden by the command line."""
    parser = argparse.ArgumentParser(
        prog="enhanced_flask.py",
        description="Serve inspection-shutdown schedules, model versions, A/B tests and reports over HTTP.",
        epilog="Every setting is also an environment variable, SCHED_<NAME>; see docs/operations.md.",
        formatter_class=argparse.ArgumentDefaultsHelpFormatter,
    )
    known = settings_from_environment()
    parser.add_argument(
        "--host", default=known.host, help="address to listen on; other than loopback, clients need a key"
    )
    parser.add_argument("--port", type=int, default=known.port, help="TCP port; 0 selects a free one")
    parser.add_argument("--workers", type=int, default=known.workers, help="worker processes")
    parser.add_argument(
        "--home", type=path, default=known.home, help="folder with models/, logs/, reports/ and ab_test_config.json"
    )
    given = vars(parser.parse_args(arguments))
    try:
        return Settings(**(known.model_dump() | given))
    except ValidationError as err:
        problem = err.errors()[0]
        parser.error(f"--{problem['loc'][0]}: {problem['msg']}")


def main(arguments: Sequence[str] | None = None) -> int:
    """Serve until SIGTERM or SIGINT; 0 after requests in flight are finished, 1 if the address is not available."""
    settings = settings_from_arguments(arguments)
    try:
        make_folders(settings)
        configure_logging(settings)
        warn_of_unknown_variables()
    except OSError as err:
        print(f"enhanced_flask.py: cannot write below SCHED_HOME {settings.home}: {err}", file=sys.stderr)
        return 1

    limits = Limits(settings)  # before the workers are forked
    try:
        check_spans(os.environ)
        if settings.workers > 1:
            serve_with_workers(lambda: make_app(settings, limits), settings, load=load_before_fork)
        else:
            app, after_start = make_app(settings, limits)
            serve(app, after_start, settings, reload=lambda: reload(app.extensions[EXTENSION]))
            flush_spans()
            stop_background_work()
            exit_now()
    except OSError as err:
        log.error("cannot serve on %s:%d: %s", settings.host, settings.port, err)
        return 1
    except ServiceError as err:
        log.error("cannot start: %s", err)
        return 1
    return 0


if __name__ == "__main__":
    sys.exit(main())

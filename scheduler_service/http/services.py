"""The parts that every route uses: made once, in `create_app`, and reached through the application."""

import threading
from dataclasses import dataclass, field
from datetime import datetime
from typing import cast

from flask import current_app

from ab_testing import ABTestManager
from model_manager import ModelVersionManager
from monitoring import ABTestAnalyzer, PerformanceMonitor
from scheduler_service.alerts.desk import AlertDesk
from scheduler_service.http.runs.caching import AnswerCache
from scheduler_service.http.runs.recording import Recorder
from scheduler_service.http.runs.replays import Replays
from scheduler_service.http.runs.shadowing import Shadow
from scheduler_service.http.server.offload import NativeThreads
from scheduler_service.http.watch.checks import Checks
from scheduler_service.http.watch.failing import FailedRuns
from scheduler_service.http.watch.metrics import Metrics
from scheduler_service.settings import Settings

EXTENSION = "scheduler"


@dataclass(frozen=True)
class Services:
    """The doors, and the threads to use them on."""

    settings: Settings
    models: ModelVersionManager
    experiments: ABTestManager
    monitor: PerformanceMonitor
    analyzer: ABTestAnalyzer
    desk: AlertDesk
    metrics: Metrics
    compute: NativeThreads  # schedules that are there at once
    large: NativeThreads  # those of many steps: the small ones do not wait for them
    improving: NativeThreads  # those that are to be improved for long
    answers: AnswerCache  # schedules that were answered before
    storage: NativeThreads  # whatever reads or writes files and the database
    examining: NativeThreads  # weights files that are read for the first time or measured; few, so that no run waits
    reading: NativeThreads  # large bodies
    probing: NativeThreads  # metrics: they answer also when everything else is full
    drawing: NativeThreads  # charts: one thread, because matplotlib draws one figure at a time
    reporting: NativeThreads  # reports: they take turns with charts, figure by figure
    recorder: Recorder  # records of runs, many to a commit
    shadow: Shadow  # both models of an experiment on requests that are answered
    replays: Replays  # the same on requests that were answered before
    started_at: datetime
    failed_runs: FailedRuns = field(default_factory=FailedRuns)  # of experiments; they wake the watch
    checks: Checks = field(default_factory=Checks)  # what /health found last
    warmed_up: threading.Event = field(default_factory=threading.Event)  # also when the warm-up has failed


def services() -> Services:
    """Those of the application that serves this request."""
    return cast(Services, current_app.extensions[EXTENSION])

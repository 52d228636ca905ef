"""The parts that every route uses. `create_app` creates them once; handlers get them through the application."""

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
from scheduler_service.plans.records import PlanRecords
from scheduler_service.settings import Settings

EXTENSION = "scheduler"


@dataclass(frozen=True)
class Services:
    """The doors, and the threads on which they are used."""

    settings: Settings
    models: ModelVersionManager
    experiments: ABTestManager
    monitor: PerformanceMonitor
    analyzer: ABTestAnalyzer
    desk: AlertDesk
    plans: PlanRecords
    metrics: Metrics
    compute: NativeThreads  # schedules of small problems without a long search
    large: NativeThreads  # schedules of many steps, which the small ones do not wait for
    improving: NativeThreads  # schedules with a long search
    answers: AnswerCache  # schedules that were computed before
    storage: NativeThreads  # reads and writes of files and of the database
    examining: NativeThreads  # loading and examining weights files; few, so that no run waits
    reading: NativeThreads  # parsing of large bodies
    probing: NativeThreads  # metrics, which answer even if all other queues are full
    drawing: NativeThreads  # charts: one thread, because matplotlib draws one figure at a time
    reporting: NativeThreads  # reports; they alternate with charts after each figure
    recorder: Recorder  # records of runs, written in batches
    shadow: Shadow  # runs both models of an experiment on answered requests
    replays: Replays  # runs both models on recorded requests
    started_at: datetime
    failed_runs: FailedRuns = field(default_factory=FailedRuns)  # of experiments; they wake the experiment watch
    checks: Checks = field(default_factory=Checks)  # the latest results of /health
    warmed_up: threading.Event = field(default_factory=threading.Event)  # also set after a failed warm-up


def services() -> Services:
    """The services of the application that handles this request."""
    return cast(Services, current_app.extensions[EXTENSION])

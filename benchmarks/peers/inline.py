"""What a peer does with a request: the same instance, agent, budget, answer and record as the service's.

It leaves out what the service does besides: strict JSON, choosing a model, experiments, metrics, the log, deadlines,
and a bounded queue. So a peer is the cheapest honest way to answer, not an equal.
"""

import os
import time
import uuid
from pathlib import Path
from typing import Any

import orjson

from monitoring import PerformanceMonitor, PerformanceRecord
from scheduler_env.agent import load_agent
from scheduler_env.placements import packed
from scheduler_env.readers import instance_from_request
from scheduler_env.schedule import Solution
from scheduler_service.http.runs.details import details

MODEL_KEY = "DDQN_seed_v2.0.0"


class Scheduler:
    """The seed model, in memory, and the database; a process has one of its own."""

    def __init__(self) -> None:
        home = Path(os.environ["PEER_HOME"])
        self._agent = load_agent(Path(os.environ["PEER_WEIGHTS"]))
        self._monitor = PerformanceMonitor(home / "logs" / "performance.db", reports_dir=home / "reports")
        self.run({"params": [10, 5, 8, 6, 7, 9, 6, 7, 6, 7, 7, 7, 4, 7, 5], "user_id": "warm-up"}, is_recorded=False)

    def run(self, body: dict[str, Any], *, is_recorded: bool) -> bytes:
        """The answer's JSON; with `is_recorded`, its record is on disk when this returns."""
        arrived_s = time.perf_counter()
        instance = instance_from_request(body)
        solution = self._agent.solve(instance, time_budget_ms=self._agent.default_budget_ms)
        took_s = time.perf_counter() - arrived_s
        request_id = str(uuid.uuid4())
        if is_recorded:
            record = self._record(body, request_id, solution, took_s, time.perf_counter() - arrived_s)
            self._monitor.record_performance(record)
        return orjson.dumps(_answer(body["user_id"], request_id, solution, took_s))

    def _record(
        self, body: dict[str, Any], request_id: str, solution: Solution, took_s: float, total_s: float
    ) -> PerformanceRecord:
        schedule, instance = solution.schedule, solution.schedule.instance
        problem = {name: value for name, value in body.items() if name != "user_id"}
        return PerformanceRecord(
            request_id=request_id, model_key=MODEL_KEY, algorithm="DDQN", reason="default", user_id=body["user_id"],
            makespan=schedule.makespan_h, execution_time=took_s, lower_bound=solution.instance_bound_h,
            gap=solution.gap, resource_utilization=schedule.resource_utilization,
            team_utilization=schedule.team_utilization, n_workpoints=len(instance.workpoints),
            n_steps=len(instance.steps), stage=solution.stage, input_params=problem,
            placements=packed(schedule),
            time_budget_ms=self._agent.default_budget_ms, queue_time=0.0, total_time=total_s,
        )  # fmt: skip


def _answer(user_id: str, request_id: str, solution: Solution, took_s: float) -> dict[str, object]:
    """As `scheduler_service.http.runs.running.answer` has it of a run by the default model."""
    schedule = solution.schedule
    return {
        "status": "success",
        "result": {
            "makespan": schedule.makespan_h,
            "lower_bound": solution.lower_bound_h,
            "gap": solution.gap,
            "resource_utilization": schedule.resource_utilization,
            **details(schedule),
            "gantt_charts": {},
            "model_info": {"model_key": MODEL_KEY, "algorithm": "DDQN", "version": "2.0.0"},
            "stage": solution.stage,
            "evaluations": solution.evaluations,
            "search_cut_short": solution.is_cut_short,
        },
        "performance": {
            "makespan": schedule.makespan_h,
            "execution_time": took_s,
            "resource_utilization": schedule.resource_utilization,
        },
        "experiment_info": {
            "experiment": None,
            "variant": None,
            "model_used": MODEL_KEY,
            "user_id": user_id,
            "user_id_generated": False,
            "reason": "default",
        },
        "request_id": request_id,
    }

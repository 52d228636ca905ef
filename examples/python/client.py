"""A client of the shutdown scheduler. Needs `requests`; copy this file.

    client = SchedulerClient("http://localhost:5001", key="...")
    answer = client.run([10, 5, 8, 6, 7, 9, 6, 7, 6, 7, 7, 7, 4, 7, 5], user_id="user_12345")
    print(answer["result"]["makespan"])

`python client.py` runs a short demonstration against SCHEDULER_URL with SCHEDULER_KEY.
"""

import json
import os
import sys
import time
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any
from urllib.parse import quote

import requests

Answer = dict[str, Any]

CONNECT_TIMEOUT_S = 5.0
BUSY = (429, 503)
"""Statuses that say "not now": nothing was done, so that asking again is safe. `Retry-After` says when."""


class SchedulerError(Exception):
    """What the service refused, in its own words.

    `status` is the HTTP status, None if no answer came; `errors` says where each mistake is (`{"loc", "msg"}`).
    """

    def __init__(self, detail: str, status: int | None = None, errors: Sequence[Mapping[str, Any]] = ()) -> None:
        super().__init__(detail)
        self.status = status
        self.errors = list(errors)


class SchedulerClient:
    """The service at `url`; `key` is an API key with the scopes that the calls need.

    `timeout_s` is for one answer, and must exceed the longest `time_budget_ms` asked for. What is refused because the
    service is busy is asked again as late as it says, for `max_wait_s` in all. Every method raises `SchedulerError`.
    """

    def __init__(self, url: str, *, key: str | None = None, timeout_s: float = 90.0, max_wait_s: float = 15.0) -> None:
        self._url = url.rstrip("/")
        self._timeout_s = (CONNECT_TIMEOUT_S, timeout_s)
        self._max_wait_s = max_wait_s
        self._session = requests.Session()
        if key:
            self._session.headers["Authorization"] = f"Bearer {key}"

    # --- scope run ---

    def run(self, params: Sequence[float] | None = None, **fields: Any) -> Answer:
        """A schedule: of 15 durations in hours, or of `workpoints=`.

        Further fields as in docs/http-api.md: `experiment`, `user_id`, `model`, `time_budget_ms`, `charts`, ...
        """
        return self._json("POST", "/run_algorithm", {"params": params, **fields} if params is not None else fields)

    def give_feedback(self, request_id: str, user_satisfaction: int, comment: str | None = None) -> Answer:
        """Tie a person's verdict, 1 (bad) to 5 (good), to a run."""
        body = {"request_id": request_id, "user_satisfaction": user_satisfaction, "comment": comment}
        return self._json("POST", "/feedback", body)

    # --- scope read ---

    def models(self, **filters: str) -> list[Answer]:
        """Models, newest first; `algorithm`, `status` and `tag` narrow the list."""
        models: list[Answer] = self._json("GET", "/models", params=filters)["models"]
        return models

    def results(self, experiment: str) -> Answer:
        """What an experiment has shown until now."""
        results: Answer = self._json("GET", f"/experiments/{quote(experiment, safe='')}/results")["results"]
        return results

    def performance(self, **filters: str) -> Answer:
        """Figures of recorded runs; `start_time`, `end_time`, `model_key` and `experiment` narrow them."""
        performance: Answer = self._json("GET", "/performance", params=filters)["performance"]
        return performance

    def alerts(self) -> list[Answer]:
        """What is wrong now."""
        alerts: list[Answer] = self._json("GET", "/alerts")["alerts"]
        return alerts

    # --- scope admin ---

    def register(self, weights: str | Path, algorithm: str = "DDQN", **fields: Any) -> str:
        """The key of a model whose weights are uploaded.

        Fields: `version` or `bump`, `training_params`, `performance_metrics`, `description`, `created_by`, `tags`.
        """
        form: dict[str, tuple[None, str]] = {"algorithm_name": (None, algorithm)}
        for name, value in fields.items():
            form[name] = (None, value if isinstance(value, str) else json.dumps(value))
        path = Path(weights)
        files = {**form, "file": (path.name, path.read_bytes())}
        key: str = self._json("POST", "/models/register", files=files)["model_key"]
        return key

    def promote(self, model: str, status: str, reason: str = "") -> Answer:
        """The next stage of a model: `validated`, `deployed` or `retired`."""
        return self._json("POST", f"/models/{quote(model, safe='')}/promote", {"status": status, "reason": reason})

    def create_experiment(self, name: str, model_a: str, model_b: str, **fields: Any) -> Answer:
        """Compare `model_b` with the baseline `model_a` on live traffic from now on."""
        body = {"experiment_name": name, "model_a": model_a, "model_b": model_b, **fields}
        return self._json("POST", "/experiments", body)

    def save_report(self, path: str | Path, experiment: str | None = None, **fields: Any) -> Path:
        """A report, made now and saved: of all runs (`.html` or `.pdf`), or of an experiment (`.html`)."""
        target = Path(path)
        if experiment is not None:
            made = self._json("POST", "/reports/ab_test", {"experiment_name": experiment, **fields})
        else:
            made = self._json("POST", "/reports/performance", {"format": target.suffix.lstrip("."), **fields})
        target.write_bytes(self._send("GET", made["url"]).content)
        return target

    # --- how ---

    def _json(self, method: str, path: str, body: Answer | None = None, **more: Any) -> Answer:
        response = self._send(method, path, json=body, **more)
        try:
            answer: Answer = response.json()
        except ValueError as err:  # the page of a login or of a proxy before the service
            raise SchedulerError(f"no answer of the service, but {response.headers.get('Content-Type')}") from err
        return answer

    def _send(self, method: str, path: str, **more: Any) -> requests.Response:
        waited_s = 0.0
        while True:
            try:
                answer = self._session.request(method, self._url + path, timeout=self._timeout_s, **more)
            except requests.RequestException as err:
                # Not asked again: the run may have been computed and recorded.
                raise SchedulerError(f"no answer from {self._url} ({type(err).__name__})") from err
            if answer.ok:
                return answer
            wait_s = _retry_after_s(answer)
            if wait_s is None or waited_s + wait_s > self._max_wait_s:
                raise _error_of(answer)
            waited_s += wait_s
            time.sleep(wait_s)


def _retry_after_s(answer: requests.Response) -> float | None:
    """Never 0, which a proxy may say: asking again at once would have no end."""
    told = answer.headers.get("Retry-After", "")
    return max(1.0, float(told)) if answer.status_code in BUSY and told.isdecimal() else None


def _error_of(answer: requests.Response) -> SchedulerError:
    try:
        problem = answer.json()
        return SchedulerError(problem["detail"], answer.status_code, problem.get("errors", ()))
    except (ValueError, LookupError, TypeError):  # not the service's own answer, but that of a proxy before it
        return SchedulerError(answer.reason or "no reason given", answer.status_code)


def main() -> None:
    """Run the flagship request, look at what comes back, say that it is good; then ask for something impossible."""
    client = SchedulerClient(
        os.environ.get("SCHEDULER_URL", "http://localhost:5001"), key=os.environ.get("SCHEDULER_KEY")
    )
    hours = [10, 5, 8, 6, 7, 9, 6, 7, 6, 7, 7, 7, 4, 7, 5]
    answer = client.run(hours, experiment="ddqn_v1_vs_v2", user_id="user_12345")
    result, why = answer["result"], answer["experiment_info"]
    print(f"makespan {result['makespan']:.2f} h by {why['model_used']} ({why['reason']})")
    for step in result["schedule_details"]:
        print(f"  {step['start']:6.2f} - {step['end']:6.2f}  {step['team']} x {step['workers']:2}  {step['name']}")
    print(client.give_feedback(answer["request_id"], 5, "as planned")["message"])
    try:
        client.run(hours[:3])
    except SchedulerError as err:
        print(f"refused with {err.status}: {err}")


if __name__ == "__main__":
    try:
        main()
    except SchedulerError as err:
        sys.exit(f"{err.status}: {err}" if err.status else str(err))

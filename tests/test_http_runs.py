"""A run over HTTP: the answer, the answering model, and the record."""

import base64
import math
import sqlite3
from concurrent.futures import ThreadPoolExecutor
from xml.etree import ElementTree

import pandas as pd
import pytest

from monitoring import PerformanceMonitor, PerformanceRecord
from scheduler_env.readers import instance_from_request
from scheduler_env.schedule import Schedule, ScheduledStep

SAMPLE = [10, 5, 8, 6, 7, 9, 6, 7, 6, 7, 7, 7, 4, 7, 5]
PNG = b"\x89PNG\r\n\x1a\n"


def schedule_of(answer, payload) -> Schedule:
    """The answered schedule, rebuilt from the request: every step must use a mode of its instance."""
    instance = instance_from_request(payload)
    steps = {step.id: step for step in instance.steps}
    placed = []
    for detail in answer["result"]["schedule_details"]:
        step = steps[detail["id"]]
        duration_h = detail["end"] - detail["start"]
        mode = next(
            mode
            for mode in step.modes
            if step.crew(mode) == detail["workers"] and math.isclose(mode.duration_h, duration_h, abs_tol=1e-6)
        )
        placed.append(ScheduledStep(step, mode, detail["start"]))
    return Schedule(instance, tuple(placed))


def runs_of(service, request_id) -> pd.DataFrame:
    runs = PerformanceMonitor(service.home / "logs" / "performance.db").get_performance_data()
    return runs[runs["request_id"] == request_id]


@pytest.fixture(scope="module")
def better_model(service):
    return next(m["model_key"] for m in service.get("/models").json()["models"] if m["version"].startswith("2."))


# --- the flagship ---


def test_the_flagship_is_valid_short_and_deterministic(service, better_model):
    answers = [service.run(params=SAMPLE, model=better_model, time_budget_ms=0) for _ in range(3)]
    assert answers[0]["result"]["makespan"] <= 55.0
    schedule = schedule_of(answers[0], {"params": SAMPLE})
    assert schedule.violations() == []
    assert schedule.makespan_h == pytest.approx(answers[0]["result"]["makespan"])
    assert answers[0]["result"] == answers[1]["result"] == answers[2]["result"]


def test_the_answer_has_every_field_of_the_contract(service):
    answer = service.run(params=SAMPLE, user_id="user_12345")
    result, performance, actual = answer["result"], answer["performance"], answer["experiment_info"]
    assert answer["status"] == "success"
    assert result["makespan"] == performance["makespan"] >= result["lower_bound"] > 0
    assert result["gap"] == pytest.approx(result["makespan"] / result["lower_bound"] - 1)
    assert result["resource_utilization"] == performance["resource_utilization"]
    assert set(result["team_utilization"]) == {f"team{n}" for n in range(1, 7)}
    assert all(0 < share <= 1 for share in result["team_utilization"].values())
    assert {key: type(value) for key, value in result["schedule_details"][0].items()} == {
        **dict.fromkeys(("id", "name", "workpoint_id", "workpoint_name", "team"), str),
        "order": int,
        "workers": int,
        "start": float,
        "end": float,
        "critical": bool,
    }
    assert result["gantt_charts"] == {}
    assert "plot_image" not in result
    assert result["model_info"]["algorithm"] == "DDQN"
    assert result["model_info"]["model_key"] == actual["model_used"]
    assert 0 < performance["execution_time"] < 10
    user = {"user_id": "user_12345", "user_id_generated": False}
    assert (
        actual == {"experiment": None, "variant": None, "model_used": actual["model_used"], "reason": "default"} | user
    )


def test_the_path_of_the_vue_client_works(service):
    answer = service.post("/api/algorithm/run", json={"params": SAMPLE, "experiment": "ddqn_optimization_test"})
    assert answer.status_code == 200
    assert answer.json()["experiment_info"]["reason"] == "experiment_not_found"


# --- work points ---


def test_three_work_points_one_without_steps(service):
    welding = {"name": "焊接", "team": "welders", "team_size": 4, "duration": 6, "order": 2, "parallel": False}
    payload = {
        "workpoints": [
            {"id": "boiler", "name": "锅炉", "steps": [
                {"name": "搭架子", "order": 1, "team": "team1", "duration": 10},
                {**welding, "min_crew": 1},
                {"name": "检查", "order": 2, "team": "team3", "duration": 5, "max_crew": 4},
                {"name": "清洗", "order": 2, "team": "team2", "duration": 3, "dedicated": True},
            ]},
            {"id": "vessel", "name": "容器"},
            {"id": "pipe", "steps": [
                {"id": "a", "name": "cut", "team": "team2", "duration": 4},
                {"id": "b", "name": "weld", "team": "welders", "duration": 4, "predecessors": ["a", "boiler.2"]},
            ]},
        ]
    }  # fmt: skip
    answer = service.run(**payload)
    schedule = schedule_of(answer, payload)
    assert schedule.violations() == []
    assert len(schedule.steps) == 4 + 15 + 2
    names = {detail["workpoint_id"]: detail["workpoint_name"] for detail in answer["result"]["schedule_details"]}
    assert names == {"boiler": "锅炉", "vessel": "容器", "pipe": "工作点pipe"}
    times = {d["id"]: (d["start"], d["end"]) for d in answer["result"]["schedule_details"]}
    for other in ("boiler.3", "boiler.4"):
        start, end = times[other]
        assert start >= times["boiler.2"][1] - 1e-6 or end <= times["boiler.2"][0] + 1e-6, "welding runs alone"


def test_a_request_with_fifty_work_points(service):
    payload = {"workpoints": {str(n): {"params": [1 + (n * i) % 9 for i in range(15)]} for n in range(1, 51)}}
    answer = service.run(**payload)
    assert len(answer["result"]["schedule_details"]) == 750
    assert schedule_of(answer, payload).violations() == []
    assert answer["result"]["makespan"] >= answer["result"]["lower_bound"]


def test_more_time_never_gives_a_longer_schedule(service):
    payload = {"workpoints": [{}, {}]}
    greedy = service.run(**payload, time_budget_ms=0)["result"]["makespan"]
    improved = service.run(**payload, time_budget_ms=200)["result"]
    assert improved["makespan"] <= greedy
    assert improved["evaluations"] > 1


# --- charts ---


def test_only_the_requested_charts_are_drawn(service):
    result = service.run(params=SAMPLE, charts=["process", "team"])["result"]
    assert set(result["gantt_charts"]) == {"process", "team"}
    assert all(base64.b64decode(chart).startswith(PNG) for chart in result["gantt_charts"].values())
    assert result["plot_image"] == result["gantt_charts"]["process"]
    assert set(service.run(params=SAMPLE, charts="workpoint")["result"]["gantt_charts"]) == {"workpoint"}


def test_a_chart_is_available_as_svg(service):
    chart = service.run(params=SAMPLE, charts="team", chart_format="svg")["result"]["plot_image"]
    assert ElementTree.fromstring(base64.b64decode(chart)).tag == "{http://www.w3.org/2000/svg}svg"


# --- users and models ---


def test_without_a_user_the_request_is_the_unit(service):
    for body in ({}, {"user_id": ""}, {"user_id": None}):
        answer = service.run(params=SAMPLE, **body)
        assert answer["experiment_info"]["user_id"] == answer["request_id"]
        assert answer["experiment_info"]["user_id_generated"] is True


def test_a_numeric_user_id_equals_its_text(service):
    assert service.run(params=SAMPLE, user_id=42)["experiment_info"]["user_id"] == "42"


def test_a_pinned_model_answers_under_each_of_its_names(service):
    for model in service.get("/models", params={"algorithm": "DDQN"}).json()["models"]:
        short = f"{model['algorithm']}_v{model['version'].rpartition('.')[0]}"
        for name in (model["model_key"], short):
            info = service.run(params=SAMPLE, model=name, experiment="whatever", user_id="u")["experiment_info"]
            assert (info["model_used"], info["reason"]) == (model["model_key"], "pinned")
            assert info["experiment"] is None


def test_a_pinned_model_that_does_not_exist_is_an_error(service):
    answer = service.post("/run_algorithm", json={"params": SAMPLE, "model": "DDQN_v99.0"})
    assert (answer.status_code, answer.json()["params"]) == (404, {"name": "DDQN_v99.0"})


def test_an_algorithm_pins_its_current_model(service):
    result = service.run(params=SAMPLE, algorithm="DDQN")["experiment_info"]
    assert result["reason"] == "pinned"
    assert service.post("/run_algorithm", json={"params": SAMPLE, "algorithm": "SARSA"}).status_code == 404
    mismatch = service.post("/run_algorithm", json={"params": SAMPLE, "algorithm": "SARSA", "model": "DDQN_v1.0"})
    assert mismatch.status_code == 422


@pytest.mark.parametrize("action", ["pause", "stop", "conclude"])
def test_an_ended_experiment_is_never_an_error(service, action):
    name = f"over_{action}"
    assert service.post("/experiments", json=two_models(name)).status_code == 201
    assert service.run(params=SAMPLE, experiment=name, user_id="u")["experiment_info"]["reason"] == "assigned"
    assert service.post(f"/experiments/{name}/{action}").status_code == 200
    result = service.run(params=SAMPLE, experiment=name, user_id="u")["experiment_info"]
    assert (result["reason"], result["variant"], result["experiment"]) == ("experiment_not_active", None, name)


def two_models(name, share_a=0.5) -> dict:
    split = {"model_a": share_a, "model_b": 1 - share_a}
    return {"experiment_name": name, "model_a": "DDQN_v1.0", "model_b": "DDQN_v2.0", "traffic_split": split}


# --- records ---


def test_the_record_of_a_run_equals_its_answer(service):
    answer = service.run(params=SAMPLE, user_id="recorded")
    (row,) = runs_of(service, answer["request_id"]).to_dict("records")
    assert row["makespan"] == answer["result"]["makespan"]
    assert row["execution_time"] == answer["performance"]["execution_time"]
    assert row["model_key"] == answer["experiment_info"]["model_used"]
    assert (row["user_id"], row["reason"], bool(row["success"])) == ("recorded", "default", True)


def test_recorded_runs_are_listed_newest_first_in_pages_with_their_verdicts(service):
    results = [service.run(params=SAMPLE, user_id=f"listed_{number}", model="DDQN_v2.0") for number in range(3)]
    service.post("/feedback", json={"request_id": results[1]["request_id"], "user_satisfaction": 4, "comment": "fine"})
    first = service.get("/runs?limit=2").json()
    second = service.get(f"/runs?limit=1&before={first['next']}").json()
    listed = [*first["runs"], *second["runs"]]
    assert [run["request_id"] for run in listed] == [answer["request_id"] for answer in results[::-1]]
    assert [run["user_satisfaction"] for run in listed] == [None, 4, None]
    assert listed[1]["comment"] == "fine"
    assert listed[0]["makespan"] == results[2]["result"]["makespan"]
    assert all(run["model_key"] == results[0]["result"]["model_info"]["model_key"] for run in listed)
    assert service.get("/runs?model_key=nobody").status_code == 404


def test_a_recorded_run_includes_its_request_for_a_repetition(service):
    request = {"workpoints": [{"id": "a"}, {"id": "b", "params": SAMPLE[::-1]}], "crew_efficiency": "linear"}
    result = service.run(**request, time_budget_ms=0)
    found = service.get(f"/runs/{result['request_id']}").json()
    assert found["input"] == request
    assert service.run(**found["input"], time_budget_ms=0)["result"]["makespan"] == found["run"]["makespan"]
    assert service.get("/runs/nobody").status_code == 404


@pytest.mark.parametrize(
    "query",
    [
        *("limit=0", "limit=1001", "limit=x", "limit=١", "before=-1", f"before={2**64}"),
        *(f"search={'x' * 201}", "without_experiments=maybe"),
    ],
)
def test_an_invalid_query_of_runs_is_refused(service, query):
    answer = service.get(f"/runs?{query}")
    assert answer.status_code == 422
    assert answer.json()["errors"][0]["loc"] == [query.partition("=")[0]]


def test_the_answer_includes_critical_steps_and_headcounts(service):
    request = {"workpoints": [{"id": "a"}, {"id": "b"}], "teams": {"team3": {"headcount": 12}}}
    answer = service.run(**request)
    critical = {step["id"] for step in answer["result"]["schedule_details"] if step["critical"]}
    assert critical == schedule_of(answer, request).critical_steps
    assert answer["result"]["team_headcount"]["team3"] == 12
    assert set(answer["result"]["team_headcount"]) == set(answer["result"]["team_utilization"])


def test_invalid_input_is_not_recorded_as_a_run(service):
    refused = service.post("/run_algorithm", json={"params": SAMPLE[:14]}, headers={"X-Request-ID": "not-a-run"})
    assert refused.status_code == 422
    assert runs_of(service, "not-a-run").empty


def test_feedback_is_stored_with_its_run(service):
    request_id = service.run(params=SAMPLE)["request_id"]
    body = {"request_id": request_id, "user_satisfaction": 4, "comment": "不错"}
    assert service.post("/feedback", json=body).status_code == 200
    assert runs_of(service, request_id)["user_satisfaction"].tolist() == [4]
    assert service.post("/feedback", json=body | {"request_id": "nobody"}).status_code == 404
    for verdict in (0, 6, 4.5, "4", True, None):
        assert service.post("/feedback", json=body | {"user_satisfaction": verdict}).status_code == 422


def test_a_thousand_requests_of_200_users_split_70_30_and_results_agree_with_a_recount(service):
    name, users = "thousand", [f"user_{n}" for n in range(200)]
    assert service.post("/experiments", json=two_models(name, 0.7)).status_code == 201

    def ask(number: int) -> dict:
        return service.run(params=SAMPLE, experiment=name, user_id=users[number % 200])

    with ThreadPoolExecutor(8) as pool:
        answers = list(pool.map(ask, range(1_000)))
    arms: dict[str, set[str]] = {}
    for answer in answers:
        result = answer["experiment_info"]
        assert result["reason"] == "assigned"
        arms.setdefault(result["user_id"], set()).add(result["variant"])
    assert all(len(seen) == 1 for seen in arms.values()), "each user stays on one arm"
    on_a = sum(seen == {"model_a"} for seen in arms.values())
    assert abs(on_a - 140) <= 4 * math.sqrt(200 * 0.7 * 0.3), "within 4 standard errors"

    with sqlite3.connect(service.home / "logs" / "performance.db") as database:
        runs = pd.read_sql("SELECT * FROM runs WHERE experiment = ?", database, params=(name,))
    assert sorted(runs["request_id"]) == sorted(answer["request_id"] for answer in answers)

    results = service.get(f"/experiments/{name}/results").json()["results"]
    counts, means = runs["variant"].value_counts(), runs.groupby("variant")["makespan"].mean()
    assert results["total_requests"] == counts.to_dict()
    for arm in ("model_a", "model_b"):
        result = results["average_metrics"][arm]["makespan"]
        assert result["count"] == counts[arm]
        assert result["mean"] == pytest.approx(means[arm])
        assert result["min"] == pytest.approx(runs[runs["variant"] == arm]["makespan"].min())
    assert results["improvement_percentage"] == pytest.approx(
        (means["model_a"] - means["model_b"]) / means["model_a"] * 100
    )
    figures = service.get("/performance", params={"experiment": name})
    assert figures.status_code == 200, figures.text


def test_a_run_can_be_named_and_found_by_name_and_owner(service):
    request_id = service.run(params=SAMPLE)["request_id"]
    other = service.run(params=SAMPLE)["request_id"]
    path = f"/runs/{request_id}/name"
    label = {"name": "Boiler 2, １２月 検査", "owner": "张工"}
    assert service.put(path, json=label).json() == {"status": "success", "request_id": request_id} | label

    def found(search: str) -> list[str]:
        return [run["request_id"] for run in service.get("/runs", params={"search": search}).json()["runs"]]

    for search in ("boiler", "BOILER 12月", "张工", "工 検", request_id, request_id[:20], " boiler "):
        assert found(search) == [request_id], search
    for search in ("boiler 李工", "%", "_", "Boiler_2", "\\", request_id[:2], request_id[:7]):
        assert found(search) == [], search
    assert {request_id, other} <= set(found(""))
    run = service.get(f"/runs/{request_id}").json()["run"]
    assert {name: run[name] for name in label} == label
    assert service.put(path, json={"owner": "李工"}).status_code == 200
    assert (found("boiler"), found("张工"), found("李工")) == ([], [], [request_id])
    assert service.put(path, json={}).status_code == 200
    assert found("李工") == []


@pytest.mark.parametrize(
    ("body", "field"),
    [
        ({"name": "two\nlines"}, "name"),
        ({"owner": "\u202egnirts"}, "owner"),
        ({"name": "x" * 201}, "name"),
        ({"name": " \u3000 "}, "name"),
        ({"name": 3}, "name"),
        ({"title": "x"}, "title"),
    ],
)
def test_an_invalid_name_is_refused(service, body, field):
    request_id = service.run(params=SAMPLE)["request_id"]
    answer = service.put(f"/runs/{request_id}/name", json=body)
    assert (answer.status_code, answer.json()["errors"][0]["loc"]) == (422, [field])


def test_only_a_recorded_run_can_be_named(service):
    assert service.put("/runs/nobody/name", json={"name": "x"}).status_code == 404
    assert service.put("/runs/nobody/name", json={}).status_code == 404


def test_runs_of_experiments_can_be_excluded_from_the_list(service):
    PerformanceMonitor(service.home / "logs" / "performance.db").record_performance(
        PerformanceRecord(request_id="assigned_one", experiment="some", variant="model_a", reason="assigned")
    )
    plain = service.run(params=SAMPLE)["request_id"]
    all_of_them = [run["request_id"] for run in service.get("/runs").json()["runs"]]
    assert {plain, "assigned_one"} <= set(all_of_them)
    without = [run["request_id"] for run in service.get("/runs?without_experiments=true").json()["runs"]]
    assert plain in without
    assert "assigned_one" not in without

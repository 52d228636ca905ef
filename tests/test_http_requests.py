"""`POST /requests/read` turns a planner's file into a request for a run, or reports each mistake with its position."""

import json

import pytest
import requests

from tests.test_http_errors import refused
from tests.test_http_runs import SAMPLE

ROW = "workpoint_id,step,team,duration,Predecessors\nA,strip,team2,7,\nA,weld,team2,7,strip\nA,paint,team2,7,weld\n"
CHINESE = "工作点,工序,班组,工时,前置工序\r\n锅炉,除锈,2 班 保温打磨,７,\r\n锅炉,返修,返修,7,除锈\r\n"
READ = "/requests/read"


def read(service, content: str | bytes, kind: str = "text/csv", **query: str) -> requests.Response:
    data = content if isinstance(content, bytes) else content.encode()
    return service.post(READ, data=data, headers={"Content-Type": kind}, params=query)


def test_a_table_becomes_a_request_that_can_be_run(service):
    answer = read(service, ROW).json()
    assert (answer["status"], answer["n_workpoints"], answer["n_steps"], answer["findings"]) == ("success", 1, 3, [])
    result = service.run(**answer["request"])["result"]
    assert result["makespan"] == pytest.approx(16.80, abs=0.005)  # one after the other


@pytest.mark.parametrize("encoding", ["utf-8", "utf-8-sig", "utf-16", "gb18030"])
@pytest.mark.parametrize("kind", ["text/csv", "text/csv; charset=gb18030", "text/csv; charset=UTF-8"])
def test_a_table_is_read_in_every_encoding_that_excel_writes(service, encoding: str, kind: str):
    answer = read(service, CHINESE.encode(encoding), kind).json()
    assert answer["request"] == {
        "workpoints": [
            {
                "id": "锅炉",
                "steps": [
                    {"name": "除锈", "team": "team2", "duration": 7},
                    {"name": "返修", "team": "team6", "duration": 7, "predecessors": ["除锈"]},
                ],
            }
        ]
    }
    assert [(each["code"], each["loc"]) for each in answer["findings"]] == [
        *(("team_read_as", ["line", 2, "team"]), ("team_read_as", ["line", 3, "team"]))
    ]


def test_a_mistake_in_a_table_has_line_column_and_code(service):
    answer = refused(read(service, ROW.replace("weld,team2,7", 'weld,team2,"12,5"')), 422)
    (error,) = answer["errors"]
    assert error == {
        "loc": ["line", 3, "duration"],
        "msg": "'12,5' is not a number; write digits with a decimal point, as in 12.5",
        "code": "not_a_number",
        "params": {"value": "12,5"},
        "source": "A, weld, team2, 12,5, strip",
    }


def test_merged_cells_are_filled_down_only_on_request(service):
    merged = ROW.replace("\nA,weld", "\n,weld")
    assert refused(read(service, merged), 422)["errors"][0]["code"] == "blank_workpoint"
    assert read(service, merged, fill_down="true").json()["request"] == read(service, ROW).json()["request"]
    refused(read(service, json.dumps({"params": SAMPLE}), "application/json", fill_down="true"), 422)


def test_a_file_is_checked_against_the_given_plant(service):
    table = "workpoint_id,step,team,duration\nA,s,外协,7\n"
    assert refused(read(service, table), 422)["errors"][0]["loc"] == ["line", 2, "team"]
    answer = read(service, table, teams='{"外协": {"headcount": 4}}').json()
    assert list(answer["request"]) == ["workpoints"]
    assert refused(read(service, table, teams='{"外协": {}}'), 422)["errors"][0]["loc"] == [
        "teams",
        "外协",
        "headcount",
    ]
    for wrong in ("[1]", "{", '{"a": NaN}'):
        assert refused(read(service, table, teams=wrong), 422)["errors"][0]["loc"][0] in ("teams", "a")


@pytest.mark.parametrize("encoding", ["utf-8", "utf-8-sig", "utf-16"])
def test_json_is_returned_without_additions(service, encoding: str):
    request = {
        "workpoints": [{"id": "a", "steps": [{"name": "s", "team": "team2", "duration": 7}]}, {"id": "b"}],
        "teams": {"team2": {"headcount": 6}},
        "crew_efficiency": "linear",
        "model": "DDQN",
        "experiment": "x",
        "user_id": 5,
        "time_budget_ms": 0,
        "charts": ["team"],
    }
    answer = read(service, json.dumps(request, ensure_ascii=False).encode(encoding), "application/json").json()
    assert (answer["request"], answer["findings"], answer["n_steps"]) == (request, [], 16)


@pytest.mark.parametrize(
    "wrong",
    [
        {"workpoints": [{"id": "a", "Steps": []}]},
        {"params": [*SAMPLE, 5]},
        {"workpoints": [None]},
        {"params": SAMPLE, "colour": "red"},
        {"params": SAMPLE, "time_budget_ms": "soon"},
        {"params": SAMPLE, "workpoints": []},
        [1, 2, 3],
        {},
    ],
)
def test_json_is_refused_like_the_body_of_a_run(service, wrong):
    result = refused(read(service, json.dumps(wrong), "application/json"), 422)
    assert result == refused(service.post("/run_algorithm", json=wrong), 422)


@pytest.mark.parametrize(
    ("content", "kind", "status"),
    [
        ("", "text/csv", 400),
        ("{", "application/json", 400),
        (ROW, "text/plain", 415),
        (ROW, "text/csv; charset=latin-1", 415),
        (b"PK\x03\x04rest", "text/csv", 422),
        (b"\xd0\xcf\x11\xe0rest", "application/json", 422),
        (b"workpoint_id,step\xff\xff\xff", "text/csv", 422),
        ("\n" * 300_000, "text/csv", 413),
        ("," * 300_000, "text/csv", 413),
        ("[" * 300_000, "application/json", 413),
        ("step," * 100_000, "text/csv", 422),
    ],
)
def test_other_files_are_refused(service, content: str | bytes, kind: str, status: int):
    refused(read(service, content, kind), status)


def test_the_largest_table_is_read(service):
    lines = "".join(f"W{n % 100},s{n},team2,7\n" for n in range(5_000))
    answer = read(service, f"workpoint_id,step,team,duration\n{lines}").json()
    assert (answer["n_workpoints"], answer["n_steps"]) == (100, 5_000)


def test_reading_a_file_records_no_run(service):
    before = service.get("/runs", params={"limit": 1}).json()["runs"]
    assert read(service, ROW).status_code == 200
    assert service.get("/runs", params={"limit": 1}).json()["runs"] == before

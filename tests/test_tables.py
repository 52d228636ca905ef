"""A table or a JSON file becomes the request that was meant, or a refusal with the file's own line."""

import csv
import json
import re
from io import StringIO
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from scheduler_env import vocabulary
from scheduler_env.errors import InvalidInstance
from scheduler_env.findings import MAX_TOLD, InvalidFile
from scheduler_env.json_requests import read_request
from scheduler_env.problem import MAX_STEPS
from scheduler_env.problem_request import StepRequest
from scheduler_env.readers import instance_from_request
from scheduler_env.standard_cycle import DEFAULT_TEAMS, SAMPLE_PARAMS
from scheduler_env.tables import read_csv

HEAD = "workpoint_id,step,team,duration"
PAGE_TEXTS = Path(__file__).resolve().parent.parent / "scheduler_service/console/pages/schedule/texts.js"


def table(*lines: str, head: str = HEAD) -> str:
    return "\r\n".join([head, *lines])


def mistakes(text: str, **how: bool) -> list[tuple]:
    """(line, column, code) of each."""
    with pytest.raises(InvalidFile) as caught:
        read_csv(text, **how)
    assert all(each.text for each in caught.value.findings)
    return [(*each.loc[1:], each.code) for each in caught.value.findings]


def steps_of(text: str, **how: bool) -> list[dict]:
    (workpoint,) = read_csv(text, **how).request["workpoints"]
    return workpoint["steps"]


# --- headings ---


@pytest.mark.parametrize("heading", ["Predecessors", "PREDECESSORS", "前置工序", " predecessors ", "Ｐredecessors"])
def test_a_heading_counts_in_any_case_and_in_chinese(heading: str):
    lines = ("A,strip,team2,7,", "A,weld,team2,7,strip", "A,paint,team2,7,weld")
    steps = steps_of(table(*lines, head=f"{HEAD},{heading}"))
    assert [step.get("predecessors") for step in steps] == [None, ["strip"], ["weld"]]
    instance = instance_from_request({"workpoints": [{"id": "A", "steps": steps}]})
    assert instance.predecessors == ((), (0,), (1,))
    shortest_h = sum(min(mode.duration_h for mode in step.modes) for step in instance.steps)
    assert shortest_h == pytest.approx(16.80)  # no two run side by side, so no schedule is shorter


@pytest.mark.parametrize(
    ("heading", "nearest"), [("max_crews", "max_crew"), ("Predecesors", "predecessors"), ("前置工", "前置工序")]
)
def test_an_unknown_heading_is_refused_with_the_nearest_that_there_is(heading: str, nearest: str):
    with pytest.raises(InvalidFile) as caught:
        read_csv(table("A,strip,team2,7,3", head=f"{HEAD},{heading}"))
    (finding,) = caught.value.findings
    assert (finding.loc, finding.code) == (("line", 1, heading), "unknown_column_near")
    assert finding.params == {"name": heading, "nearest": nearest}


def test_every_column_of_a_step_has_a_heading_in_each_language():
    keys = {"workpoint_id", "workpoint_name", "step", "step_id", "alone"} | set(StepRequest.model_fields) - {
        "id",
        "name",
    }
    for columns in vocabulary.COLUMNS.values():
        assert set(columns) == keys


def test_no_word_means_two_things():
    for languages in (vocabulary.COLUMNS, vocabulary.TEAMS):
        named: dict[str, str] = {}
        for words in languages.values():
            for name, all_ in words.items():
                for word in all_:
                    assert named.setdefault(vocabulary.folded(word), name) == name, word


def test_the_words_that_the_console_shows_are_taken():
    page = PAGE_TEXTS.read_text(encoding="utf-8")
    for shown in re.findall(r"^      teams: \{(.*)\},$", page, re.MULTILINE):
        names = dict(re.findall(r'(team\d): "([^"]+)"', shown))
        assert {vocabulary.team_of(name) for name in names.values()} == set(names), names
        assert all(vocabulary.team_of(name) == team for team, name in names.items())
    columns = ("workpoint_id", "workpoint_name", "step", "order", "team", "duration", "min_crew", "max_crew")
    for column in (*columns, "team_size", "dedicated", "predecessors"):
        labels = re.findall(rf'^      {column}: "([^"]+)"', page, re.MULTILINE)
        assert len(labels) == 2, column
        assert {vocabulary.column_of(label) for label in labels} == {column}


@pytest.mark.parametrize(
    ("head", "code", "column"),
    [
        ("workpoint_id,step,team", "missing_columns", None),
        (f"{HEAD},Team", "column_twice", "Team"),
        (f"{HEAD},parallel,alone", "column_twice", "alone"),
        (f"{HEAD},workers", "unknown_column", "workers"),
    ],
)
def test_headings_that_cannot_be_meant_are_refused(head: str, code: str, column: str | None):
    ((line, *where, found),) = mistakes(table("A,s,team2,1,,", head=head))
    assert (line, where, found) == (1, [column] if column else [], code)


def test_alone_is_the_contrary_of_parallel():
    assert steps_of(table("A,s,team2,7,是", head=f"{HEAD},须单独进行"))[0]["parallel"] is False
    assert steps_of(table("A,s,team2,7,TRUE", head=f"{HEAD},parallel"))[0]["parallel"] is True


# --- cells ---


@pytest.mark.parametrize(
    ("text", "hours"),
    [("7", 7), ("12.5", 12.5), ("１２．５", 12.5), (" 7. ", 7.0), (".5", 0.5), ("1e3", 1000.0), ("1E-05", 1e-05)],
)
def test_hours_are_decimal_digits_in_full_width_or_not(text: str, hours: float):
    assert steps_of(table(f"A,s,team2,{text}"))[0]["duration"] == hours


@pytest.mark.parametrize(
    "text", ["0x10", "0b11", '"12,5"', '"1,000"', "1e999", "NaN", "inf", "7 h", "²", "½", "٣", "1_0"]
)
def test_what_is_no_decimal_number_is_refused(text: str):
    assert mistakes(table(f"A,s,team2,{text}")) == [(2, "duration", "not_a_number")]


@pytest.mark.parametrize(
    ("hours", "part"), [("0", "greater than 0"), ("-1", "greater than 0"), ("10001", "at most 10000")]
)
def test_hours_have_the_limits_of_the_service(hours: str, part: str):
    with pytest.raises(InvalidFile, match=part) as caught:
        read_csv(table("A,s,team2,1", f"A,t,team2,{hours}"))
    assert caught.value.findings[0].loc == ("line", 3, "duration")


def test_whole_numbers_are_whole_as_in_json():
    head = f"{HEAD},order,min_crew"
    assert steps_of(table("A,s,team2,7,2.0,３", head=head))[0] == {
        "name": "s",
        "team": "team2",
        "duration": 7,
        "order": 2.0,
        "min_crew": 3,
    }
    assert mistakes(table("A,s,team2,7,1.5,3", head=head)) == [(2, "order", "int_type")]


def test_a_blank_cell_says_nothing():
    head = f"{HEAD},workpoint_name,order,dedicated,team_size,parallel,min_crew,max_crew,predecessors,step_id"
    assert read_csv(table("A,s,team2,7,,,,,,,,,", head=head)).request == {
        "workpoints": [{"id": "A", "steps": [{"name": "s", "team": "team2", "duration": 7}]}]
    }


def test_what_a_step_needs_may_not_be_blank():
    assert mistakes(table("A,,team2,7", "A,s,,7", "A,s,team2,")) == [
        *((2, "step", "blank_cell"), (3, "team", "blank_cell"), (4, "duration", "blank_cell"))
    ]


def test_a_blank_workpoint_is_refused_and_filled_down_only_on_request():
    text = table("A,s,team2,7", ",t,team2,7", "B,s,team2,7", ",t,team2,7")
    assert mistakes(text) == [(3, "workpoint_id", "blank_workpoint"), (5, "workpoint_id", "blank_workpoint")]
    read = read_csv(text, fill_down=True)
    assert [(each["id"], len(each["steps"])) for each in read.request["workpoints"]] == [("A", 2), ("B", 2)]
    assert [(each.code, each.loc, each.params) for each in read.findings] == [
        ("filled_down", ("line", 3, "workpoint_id"), {"n": 2})
    ]


def test_nothing_can_be_filled_down_into_the_first_line():
    assert mistakes(table(",s,team2,7"), fill_down=True) == [(2, "workpoint_id", "blank_workpoint")]


def test_a_workpoint_has_one_name():
    head = f"{HEAD},workpoint_name"
    text = table("A,s,team2,7,锅炉", "A,t,team2,7,", "A,u,team2,7,容器", head=head)
    assert mistakes(text) == [(4, "workpoint_name", "name_differs")]


@pytest.mark.parametrize("name", ["返修", "6 班 返修", "6班返修", "返修班", "Repair", "TEAM6", "ｔｅａｍ６"])
def test_a_team_goes_by_its_names_and_that_is_said(name: str):
    read = read_csv(table("A,s,team2,7", f"A,t,{name},7", f"A,u,{name},7"))
    assert [step["team"] for step in read.request["workpoints"][0]["steps"]] == ["team2", "team6", "team6"]
    assert [(each.code, each.loc, each.params) for each in read.findings] == [
        ("team_read_as", ("line", 3, "team"), {"name": name, "team": "team6", "n": 2})
    ]


def test_a_new_team_needs_a_size():
    assert mistakes(table("A,s,外协,7")) == [(2, "team", "unknown_team")]
    assert steps_of(table("A,s,外协,7,4", head=f"{HEAD},team_size"))[0]["team"] == "外协"


def test_a_file_is_checked_in_the_plant_that_it_is_for():
    plant = {"外协": {"headcount": 4}, "team2": {"headcount": 20}, "返修": {"headcount": 3}}
    text = table("A,s,team2,7,15", "A,t,外协,7,", "A,u,返修,7,", head=f"{HEAD},min_crew")
    assert mistakes(text) == [(2, "min_crew", "crew_above_headcount"), (3, "team", "unknown_team")]
    read = read_csv(text, teams=plant)
    assert "teams" not in read.request
    assert read.findings == ()
    assert read_request(read.request, teams=plant) == read
    sized = table("A,s,team2,7,8", head=f"{HEAD},team_size")
    assert read_csv(sized, teams=plant).n_steps == 1, "a file may tell the size itself"
    with pytest.raises(InvalidInstance) as caught:
        read_csv(sized, teams={"外协": {}})
    assert caught.value.loc == ("teams", "外协", "headcount")


# --- lines ---


def test_a_mistake_has_the_line_of_the_file():
    text = table('A,"of two\r\nlines",team2,7', "", "A,t,team2,viel", "", 'A,"u\n\n\nv",team2,8', "A,w,team2,drei")
    assert mistakes(text.replace("of two\r\nlines", "of two lines")) == [
        *((4, "duration", "not_a_number"), (10, "duration", "not_a_number"))
    ]
    assert mistakes(text)[0] == (5, "duration", "not_a_number")


@pytest.mark.parametrize("ending", ["\n", "\r\n", "\r"])
def test_lines_end_as_any_system_ends_them(ending: str):
    assert mistakes(table("A,s,team2,7", "A,t,team2,x").replace("\r\n", ending)) == [(3, "duration", "not_a_number")]


def test_every_mistake_is_told_up_to_a_limit():
    with pytest.raises(InvalidFile, match="and 2997 more") as caught:
        read_csv(table(*["A,s,team2,x"] * 3_000))
    assert len(caught.value.findings) == MAX_TOLD
    assert caught.value.findings[-1].loc == ("line", MAX_TOLD + 1, "duration")


def test_a_rule_between_steps_is_told_at_its_line():
    head = f"{HEAD},predecessors"
    assert mistakes(table("A,s,team2,7,", "B,t,team2,7,welding", head=head)) == [
        (3, "predecessors", "unknown_predecessor")
    ]
    assert mistakes(table("A,s,team2,7,", "A,s,team2,7,s", head=head)) == [(3, "predecessors", "ambiguous_predecessor")]
    with pytest.raises(InvalidFile, match="cycle") as caught:
        read_csv(table("A,s,team2,7,t", "A,t,team2,7,s", head=head))
    assert caught.value.findings[0].loc == ()


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("", [("empty",)]),
        (table("A,s,team2,7,x", "A,t,team2,7,y", head=f"{HEAD},name"), [(3, "workpoint_name", "name_differs")]),
        ("\r\n \r\n", [("empty",)]),
        (HEAD, [(1, "no_rows")]),
        (table("A,s,team2,7", 'A,"t,team2,7'), [(3, "damaged")]),
        (table("A,s,team2,7", 'A,"t"x,team2,7'), [(3, "damaged")]),
        (table("A,s,team2,7,8"), [(2, "many_cells")]),
        (table("A,s,team2,7,8", head=f"{HEAD},"), [(2, 5, "no_heading")]),
        (table(*["A,s,team2,7"] * (MAX_STEPS + 1)), [(MAX_STEPS + 2, "many_rows")]),
        (",".join(["order"] * 101), [(1, "many_columns")]),
    ],
)
def test_a_table_that_is_none_is_refused(text: str, expected: list[tuple]):
    assert mistakes(text) == expected


def test_columns_without_heading_and_cells_are_passed_over():
    assert len(steps_of(table("A,s,team2,7,,", "A,t,team2,7,,", ",,,,,", head=f"{HEAD},,"))) == 2


# --- what is written is read back ---

NAMES = st.text("abcXYZ 锅炉=+-@'\",;返修1.", min_size=1, max_size=8).map(str.strip).filter(bool)
HOURS = st.one_of(st.integers(1, 10_000), st.floats(1e-9, 10_000.0))
PEOPLE = st.integers(1, 5)


def written(name: str) -> str:
    """As the console writes a text that a spreadsheet would run."""
    return f"'{name}" if re.match(r"'*[=+\-@\t\r]", name) else name


@given(
    st.dictionaries(
        NAMES,
        st.lists(
            st.tuples(NAMES, st.sampled_from([team.name for team in DEFAULT_TEAMS]), HOURS, st.integers(-3, 9)),
            min_size=1,
            max_size=5,
        ),
        min_size=1,
        max_size=3,
    ),
    st.sampled_from([",", ";", "\t"]),
    st.sampled_from([csv.QUOTE_MINIMAL, csv.QUOTE_ALL]),
)
def test_what_csv_writes_the_reader_reads_back(plant: dict, delimiter: str, quoting: int):
    plant = {
        id_.replace("\t", " "): [(n.replace("\t", " "), *rest) for n, *rest in steps] for id_, steps in plant.items()
    }
    file = StringIO(newline="")
    writer = csv.writer(file, delimiter=delimiter, quoting=quoting)  # type: ignore[arg-type]
    writer.writerow([*HEAD.split(","), "order"])
    for id_, steps in plant.items():
        for name, team, hours, order in steps:
            writer.writerow([written(id_), written(name), team, hours, order])
    assert read_csv(file.getvalue()).request == {
        "workpoints": [
            {"id": id_, "steps": [{"name": n, "team": t, "duration": h, "order": o} for n, t, h, o in steps]}
            for id_, steps in plant.items()
        ]
    }


# --- JSON ---


def test_json_is_answered_as_it_is_but_for_nulls_lists_and_names():
    steps = [{"name": "s", "team": "team2", "duration": 7, "order": None}, {"name": "t", "team": "返修", "duration": 7}]
    request = {"workpoints": {"boiler": {"steps": steps}}, "teams": [{"name": "team3", "headcount": 12}], "model": "m"}
    read = read_request(request)
    assert read.request == {
        "workpoints": [
            {
                "id": "boiler",
                "steps": [
                    {"name": "s", "team": "team2", "duration": 7},
                    {"name": "t", "team": "team6", "duration": 7},
                ],
            }
        ],
        "teams": {"team3": {"headcount": 12}},
        "model": "m",
    }
    assert [(each.code, each.loc) for each in read.findings] == [
        ("team_read_as", ("workpoints", "boiler", "steps", 1, "team"))
    ]
    assert steps[1]["team"] == "返修", "what was given is not changed"


@pytest.mark.parametrize("more", [{"teams": {"返修": {"headcount": 3}}}, {}])
def test_a_team_of_the_requests_own_keeps_its_name(more: dict):
    step = {"name": "s", "team": "返修", "duration": 7} | ({} if more else {"team_size": 3})
    request = {"workpoints": [{"id": "w", "steps": [step]}]} | more
    assert read_request(request).request == request
    assert read_request(request).findings == ()


@pytest.mark.parametrize(
    "request_",
    [
        {"workpoints": [{"Steps": []}]},
        {"params": [*SAMPLE_PARAMS, 1]},
        {"workpoints": [None]},
        {"workpoints": {"a": None}},
        {"workpoints": [{"steps": [None]}]},
        {"workpoints": [{"steps": [{"name": "s", "team": ["返修"], "duration": 1}]}]},
        {"workpoints": [{"steps": [{"name": "s", "team": "返修", "duration": "1"}]}]},
    ],
)
def test_json_is_refused_as_the_service_refuses_it(request_: dict):
    with pytest.raises(InvalidInstance) as refused:
        read_request(request_)
    with pytest.raises(InvalidInstance) as by_service:
        instance_from_request(
            json.loads(json.dumps(request_).replace("返修", "team6").replace("\\u8fd4\\u4fee", "team6"))
        )
    assert (refused.value.code, refused.value.loc) == (by_service.value.code, by_service.value.loc)


def test_a_valid_request_means_the_same_after_reading():
    request = {
        "workpoints": {
            "a": {"steps": [{"id": 1, "name": "s", "team": "team2", "duration": 7}]},
            "b": {"params": list(SAMPLE_PARAMS)},
        },
        "teams": [{"name": 7, "headcount": 3}],
    }
    read = read_request(request)
    assert instance_from_request(read.request) == instance_from_request(request)
    assert (read.n_workpoints, read.n_steps) == (2, 16)
    assert read_request(read.request).request == read.request

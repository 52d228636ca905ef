"""Title, hypothesis and owner of an experiment: any script, beside its id, at every door."""

import json

import pytest

from ab_testing import ABTestManager
from scheduler_service.errors import InvalidExperiment
from scheduler_service.experiments.cli import main
from tests.codes import coded

MODELS = {"model_a": "DDQN_v1.0", "model_b": "DDQN_v2.0"}
ABOUT = {"title": "新模型是否缩短停工？", "hypothesis": "Заводы > 8 пунктов: −2 %　工期", "owner": "王工 (أحمد)"}


@pytest.fixture(scope="module")
def client(app):
    return app.test_client()


def create(client, name, **more):
    return client.post("/experiments", json={"experiment_name": name} | MODELS | more)


def about(told):
    return {name: told[name] for name in ABOUT if name in told}


def test_they_are_kept_with_the_experiment_and_shown_wherever_it_is(mostly_words, client, home):
    assert create(client, "told", **ABOUT).status_code == 201
    assert about(client.get("/experiments/told").json["experiment"]) == ABOUT
    listed = {each["name"]: each for each in client.get("/experiments").json["experiments"]}
    assert about(listed["told"]) == ABOUT
    assert about(json.loads((home / "ab_test_config.json").read_text("utf-8"))["experiments"]["told"]) == ABOUT
    for lang in ("zh", "en"):
        made = client.post("/reports/ab_test", json={"experiment_name": "told", "lang": lang}).json["report"]
        page = client.get(f"/reports/{made}").text
        assert ">新模型是否缩短停工？</" in page
        assert "Заводы &gt; 8 пунктов: −2 %" in page
        assert page.count("王工 (أحمد)") == 2


def test_they_are_changed_one_by_one_and_the_history_tells_of_it(client):
    create(client, "changed", **ABOUT)
    answer = client.post(
        "/experiments/changed/describe",
        json={"owner": "李工", "hypothesis": None, "actor": "ann", "reason": "new"},
    )
    assert answer.status_code == 200
    assert about(answer.json["experiment"]) == {"title": ABOUT["title"], "owner": "李工"}
    line = client.get("/experiments/changed/history").json["history"][-1]
    assert (line["event"], line["actor"], line["reason"]) == ("described", "ann", "new")
    assert line["figures"] == {"about": {"hypothesis": None, "owner": "李工"}}
    assert line["before"] == line["after"] == {"status": "active"}


def test_a_description_hides_no_move_and_is_archived_with_the_experiment(client, home):
    create(client, "over", **ABOUT)
    client.post("/experiments/over/stop")
    assert client.post("/experiments/over/describe", json={"title": "x"}).status_code == 200
    told = client.get("/experiments/over").json["experiment"]
    assert told["last_transition"]["event"] == "stopped"
    assert client.post("/experiments/over/archive").status_code == 200
    assert about(client.get("/experiments/over").json["experiment"]) == ABOUT | {"title": "x"}
    (listed,) = client.get("/experiments?archived=true").json["experiments"]
    assert listed["title"] == "x"
    refused = client.post("/experiments/over/describe", json={"title": "y"})
    assert refused.status_code == 409
    events = [line["event"] for line in client.get("/experiments/over/history").json["history"]]
    assert events == ["created", "stopped", "described", "archived"]


def test_a_line_of_history_that_a_kill_cut_off_is_written_later(client, home):
    create(client, "killed")
    client.post("/experiments/killed/describe", json={"title": "夜班"})
    history = home / "logs" / "experiments.jsonl"
    lines = history.read_bytes().splitlines(keepends=True)
    history.write_bytes(b"".join(lines[:-1]))  # as if the process had died before
    ABTestManager(home / "ab_test_config.json").settle()
    assert json.loads(history.read_bytes().splitlines()[-1])["event"] == "described"


@pytest.mark.parametrize("name", ABOUT)
@pytest.mark.parametrize("text", ["", "two\nlines", "\x00", "\u202eturned", "\ufdd0", "x" * 2_001, 7, ["x"]])
def test_what_is_no_printable_text_is_refused_with_its_place(client, home, name, text):
    before = (home / "ab_test_config.json").read_bytes()
    for answer in (
        create(client, "wrong", **{name: text}),
        client.post("/experiments/told/describe", json={name: text}),
    ):
        assert answer.status_code in (400, 422), answer.json
        assert answer.content_type == "application/problem+json"
        if answer.status_code == 422:
            assert [each["loc"][0] for each in answer.json["errors"]] == [name]
    assert (home / "ab_test_config.json").read_bytes() == before


def test_a_change_of_nothing_is_refused_and_leaves_no_line(client):
    create(client, "unchanged", **ABOUT)
    for body in ({}, {"reason": "why not", "actor": "ann"}):
        answer = client.post("/experiments/unchanged/describe", json=body)
        assert (answer.status_code, answer.json["code"]) == (422, "nothing_to_describe")
    events = [line["event"] for line in client.get("/experiments/unchanged/history").json["history"]]
    assert events == ["created"]


def test_older_files_and_the_guides_calls_need_none(home, tmp_path):
    path = tmp_path / "ab_test_config.json"
    old = {"model_a": "A", "model_b": "B", "start_time": "2026-01-01T00:00:00+00:00"}
    path.write_text(json.dumps({"experiments": {"old": old}, "default_model": "A"}), "utf-8")
    manager = ABTestManager(path)
    assert manager.config_problem is None
    assert manager.get_experiment("old").title is None
    found = manager.create_experiment("guide", "A", "B", {"model_a": 0.7, "model_b": 0.3})
    assert about(found.to_dict()) == {}
    with pytest.raises(InvalidExperiment, check=coded("not_printable")):
        manager.describe_experiment("guide", {"title": "x" * 201})
    with pytest.raises(InvalidExperiment, check=coded("unknown_description")):
        manager.describe_experiment("guide", {"name": "x"})


def test_the_command_line_shows_and_changes_them(client, home, capsys):
    create(client, "cli", **ABOUT)
    said = ("--home", str(home))
    assert main(ABTestManager, ["list", *said]) == 0
    assert ABOUT["title"] in capsys.readouterr().out
    assert main(ABTestManager, ["results", "cli", *said]) == 0
    assert capsys.readouterr().out.startswith(f"title: {ABOUT['title']}\nhypothesis: {ABOUT['hypothesis']}\n")
    assert main(ABTestManager, ["describe", "cli", "--owner", "", "--title", "白班", *said]) == 0
    assert capsys.readouterr().out == f"title: 白班\nhypothesis: {ABOUT['hypothesis']}\n"
    told = {"title": "白班", "hypothesis": ABOUT["hypothesis"]}
    assert about(client.get("/experiments/cli").json["experiment"]) == told
    assert main(ABTestManager, ["describe", "cli", *said]) == 1

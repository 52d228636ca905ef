"""Title, hypothesis and owner of an experiment: any script, shown beside its id in every interface."""

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


def create(client, name, **options):
    return client.post("/experiments", json={"experiment_name": name} | MODELS | options)


def about(experiment):
    return {name: experiment[name] for name in ABOUT if name in experiment}


def test_they_are_stored_and_shown_with_the_experiment(mostly_words, client, home):
    assert create(client, "described", **ABOUT).status_code == 201
    assert about(client.get("/experiments/described").json["experiment"]) == ABOUT
    listed = {each["name"]: each for each in client.get("/experiments").json["experiments"]}
    assert about(listed["described"]) == ABOUT
    assert about(json.loads((home / "ab_test_config.json").read_text("utf-8"))["experiments"]["described"]) == ABOUT
    for lang in ("zh", "en"):
        report = client.post("/reports/ab_test", json={"experiment_name": "described", "lang": lang}).json["report"]
        page = client.get(f"/reports/{report}").text
        assert ">新模型是否缩短停工？</" in page
        assert "Заводы &gt; 8 пунктов: −2 %" in page
        assert page.count("王工 (أحمد)") == 2


def test_each_can_be_changed_and_the_history_records_it(client):
    create(client, "changed", **ABOUT)
    answer = client.post(
        "/experiments/changed/describe", json={"owner": "李工", "hypothesis": None, "actor": "ann", "reason": "new"}
    )
    assert answer.status_code == 200
    assert about(answer.json["experiment"]) == {"title": ABOUT["title"], "owner": "李工"}
    line = client.get("/experiments/changed/history").json["history"][-1]
    assert (line["event"], line["actor"], line["reason"]) == ("described", "ann", "new")
    assert line["figures"] == {"about": {"hypothesis": None, "owner": "李工"}}
    assert line["before"] == line["after"] == {"status": "active"}


def test_a_description_keeps_the_moves_visible_and_is_archived(client, home):
    create(client, "over", **ABOUT)
    client.post("/experiments/over/stop")
    assert client.post("/experiments/over/describe", json={"title": "x"}).status_code == 200
    body = client.get("/experiments/over").json["experiment"]
    assert body["last_transition"]["event"] == "stopped"
    assert client.post("/experiments/over/archive").status_code == 200
    assert about(client.get("/experiments/over").json["experiment"]) == ABOUT | {"title": "x"}
    (listed,) = client.get("/experiments?archived=true").json["experiments"]
    assert listed["title"] == "x"
    refused = client.post("/experiments/over/describe", json={"title": "y"})
    assert refused.status_code == 409
    events = [line["event"] for line in client.get("/experiments/over/history").json["history"]]
    assert events == ["created", "stopped", "described", "archived"]


@pytest.mark.parametrize("name", ABOUT)
@pytest.mark.parametrize("text", ["", "two\nlines", "\x00", "\u202eturned", "\ufdd0", "x" * 2_001, 7, ["x"]])
def test_unprintable_text_is_refused_with_its_position(client, home, name, text):
    before = (home / "ab_test_config.json").read_bytes()
    for answer in (
        create(client, "wrong", **{name: text}),
        client.post("/experiments/described/describe", json={name: text}),
    ):
        assert answer.status_code in (400, 422), answer.json
        assert answer.content_type == "application/problem+json"
        if answer.status_code == 422:
            assert [each["loc"][0] for each in answer.json["errors"]] == [name]
    assert (home / "ab_test_config.json").read_bytes() == before


def test_an_empty_change_is_refused_and_leaves_no_line(client):
    create(client, "unchanged", **ABOUT)
    for body in ({}, {"reason": "why not", "actor": "ann"}):
        answer = client.post("/experiments/unchanged/describe", json=body)
        assert (answer.status_code, answer.json["code"]) == (422, "nothing_to_describe")
    events = [line["event"] for line in client.get("/experiments/unchanged/history").json["history"]]
    assert events == ["created"]


def test_they_are_optional_in_older_files_and_the_guides_calls(home, tmp_path):
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
    home_option = ("--home", str(home))
    assert main(ABTestManager, ["list", *home_option]) == 0
    assert ABOUT["title"] in capsys.readouterr().out
    assert main(ABTestManager, ["results", "cli", *home_option]) == 0
    assert capsys.readouterr().out.startswith(f"title: {ABOUT['title']}\nhypothesis: {ABOUT['hypothesis']}\n")
    assert main(ABTestManager, ["describe", "cli", "--owner", "", "--title", "白班", *home_option]) == 0
    assert capsys.readouterr().out == f"title: 白班\nhypothesis: {ABOUT['hypothesis']}\n"
    result = {"title": "白班", "hypothesis": ABOUT["hypothesis"]}
    assert about(client.get("/experiments/cli").json["experiment"]) == result
    assert main(ABTestManager, ["describe", "cli", *home_option]) == 1

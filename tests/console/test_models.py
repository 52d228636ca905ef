"""The models page: from the click to the files in `models/`."""

import json
import re
from datetime import UTC, datetime
from pathlib import Path
from typing import Any
from zoneinfo import ZoneInfo

import pytest
from playwright.sync_api import Locator, Page, expect

from tests.checkpoints import write_checkpoint
from tests.conftest import LiveService
from tests.console.browsing import check_accessibility, check_both_sizes

PLAIN_RULE = {"rule": "LFT", "crew_share": 0.5, "scheme": "parallel"}
"""What a model has to beat to be validated."""
CONFLICT = re.compile("status of 40[49]|status of 422")


def baseline_page(algorithm: str, parameters: dict) -> bytes:
    """The description file of a model that is not a network."""
    return json.dumps({"format": "scheduler-baseline/1", "algorithm": algorithm, "parameters": parameters}).encode()


@pytest.fixture
def files(tmp_path) -> Path:
    return tmp_path


def stored(console: LiveService, key: str) -> dict[str, Any]:
    """The model's metadata in the registry's folder."""
    return json.loads((console.home / "models" / "metadata" / f"{key}.json").read_text("utf-8"))


def tags(console: LiveService) -> dict[str, str]:
    return json.loads((console.home / "models" / "tags.json").read_text("utf-8"))


def events(console: LiveService) -> list[dict[str, Any]]:
    return [json.loads(line) for line in (console.home / "models" / "history.jsonl").read_text("utf-8").splitlines()]


def registered(console: LiveService, path: Path, **fields: Any) -> str:
    """The key of a model registered by another person."""
    form = {"algorithm_name": "DDQN"} | {
        name: value if isinstance(value, str) else json.dumps(value) for name, value in fields.items()
    }
    answer = console.post("/models/register", files={"file": path.open("rb")}, data=form)
    assert answer.status_code == 201, answer.text
    return answer.json()["model_key"]


def name_of(key: str) -> str:
    algorithm, _, version = key.split("_")
    return f"{algorithm} {version}"


def agree(page: Page, title: str | re.Pattern[str], **fields: str) -> str:
    """Read the consequences, fill in the fields and confirm; return the sentences."""
    dialog = page.get_by_role("dialog", name=title)
    expect(dialog).to_be_visible()
    result = dialog.locator(".happens").inner_text()
    for label, text in fields.items():
        dialog.get_by_label({"reason": "原因", "actor": "操作人"}[label]).fill(text)
    dialog.locator("form button:not([type=button])").click()
    expect(dialog).to_be_hidden()
    return result


def move(page: Page, label: str) -> Locator:
    return page.get_by_role("region", name="操作").get_by_role("button", name=label, exact=True)


def forgive(mistakes: list[str], what: re.Pattern[str]) -> None:
    """Remove the browser's complaints about a provoked answer; there must be one."""
    results = [each for each in mistakes if what.search(each)]
    assert results, mistakes
    mistakes[:] = [each for each in mistakes if each not in results]


# --- looking ---


def test_the_list_shows_the_answering_model_and_wrong_claims(page: Page, console: LiveService, files: Path):
    key = registered(
        console, write_checkpoint(files / "a.pth", 1), performance_metrics={"makespan": 42.5}, version="9.0"
    )
    page.goto("/#/models")
    answering = page.get_by_role("region", name="谁在应答")
    expect(answering.locator("article").filter(has_text="默认模型（由它应答）")).to_contain_text("DDQN v2.0.0")
    expect(answering.locator("article").filter(has_text="DDQN 稳定版")).to_contain_text("DDQN v1.0.0")
    row = page.get_by_role("row").filter(has_text=key)
    expect(row.get_by_role("cell").filter(has_text="自报 42.50 小时")).to_contain_text("偏乐观 21.9 %")
    expect(row).to_contain_text("54.44 小时")
    expect(page.get_by_role("row").filter(has_text="DDQN v2.0.0")).to_contain_text("默认")


def test_a_link_contains_filter_and_order(page: Page):
    page.goto("/#/models")
    page.get_by_role("combobox", name="状态").select_option("已部署")
    expect(page.get_by_role("row")).to_have_count(2)
    page.get_by_label("搜索").fill("founders")
    page.get_by_role("button", name="比理论最短多").click()
    expect(page).to_have_url(re.compile("status=deployed"))
    page.goto("/#/models?algorithm=DDQN&q=founders&sort=makespan")
    expect(page.get_by_role("columnheader", name="总工期")).to_have_attribute("aria-sort", "ascending")
    expect(page.get_by_role("rowheader").get_by_role("link")).to_have_text(["DDQN v2.0.0", "DDQN v1.0.0"])
    page.get_by_label("搜索").fill("no such model")
    page.get_by_role("button", name="清除筛选").last.click()
    expect(page.get_by_role("rowheader").filter(has_text="DDQN v1.0.0")).to_be_visible()


@pytest.mark.changes_context
def test_a_model_registered_elsewhere_appears_automatically(page: Page, console: LiveService, files: Path):
    page.clock.install()
    page.goto("/#/models")
    expect(page.get_by_role("rowheader").filter(has_text="DDQN v2.0.0")).to_be_visible()
    key = registered(console, write_checkpoint(files / "a.pth", 2), training_params={"seed": 2})
    page.clock.fast_forward(10_000)
    expect(page.get_by_role("rowheader").filter(has_text=key)).to_be_visible()


@pytest.mark.changes_context
def test_a_models_page_shows_all_details(page: Page, console: LiveService, files: Path):
    parent = next(key for key in tags(console).values() if key.endswith("_v1.0.0"))
    params = {"seed": 31, "polishing": {"pairs": 12}}
    lineage = {"parent": parent, "training_data_seed": 77}
    key = registered(console, write_checkpoint(files / "a.pth", 3), training_params=params, lineage=lineage)
    page.goto(f"/#/models/{key}")
    record = stored(console, key)
    expect(page.locator("main")).to_contain_text(record["sha256"])
    expect(page.locator("main")).to_contain_text("polishing.pairs")
    expect(page.get_by_role("img", name="DDQN 各版本的实测指标")).to_have_attribute(
        "aria-label", re.compile("2.0.0 总工期 54.44 小时")
    )
    page.get_by_text("网络结构").click()
    expect(page.locator("main")).to_contain_text("64 → 32 → 32")
    page.get_by_role("link", name=name_of(parent), exact=True).click()
    expect(page.get_by_role("heading", level=1)).to_have_text("DDQN v1.0.0")
    page.context.grant_permissions(["clipboard-read", "clipboard-write"])
    page.get_by_role("button", name="复制权重的 SHA-256").click()
    assert page.evaluate("navigator.clipboard.readText()") == stored(console, parent)["sha256"]


def test_the_history_shows_the_live_model_of_that_time(page: Page, console: LiveService):
    page.goto("/#/models?view=history")
    live = page.locator(".live")
    expect(live).to_contain_text("DDQN v1.0.0")
    expect(page.locator(".timeline")).to_contain_text("随项目提供")
    page.get_by_label("截至").fill("2020-01-01T08:00")
    expect(live).to_contain_text("当时没有任何稳定版")
    expect(page.locator("main")).to_contain_text("这个范围内没有变更")
    expect(page).to_have_url(re.compile("at=2020-01-01"))
    page.get_by_role("button", name="现在").click()
    expect(live).to_contain_text("DDQN v1.0.0")


@pytest.mark.parametrize("view", ["list", "history", "register", "detail", "confirmation"])
def test_every_view_fits_and_is_accessible(page: Page, console: LiveService, view: str):
    key = tags(console)["DDQN:stable"]
    page.goto(f"/#/models/{key}" if view in ("detail", "confirmation") else f"/#/models?view={view}")
    page.wait_for_load_state("networkidle")
    if view == "confirmation":
        page.goto("/#/models/DDQN_v2.0")
        move(page, "部署").click()
        expect(page.get_by_role("dialog", name="部署 DDQN v2.0.0？")).to_be_visible()
    check_both_sizes(page, f"models-{view}")
    page.get_by_role("button", name="English").dispatch_event("click")
    expect(page.get_by_role("button", name="中文", include_hidden=True)).to_be_attached()
    assert re.findall(r"\b(?:models|status)\.\w+|\{\w+\}", page.locator("body").inner_text()) == []


# --- registering ---


def fill_registration(page: Page, path: Path | None, **texts: str) -> None:
    page.goto("/#/models?view=register")
    if path is not None:
        page.locator("input[type=file]").set_input_files(path)
    for label, text in texts.items():
        page.get_by_label(label, exact=True).fill(text)


def test_a_model_is_registered_with_the_form(page: Page, console: LiveService, files: Path):
    fill_registration(
        page, write_checkpoint(files / "best.pth", 10), 说明="夏季大修", 创建人="李伟", 标签="summer, trial"
    )
    page.get_by_role("group", name="训练参数").last.get_by_role("button", name="粘贴 JSON").click()
    page.get_by_role("textbox", name="训练参数").fill('{"seed": 10, "hidden": [64, 32]}')
    metrics = page.locator("fieldset[data-field=performance_metrics]")
    metrics.get_by_label("第 1 行的值").fill("54.4")
    page.get_by_label("递增", exact=True).first.check()
    page.get_by_role("combobox", name="递增").select_option("修订号")
    page.get_by_role("button", name="注册", exact=True).click()

    expect(page.get_by_text("已注册。")).to_be_visible()
    key = page.url.rpartition("/")[2]
    record = stored(console, key)
    assert record["training_params"] == {"seed": 10, "hidden": [64, 32]}
    assert record["performance"] == {"makespan": 54.4}
    assert (record["description"], record["created_by"], record["status"]) == ("夏季大修", "李伟", "registered")
    assert not record["version"].endswith(".0"), "the patch number was raised"
    assert {tag for tag, bearer in tags(console).items() if bearer == key} == {
        "DDQN:latest",
        "DDQN:summer",
        "DDQN:trial",
    }
    assert (console.home / "models" / "models" / f"{key}.pth").read_bytes() == (files / "best.pth").read_bytes()


def test_all_mistakes_of_a_registration_are_shown_at_once(page: Page):
    page.goto("/#/models?view=register")
    page.get_by_label("标签").fill("no:colon")
    page.locator("[name=performance_metrics-value]").first.fill("5")
    page.locator("[name=performance_metrics-name]").first.fill("")
    page.locator("form.registration .btn.primary").click()
    entries = page.locator("form.registration [role=alert]").get_by_role("button")
    expect(entries).to_have_count(3)
    expect(page.locator("form.registration [role=alert] strong")).to_have_text("有 3 处需要改正：")
    expect(page.locator("input[type=file]")).to_be_focused()
    for entry, field in ((1, "[name=tags]"), (2, "[name=performance_metrics-name] >> nth=0")):
        entries.nth(entry).click()
        expect(page.locator(field)).to_be_focused()


def test_the_same_file_with_the_same_parameters_is_not_registered_twice(page: Page, console: LiveService, files: Path):
    path = write_checkpoint(files / "a.pth", 11)
    key = registered(console, path)
    n_events = len(events(console))
    fill_registration(page, path)
    page.get_by_role("button", name="注册", exact=True).click()
    expect(page.get_by_text(f"早已注册为 {name_of(key)}")).to_be_visible()
    expect(page).to_have_url(re.compile(f"{key}$"))
    assert len(events(console)) == n_events


def test_a_corrupt_file_is_refused_beside_the_field_and_leaves_nothing(
    page: Page, console: LiveService, files: Path, mistakes: list[str]
):
    whole = write_checkpoint(files / "whole.pth", 12).read_bytes()
    before = sorted((console.home / "models").rglob("*"))
    for content, result in ((b"not a model", "torch.save"), (whole[: len(whole) // 2], "损坏或不完整")):
        (files / "broken.pth").write_bytes(content)
        fill_registration(page, files / "broken.pth", 说明="kept while the file is exchanged")
        page.get_by_role("button", name="注册", exact=True).click()
        expect(page.locator("#file-problem")).to_contain_text(result)
        expect(page.get_by_label("换一个文件")).to_be_focused()
        expect(page.get_by_label("说明", exact=True)).to_have_value("kept while the file is exchanged")
    assert sorted((console.home / "models").rglob("*")) == before
    check_accessibility(page)
    forgive(mistakes, CONFLICT)


def test_a_version_taken_meanwhile_is_reported_beside_its_field(
    page: Page, console: LiveService, files: Path, mistakes: list[str]
):
    fill_registration(page, write_checkpoint(files / "a.pth", 13), 版本="7.7.7")
    registered(console, write_checkpoint(files / "b.pth", 14), version="7.7.7")
    page.get_by_role("button", name="注册", exact=True).click()
    expect(page.locator("#version-problem")).to_contain_text("版本 7.7.7 已经用过")
    version = page.get_by_label("版本", exact=True)
    expect(version).to_be_focused()
    version.fill("7.7.8")
    version.press("Enter")
    expect(page.get_by_role("heading", level=1)).to_have_text("DDQN v7.7.8")
    forgive(mistakes, CONFLICT)


def test_invalid_input_is_reported_before_it_is_sent(page: Page):
    fill_registration(page, None)
    register = page.get_by_role("button", name="注册", exact=True)
    register.click()
    expect(page.locator("#file-problem")).to_have_text("请选择模型文件。")
    page.locator(".drop").evaluate("""zone => {
        const data = new DataTransfer();
        data.items.add(new File(["x"], "dropped.pth"));
        zone.dispatchEvent(new DragEvent("drop", { dataTransfer: data, bubbles: true, cancelable: true }));
    }""")
    expect(page.locator(".drop")).to_contain_text("dropped.pth")
    page.get_by_role("button", name="粘贴 JSON").first.click()
    page.get_by_role("textbox", name="训练参数").fill("{seed: 1}")
    register.click()
    expect(page.locator("#training_params-problem")).to_contain_text("不是合法的 JSON")
    page.get_by_role("textbox", name="训练参数").fill("{}")
    page.get_by_label("标签", exact=True).fill("ok 1bad")
    register.click()
    expect(page.locator("#tags-problem")).to_contain_text("不是合法的标签")


NO_MODELS = [
    ("RULE", b"\x80weights", "RULE 的模型文件应为 scheduler-baseline/1 格式的 JSON"),
    ("RULE", b"[1]", "应恰好有 format、algorithm、parameters 三项"),
    ("GA", baseline_page("RULE", PLAIN_RULE), "文件描述的是 'RULE'，而所选算法是 GA"),
    ("GA", baseline_page("GA", {"size": 5}), "GA 不接受参数，现在有：'size'"),
    ("CPSAT", baseline_page("CPSAT", {"threads": 5}), "CPSAT 不接受这些参数：'threads'"),
    ("CPSAT", baseline_page("CPSAT", {"time_limit_s": 0}), "time_limit_s 应大于 0 且不超过 600 秒"),
    ("CPSAT", baseline_page("CPSAT", {"workers": 0}), "workers 应为 1 到 8 的整数"),
]


def test_a_json_file_that_is_not_a_model_is_refused_in_the_pages_language(page: Page, files: Path, mistakes: list[str]):
    for number, (algorithm, content, result) in enumerate(NO_MODELS):
        path = files / f"card{number}.json"
        path.write_bytes(content)
        fill_registration(page, path)
        page.get_by_label("算法", exact=True).select_option(algorithm)
        page.get_by_role("button", name="注册", exact=True).click()
        expect(page.locator("[data-field=file]")).to_contain_text(result)
        assert "422" in mistakes.pop()


@pytest.mark.changes_context
def test_an_upload_shows_its_progress_and_can_be_cancelled(page: Page, console: LiveService, files: Path):
    n_events = len(events(console))
    fill_registration(page, write_checkpoint(files / "a.pth", 15))
    network = page.context.new_cdp_session(page)
    slow = {"offline": False, "latency": 0, "downloadThroughput": -1, "uploadThroughput": 8_000}
    network.send("Network.enable")
    network.send("Network.emulateNetworkConditions", slow)
    page.get_by_role("button", name="注册", exact=True).click()
    expect(page.get_by_text("正在上传")).to_be_visible()
    expect(page.get_by_role("button", name="注册", exact=True)).to_be_disabled()
    page.get_by_role("button", name="取消").click()
    expect(page.get_by_text("已取消，没有注册任何模型。")).to_be_visible()
    assert len(events(console)) == n_events


# --- moves ---


def test_a_model_is_validated_deployed_rolled_back_retired_and_deleted(page: Page, console: LiveService, files: Path):
    first = tags(console)["DDQN:stable"]
    key = registered(console, write_checkpoint(files / "a.pth", 20))
    name = name_of(key)
    page.goto(f"/#/models/{key}")
    expect(move(page, "部署")).to_have_count(0)

    move(page, "验证").click()
    result = agree(page, f"验证 {name}？", reason="看看它有多好", actor="李伟")
    assert "固定算例上实测" in result
    assert "稳定版仍是 DDQN v1.0.0，默认模型仍是 DDQN v2.0.0" in result
    expect(page.get_by_text(f"{name} 已通过验证。")).to_be_visible()
    expect(page.get_by_role("heading", level=1)).to_be_focused()
    assert stored(console, key)["status"] == "validated"
    assert stored(console, key)["validation"]["gap"] < 0.1
    assert (events(console)[-1]["actor"], events(console)[-1]["reason"]) == ("李伟", "看看它有多好")

    move(page, "部署").click()
    result = agree(page, f"部署 {name}？")
    assert f"由 DDQN v1.0.0 换成 {name}" in result
    assert "默认模型配置为 DDQN_v2.0，仍由 DDQN v2.0.0 应答" in result
    expect(page.get_by_text(f"{name} 已部署，现在是稳定版。")).to_be_visible()
    assert tags(console)["DDQN:stable"] == key
    assert events(console)[-1]["actor"] == "李伟", "the name is asked for once"
    expect(move(page, "退役")).to_have_count(0)
    page.get_by_text("暂时不能做的操作").click()
    expect(page.get_by_text(f"退役 {key} 是稳定版：请先部署其他版本，或者回滚")).to_be_visible()

    move(page, "回滚").click()
    result = agree(page, "回滚 DDQN？", reason="总工期变长")
    assert f"由 {name} 换成 DDQN v1.0.0" in result
    expect(page.get_by_text("已回滚：DDQN v1.0.0 重新成为稳定版。")).to_be_visible()
    assert (tags(console)["DDQN:stable"], stored(console, key)["status"]) == (first, "validated")
    assert events(console)[-1]["reason"] == "总工期变长"

    move(page, "退役").click()
    assert "没有实验或默认配置用到它" in agree(page, f"让 {name} 退役？")
    expect(page.get_by_text(f"{name} 已退役。")).to_be_visible()
    assert stored(console, key)["status"] == "retired"

    move(page, "删除").click()
    result = agree(page, f"删除 {name}？")
    assert "标签 latest 转到" in result
    expect(page.get_by_text(f"{name} 已删除。")).to_be_visible()
    expect(page).to_have_url(re.compile("#/models$"))
    assert not (console.home / "models" / "metadata" / f"{key}.json").exists()
    assert list((console.home / "models" / ".trash").rglob(f"*{key}*.pth"))


def test_cancelling_changes_nothing(page: Page, console: LiveService):
    n_events = len(events(console))
    page.goto("/#/models/DDQN_v2.0")
    move(page, "部署").press("Enter")
    dialog = page.get_by_role("dialog", name="部署 DDQN v2.0.0？")
    expect(dialog).to_be_visible()
    page.keyboard.press("Escape")
    expect(dialog).to_be_hidden()
    expect(move(page, "部署")).to_be_focused()
    assert len(events(console)) == n_events


def test_a_tag_is_set_moved_and_removed(page: Page, console: LiveService, files: Path):
    key = registered(console, write_checkpoint(files / "a.pth", 21), tags=["night"])
    other = registered(console, write_checkpoint(files / "b.pth", 25))
    name = name_of(other)
    page.goto(f"/#/models/{other}")
    page.get_by_role("button", name="添加标签").click()
    page.get_by_label("标签名").fill("1 bad tag")
    page.keyboard.press("Enter")
    expect(page.get_by_text("不是合法的标签")).to_be_visible()
    page.get_by_label("标签名").fill("night")
    page.keyboard.press("Enter")
    result = agree(page, f"把标签 night 指向 {name}？")
    assert f"由 {name_of(key)} 移到 {name}" in result
    expect(page.get_by_text(f"标签 night 已指向 {name}。")).to_be_visible()
    assert tags(console)["DDQN:night"] == other
    page.get_by_role("button", name="取下标签 night").click()
    assert "404" in agree(page, f"从 {name} 取下标签 night？")
    expect(page.get_by_text(f"标签 night 已从 {name} 取下。")).to_be_visible()
    assert "DDQN:night" not in tags(console)
    assert events(console)[-1]["event"] == "untagged"


def test_a_model_no_better_than_a_rule_is_not_validated_and_the_page_says_why(
    page: Page, console: LiveService, files: Path, mistakes: list[str]
):
    (files / "rule.json").write_bytes(baseline_page("RULE", PLAIN_RULE))
    key = registered(console, files / "rule.json", algorithm_name="RULE")
    page.goto(f"/#/models/{key}")
    move(page, "验证").click()
    agree(page, f"验证 {name_of(key)}？")
    alarm = page.get_by_role("alert")
    expect(alarm).to_contain_text("未通过验证：平均比理论最短多")
    expect(alarm).to_be_focused()
    expect(page.locator(".timeline")).to_contain_text(f"{name_of(key)} 未通过验证")
    assert stored(console, key)["status"] == "registered"
    forgive(mistakes, CONFLICT)


def test_a_change_by_another_person_is_shown_before_an_action(page: Page, console: LiveService, files: Path):
    key = registered(console, write_checkpoint(files / "a.pth", 22))
    page.goto(f"/#/models/{key}")
    expect(move(page, "删除")).to_be_visible()
    console.put("/models/tags/held", json={"model_key": key})
    move(page, "删除").click()
    expect(page.get_by_role("alert")).to_contain_text("模型库在您打开页面之后有变动")
    expect(page.get_by_role("alert")).to_contain_text("held")
    expect(page.get_by_role("dialog")).to_have_count(0)
    expect(move(page, "删除")).to_have_count(0)


def test_a_conflict_while_the_dialog_is_open_is_reported(
    page: Page, console: LiveService, files: Path, mistakes: list[str]
):
    key = registered(console, write_checkpoint(files / "a.pth", 23))
    page.goto(f"/#/models/{key}")
    move(page, "删除").click()
    expect(page.get_by_role("dialog")).to_be_visible()
    created = {
        "experiment_name": "quick",
        "model_a": "DDQN_v2.0",
        "model_b": key,
        "traffic_split": {"model_a": 0.5, "model_b": 0.5},
    }
    assert console.post("/experiments", json=created).status_code == 201
    agree(page, f"删除 {name_of(key)}？")
    expect(page.get_by_role("alert")).to_contain_text("正被实验“quick”使用")
    expect(page.get_by_role("link", name="实验 quick")).to_be_visible()
    assert stored(console, key)["status"] == "registered"
    console.post("/experiments/quick/stop", json={})
    forgive(mistakes, CONFLICT)


def test_a_deleted_model_is_reported_with_a_link(page: Page, console: LiveService, files: Path, mistakes: list[str]):
    key = registered(console, write_checkpoint(files / "a.pth", 24))
    assert console.delete(f"/models/{key}", json={"reason": "用错了参数"}).status_code == 200
    page.goto(f"/#/models/{key}")
    expect(page.get_by_role("alert")).to_contain_text(f"没有名为 {key} 的模型")
    page.get_by_role("link", name="查看它的历史").click()
    expect(page.locator(".timeline")).to_contain_text(f"删除 {name_of(key)}")
    expect(page.locator(".timeline")).to_contain_text("用错了参数")
    forgive(mistakes, CONFLICT)


def test_a_model_is_shown_even_without_its_outlook(page: Page, console: LiveService, mistakes: list[str]):
    config = console.home / "ab_test_config.json"
    whole = config.read_bytes()
    config.write_bytes(b"{")
    try:
        page.goto("/#/models/DDQN_v2.0")
        expect(page.get_by_role("alert")).to_contain_text("无法确定哪些模型正在被使用")
        expect(page.locator("main")).to_contain_text("54.44 小时")
    finally:
        config.write_bytes(whole)
    page.get_by_role("button", name="重试").click()
    expect(move(page, "部署")).to_be_visible()
    forgive(mistakes, re.compile("status of 503"))


def test_times_are_shown_in_the_readers_zone(page: Page, console: LiveService):
    body = datetime.fromisoformat(console.get("/models/DDQN_v1.0").json()["model"]["created_at"]).astimezone(UTC)
    page.goto("/#/models/DDQN_v1.0")
    zone = page.evaluate("Intl.DateTimeFormat().resolvedOptions().timeZone")
    local = body.astimezone(ZoneInfo(zone))
    expect(page.locator("main")).to_contain_text(f"{local.hour:02}:{local.minute:02}")

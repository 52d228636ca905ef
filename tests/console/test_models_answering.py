"""The default model: shown, changed on the page, and two versions compared."""

import re
from collections.abc import Iterator
from pathlib import Path

import pytest
from playwright.sync_api import Page, expect

from monitoring import PerformanceMonitor, PerformanceRecord
from tests.conftest import LiveService
from tests.console.browsing import check_accessibility, check_both_sizes
from tests.console.test_models import agree, move, name_of, registered, write_checkpoint

CURVE = {"update": [1000, 2000, 3000], "loss": [3.0, 2.0, 1.0], "mean_gap": [0.3, 0.2, 0.12], "n=5": [0.4, 0.25, 0.2]}


@pytest.fixture(scope="module")
def keys(console: LiveService) -> dict[str, str]:
    return {each["version"]: each["model_key"] for each in console.get("/models").json()["models"]}


@pytest.fixture(scope="module")
def answered(console: LiveService, keys: dict[str, str]) -> None:
    """A hundred answers, 30 of them by v1."""
    monitor = PerformanceMonitor(console.home / "logs" / "performance.db")
    records = [
        PerformanceRecord(request_id=f"r{at}", model_key=keys["1.0.0" if at < 30 else "2.0.0"], makespan=20.0)
        for at in range(100)
    ]
    monitor.record_performance(*records)
    monitor.close()


@pytest.fixture
def as_before(console: LiveService, keys: dict[str, str]) -> Iterator[None]:
    yield
    if console.get("/models").json()["default_model"]["model_key"] != keys["2.0.0"]:
        console.put("/models/default", json={"model_key": keys["2.0.0"]}).raise_for_status()


@pytest.mark.usefixtures("answered")
def test_the_page_shows_the_default_its_share_and_that_stable_is_another(page: Page, keys: dict[str, str]):
    page.goto("/#/models")
    answering = page.get_by_role("region", name="谁在应答")
    default, stable = answering.locator("article").nth(0), answering.locator("article").nth(1)
    expect(default).to_contain_text("DDQN v2.0.0")
    expect(default).to_contain_text("近 7 天应答了 100 次请求中的 70.0 %")
    expect(stable).to_contain_text("DDQN v1.0.0")
    expect(stable.locator(".plainly")).to_have_text(
        "它不应答没有指定模型的请求：由默认模型 DDQN v2.0.0 应答。只有写明 DDQN:stable 或 algorithm DDQN 的请求才用它。"
    )
    expect(page.locator("main")).not_to_contain_text("生产")
    row = page.get_by_role("row").filter(has_text="DDQN v2.0.0")
    expect(row.locator(".mark-default")).to_have_text("默认应答")
    expect(row.locator("[data-share]")).to_have_text("应答 70.0 %")
    expect(page.get_by_role("row").filter(has_text="DDQN v1.0.0").locator(".mark-stable")).to_have_text("稳定版")
    check_both_sizes(page, "models-answering")
    page.goto(f"/?lang=en#/models/{keys['1.0.0']}")
    expect(page.locator("[data-answers]")).to_contain_text("answered 30.0 % of the 100 requests of the last 7 days")
    expect(page.locator("[data-elsewhere]")).to_contain_text("the default model DDQN v2.0.0 does")
    expect(page.locator("main")).not_to_contain_text(re.compile("production", re.IGNORECASE))
    check_both_sizes(page, "models-answering-en")
    page.goto("/?lang=zh#/models")


@pytest.mark.usefixtures("as_before")
def test_a_model_is_made_the_default_after_the_consequences_were_shown(
    page: Page, console: LiveService, keys: dict[str, str]
):
    ramp = {"experiment_name": "held", "model_a": keys["2.0.0"], "model_b": keys["1.0.0"], "rollout": {"auto": False}}
    # v2 was only validated, and is the baseline of a rollout that would wait.
    assert console.post("/experiments", json=ramp | {"shadow": False}).status_code == 201
    page.goto(f"/#/models/{keys['1.0.0']}")
    move(page, "设为默认").click()
    check_accessibility(page)
    result = agree(page, "让 DDQN v1.0.0 默认应答？", reason="计划员熟悉它", actor="李伟")
    assert "从下一次起由 DDQN v1.0.0 应答，不再是 DDQN v2.0.0" in result
    assert "会停在当前阶段：held" in result
    assert "标签 stable 不变：仍是 DDQN v1.0.0" in result
    expect(page.get_by_text("DDQN v1.0.0 现在是默认模型。")).to_be_visible()
    expect(page.locator(".model-head .mark-default")).to_have_text("默认应答")
    expect(page.locator("[data-elsewhere]")).to_have_count(0)
    expect(move(page, "设为默认")).to_have_count(0)
    expect(page.locator(".timeline")).to_contain_text("DDQN v1.0.0 成为默认模型（原为 DDQN v2.0.0）")
    event = console.get("/models/history").json()["events"][0]
    assert (event["event"], event["actor"], event["reason"]) == ("made_default", "李伟", "计划员熟悉它")
    assert console.run(params=[5] * 15)["result"]["model_info"]["model_key"] == keys["1.0.0"]
    console.post("/experiments/held/stop")


def test_two_versions_are_compared_at_an_address_that_can_be_shared(page: Page, keys: dict[str, str]):
    page.goto(f"/#/models?view=compare&a={keys['1.0.0']}&b={keys['2.0.0']}")
    table = page.locator(".sides")
    expect(table.get_by_role("columnheader")).to_have_text(
        ["指标", re.compile("DDQN v1.0.0"), re.compile("DDQN v2.0.0.*默认应答")]
    )

    def row(name: str):
        return table.get_by_role("row").filter(has=page.get_by_role("rowheader", name=re.compile(f"^{name}")))

    gap = row("比理论最短多 · 实测")
    expect(gap.get_by_role("cell").nth(1)).to_have_class(re.compile("better"))
    expect(gap.get_by_role("cell").nth(0)).not_to_have_class(re.compile("better"))
    expect(row("updates")).to_have_count(1)  # not again from the checkpoint
    expect(row("updates").get_by_role("cell")).to_have_text(["4000", "60000"])
    expect(row("updates")).to_have_class(re.compile("differs"))
    expect(row("target_every")).not_to_have_class(re.compile("differs"))
    expect(row("polishing.generations").get_by_role("cell")).to_have_text(["–", "400"])
    expect(page.get_by_role("region", name="训练曲线")).to_contain_text("DDQN v1.0.0, DDQN v2.0.0 注册时没有带训练曲线")
    check_both_sizes(page, "models-compare")
    page.get_by_label("只看不同之处").check()
    expect(row("target_every")).to_have_count(0)
    expect(row("updates")).to_be_visible()
    page.get_by_role("button", name="左右互换").press("Enter")
    expect(page).to_have_url(re.compile(f"a={keys['2.0.0']}&b={keys['1.0.0']}"))
    expect(row("updates").get_by_role("cell")).to_have_text(["60000", "4000"])
    page.goto(f"/?lang=en#/models?view=compare&a={keys['1.0.0']}&b={keys['2.0.0']}")
    expect(page.locator(".compare [role=status]")).to_contain_text("differences, marked ≠")
    expect(page.locator("main")).not_to_contain_text(re.compile("[一-鿿]{2,}"))
    check_both_sizes(page, "models-compare-en")
    page.goto("/?lang=zh#/models")


def test_learning_curves_of_both_are_in_one_chart(page: Page, console: LiveService, tmp_path: Path):
    with_curve = registered(
        console, write_checkpoint(tmp_path / "a.pth", 41), performance_metrics={"learning_curve": CURVE}
    )
    without = registered(console, write_checkpoint(tmp_path / "b.pth", 42), performance_metrics={"makespan": 42.0})
    page.goto(f"/#/models/{with_curve}")
    expect(page.get_by_text("其他自报指标")).to_have_count(0)  # a curve is not a single figure
    page.get_by_role("link", name="与另一个版本并排比较").click()
    page.get_by_label("右边的版本").select_option(without)
    expect(page).to_have_url(re.compile(f"a={with_curve}&b={without}"))
    curves = page.get_by_role("region", name="训练曲线")
    expect(curves.get_by_role("img")).to_have_attribute("aria-label", re.compile(name_of(with_curve)))
    expect(curves).to_contain_text(f"{name_of(without)} 注册时没有带训练曲线")
    page.reload()
    expect(curves.get_by_role("img")).to_be_visible()
    check_both_sizes(page, "models-curves")


def test_the_address_of_a_deleted_model_is_reported(page: Page, keys: dict[str, str], mistakes: list[str]):
    page.goto(f"/#/models?view=compare&a=DDQN_v9.9&b={keys['2.0.0']}")
    expect(page.get_by_role("alert")).to_contain_text("没有名为“DDQN_v9.9”的模型")
    assert [each for each in mistakes if "Failed to load resource" not in each] == []
    mistakes.clear()

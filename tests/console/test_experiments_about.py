"""Title, hypothesis and owner on the page: entered in the form, shown in list and detail, changed in a dialog."""

import re

from playwright.sync_api import Page, expect

from tests.conftest import LiveService
from tests.console.browsing import check_accessibility, check_both_sizes
from tests.console.experimenting import agree, configured, create

ABOUT = {
    "title": "新模型是否缩短停工？",
    "hypothesis": "大厂总工期缩短 2 %",
    "owner": "王工 · أحمد",
}


def test_they_are_entered_in_the_form_and_shown_beside_the_id(page: Page, console: LiveService):
    page.goto("/#/experiments/new")
    page.get_by_label("实验名称").fill("described")
    for label, name in (("标题", "title"), ("假设", "hypothesis"), ("负责人", "owner")):
        page.get_by_label(label).fill(ABOUT[name])
    page.get_by_role("button", name="创建实验").click()
    agree(page, "创建实验")
    about = page.locator("[data-about]")
    for text in ABOUT.values():
        expect(about).to_contain_text(text)
    expect(page.get_by_role("heading", level=1)).to_have_text("described")
    created = configured(console)["experiments"]["described"]
    assert {name: created[name] for name in ABOUT} == ABOUT
    check_both_sizes(page, "experiments-about")
    page.get_by_role("link", name="全部实验").click()
    row = page.get_by_role("row", name=re.compile("described"))
    expect(row).to_contain_text(ABOUT["title"])
    expect(row).to_contain_text(ABOUT["owner"])
    check_both_sizes(page, "experiments-about-list")


def test_an_invalid_text_is_reported_once(page: Page, mistakes: list[str]):
    page.goto("/#/experiments/new")
    page.get_by_label("实验名称").fill("unprintable")
    page.get_by_label("标题").fill("a\u202eb")
    page.get_by_role("button", name="创建实验").click()
    expect(page.locator("form [role=alert]")).to_contain_text("有 1 处需要改正：标题")
    assert all("Failed to load resource" in each for each in mistakes)
    mistakes.clear()


def test_they_are_changed_in_a_dialog_and_recorded_in_the_history(page: Page, console: LiveService):
    create(console, "renamed", **ABOUT)
    page.goto("/?lang=en#/experiments/renamed")
    page.get_by_role("button", name="Change the description").press("Enter")
    dialog = page.get_by_role("dialog", name="Description of the experiment renamed")
    expect(dialog.get_by_label("Title")).to_be_focused()
    expect(dialog.get_by_label("Owner")).to_have_value(ABOUT["owner"])
    check_accessibility(page)
    dialog.get_by_label("Title").fill("Day shift only")
    dialog.get_by_label("Hypothesis").fill("")
    dialog.get_by_role("button", name="Save").click()
    expect(dialog).to_be_hidden()
    about = page.locator("[data-about]")
    expect(about).to_contain_text("Day shift only")
    expect(about).not_to_contain_text(ABOUT["hypothesis"])
    line = page.locator("[data-event=described]")
    expect(line).to_contain_text("Title: Day shift only")
    expect(line).to_contain_text("Hypothesis: –")
    created = configured(console)["experiments"]["renamed"]
    assert (created["title"], created["owner"], "hypothesis" in created) == ("Day shift only", ABOUT["owner"], False)
    page.goto("/?lang=zh#/experiments")


def test_a_refusal_by_the_service_is_shown_beside_its_field(page: Page, console: LiveService, mistakes: list[str]):
    create(console, "refused", **ABOUT)
    page.goto("/#/experiments/refused")
    page.get_by_role("button", name="修改说明").click()
    dialog = page.get_by_role("dialog", name="修改实验 refused 的说明")
    dialog.get_by_label("标题").fill("a\u202eb")
    dialog.get_by_role("button", name="保存").click()
    result = dialog.locator(".field", has=page.get_by_label("标题")).locator(".error")
    expect(result).to_contain_text("不超过 200 个字符")
    assert configured(console)["experiments"]["refused"]["title"] == ABOUT["title"]
    assert all("Failed to load resource" in each for each in mistakes)
    mistakes.clear()

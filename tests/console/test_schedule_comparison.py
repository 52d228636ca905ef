"""Two models compared on the planner's page: alternating, with the variation shown, never a model with itself."""

import json
import re
from typing import Any

from playwright.sync_api import Page, Request, Response, expect

from scheduler_service.words import WORDS
from tests.conftest import LiveService
from tests.console.browsing import check_both_sizes
from tests.console.planning import recorded


def keys(page: Page, field: str) -> list[str]:
    """The models that a field offers."""
    expect(page.locator(f"[name={field}] option").nth(1)).to_be_attached()
    found: list[str] = page.locator(f"[name={field}] option").evaluate_all("each => each.map(one => one.value)")
    return [key for key in found if key]


def begin(page: Page, budget: str, *, model: str = "") -> tuple[str, str]:
    """Start a comparison; return its models."""
    offered = keys(page, "model")
    page.locator("[name=model]").select_option(model)
    (other,) = keys(page, "compare")
    page.locator("[name=compare]").select_option(other)
    page.locator("[name=budget]").select_option(budget)
    page.get_by_role("button", name="开始排程").click()
    return next(key for key in offered if key != other), other


def compared(page: Page) -> list[list[str]]:
    """The table of the comparison: model, runs, shortest, mean, longest."""
    expect(page.locator(".comparison")).to_be_visible()
    rows: list[list[str]] = page.locator(".comparison tbody tr").evaluate_all(
        "rows => rows.map(row => [...row.cells].map(cell => cell.textContent))"
    )
    return rows


def verdict(page: Page, a: list[float], b: list[float], **options: Any) -> str:
    """The result for the makespans of two models; `gaps` of all runs, `budget_ms`."""
    found: str = page.evaluate(
        """async ([a, b, gap, budgetMs]) => {
        const { verdict } = await import(ownFile('pages/schedule/compare.js'));
        const runs = [a, b].map((each) => each.map((makespan) => ({ makespan, gap })));
        return verdict(runs, budgetMs).kind;
    }""",
        [a, b, options.get("gap", 0.1), options.get("budget_ms", 1_000)],
    )
    return found


def test_two_models_alternate_with_the_same_seeds_and_time(workpoints: Page, console: LiveService):
    for _ in range(6):  # eight work points use their whole budget
        workpoints.get_by_role("button", name="添加工作点").click()
    running: list[Request] = []
    most_at_once, answers = 0, []

    def asked(request: Request) -> None:
        nonlocal most_at_once
        if request.url.endswith("/run_algorithm"):
            running.append(request)
            most_at_once = max(most_at_once, len(running))

    def answered(response: Response) -> None:
        if response.url.endswith("/run_algorithm"):
            running.remove(response.request)
            answers.append((response.request.post_data_json, response.json()["result"]["makespan"]))

    workpoints.on("request", asked)
    workpoints.on("response", answered)
    a, b = begin(workpoints, "1000")
    result = re.compile(r"模型对比：第 \d 次，共 8 次；最长还需约 \d\.\d 秒")
    expect(workpoints.locator(".progress")).to_contain_text(result)
    rows = compared(workpoints)
    assert most_at_once == 1
    bodies = [body for body, _ in answers]
    assert [(body["model"], body["seed"]) for body in bodies] == [
        *((a, 0), (b, 0), (b, 1), (a, 1)),
        *((a, 2), (b, 2), (b, 3), (a, 3)),
    ]
    assert {body["time_budget_ms"] for body in bodies} == {1_000}
    assert len({json.dumps(body["workpoints"]) for body in bodies}) == 1
    for (key, runs, least, mean, most), model in zip(rows, (a, b), strict=True):
        created = [makespan for body, makespan in answers if body["model"] == model]
        result = [f"{hours:.2f} 小时" for hours in (min(created), sum(created) / 4, max(created))]
        assert (key, runs, [least, mean, most]) == (model, "4", result)
    shown = workpoints.locator("[data-test=makespan]").all_inner_texts()
    assert shown == [row[2] for row in rows], "the shortest of each"
    assert set(recorded(console).iloc[-8:].model_key) == {a, b}
    workpoints.reload()
    assert compared(workpoints) == rows


def test_schedules_without_search_have_no_variation_and_are_compared_once(workpoints: Page, console: LiveService):
    before = len(recorded(console))
    a, b = begin(workpoints, "0")
    assert [row[1] for row in compared(workpoints)] == ["1", "1"]
    created = recorded(console).iloc[before:].set_index("model_key").makespan
    assert len(created) == 2
    result = workpoints.locator(".comparison [role=status]")
    change = f"{b} 比 {a} {'短' if created[b] < created[a] else '长'} {abs(created[b] - created[a]):.2f} 小时"
    expect(result).to_contain_text(change if created[a] != created[b] else "两个模型的总工期相同。")


def test_two_proofs_need_no_further_runs(schedule: Page, console: LiveService):
    before = len(recorded(console))
    begin(schedule, "")
    expect(schedule.locator(".comparison [role=status]")).to_contain_text("已证明最优的方案，总工期相同")
    assert len(recorded(console)) == before + 2


def test_stopping_shows_the_results_so_far(workpoints: Page):
    for _ in range(6):
        workpoints.get_by_role("button", name="添加工作点").click()
    begin(workpoints, "5000")
    expect(workpoints.locator(".progress")).to_contain_text("第 3 次")
    workpoints.get_by_role("button", name="停止").click()
    expect(workpoints.locator(".comparison [role=status]")).to_contain_text("已停止，各算了 1 次，不足 4 次")
    assert [row[1] for row in compared(workpoints)] == ["1", "1"]
    check_both_sizes(workpoints, "schedule-comparison")


def test_a_model_is_neither_offered_nor_accepted_against_itself(
    schedule: Page, console: LiveService, mistakes: list[str]
):
    offered = keys(schedule, "model")
    default = console.get("/models").json()["default_model"]["model_key"]
    assert keys(schedule, "compare") == [key for key in offered if key != default]
    other = next(key for key in offered if key != default)
    schedule.locator("[name=model]").select_option(other)
    assert keys(schedule, "compare") == [default]
    before = len(recorded(console))
    for name in ("DDQN_v2.0", "DDQN:latest", default):  # names of one version
        same = console.get(f"/models/{name}").json()["model"]["model_key"]
        draft = {
            "mode": "params",
            "params": [5] * 15,
            "workpoints": [],
            "headcounts": {},
            "options": {"model": name, "compare": same, "budgetMs": 0, "experiment": "", "userId": ""},
        }
        schedule.evaluate("(draft) => localStorage.setItem('scheduler.draft', JSON.stringify(draft))", draft)
        schedule.reload()
        schedule.get_by_role("button", name="开始排程").click()
        expect(schedule.locator(".go [role=alert]")).to_contain_text(
            f"有 1 处需要改正：对比模型: {WORDS.text('errors.compared_with_itself', {'model': same}, 'zh')}"
        )
        expect(schedule.locator("[name=compare]")).to_be_focused()
    assert len(recorded(console)) == before


DIFFERENCES = [
    ([10, 11, 12, 13], [9, 8, 9.9, 9.5], {}, "differs"),
    ([9, 8, 9.9, 9.5], [10, 11, 12, 13], {}, "differs"),
    ([10, 11, 12, 13], [9, 8, 9.9, 10.5], {}, "noise"),
    ([10, 10, 10, 10], [10, 10, 10, 10], {}, "same"),
    ([10, 10, 10, 10], [10, 10, 10, 11], {}, "noise"),
    ([10, 10, 10, 10], [11, 11, 11, 11], {}, "differs"),
    ([10, 11, 12], [9, 8, 9.9, 9.5], {}, "few"),
    ([10], [10], {"gap": 0.0}, "proved"),
    ([10], [11], {"budget_ms": 0}, "fixed"),
    ([10], [10], {"budget_ms": 0}, "same"),
]


def test_a_difference_is_reported_only_if_the_ranges_of_the_runs_do_not_overlap(schedule: Page):
    found = [verdict(schedule, a, b, **options) for a, b, options, _ in DIFFERENCES]
    assert found == [kind for *_, kind in DIFFERENCES]

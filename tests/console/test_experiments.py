"""The experiments' page: how results of recorded runs are shown."""

import re
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import pytest
from playwright.sync_api import Browser, Page, Response, Route, expect

from monitoring import PerformanceMonitor, PerformanceRecord
from scheduler_service.http.runs.shadowing import MAX_WAITING
from scheduler_service.keys import digest_of
from tests.conftest import LiveService, live_service
from tests.console.browsing import NARROW, check_both_sizes, new_context
from tests.console.experimenting import agree, ask, configured, create, said, signed, takes_out
from tests.waiting import until

USERS = 130


@pytest.fixture(scope="module")
def compared(console: LiveService) -> dict[str, Any]:
    """The results of an experiment with shadow runs, after one request of every user."""
    create(console, "compared", shadow=1, traffic_split={"model_a": 0.5, "model_b": 0.5}, actor="王工")
    monitor = PerformanceMonitor(console.home / "logs" / "performance.db")
    for begin in range(0, USERS, MAX_WAITING):  # the queue drops what it cannot take, by design
        users = range(begin, min(begin + MAX_WAITING, USERS))
        ask(console, "compared", users)
        # In the background, when no client waits.
        until(lambda: len(monitor.get_pairs("compared")) >= users.stop, f"{users.stop} pairs")  # noqa: B023
    monitor.close()
    body: dict[str, Any] = console.get("/experiments/compared/results").json()["results"]
    assert body["verdict"] == "better"
    return body


def test_the_page_shows_the_figures_of_the_results(page: Page, compared: dict[str, Any]):
    page.goto("/#/experiments/compared")
    effect, pairs = compared["anytime_effect"], compared["paired"]["shadow"]
    card = page.locator(".verdict")
    expect(card.locator(".word")).to_have_text("更优")
    expect(card.locator(".figure strong")).to_have_text(signed(effect["improvement_percentage"]))
    expect(card.locator(".figure")).to_contain_text(" 至 ".join(map(signed, effect["confidence_sequence"])))
    expect(card.locator("[data-verdict]")).to_have_text(said(*compared["verdict_text"]))
    assert compared["verdict_text"][0]["params"]["basis"]["params"] == {
        "pairs": pairs["pairs"],
        "users": pairs["users"],
    }
    users, requests = compared["users"], compared["total_requests"]
    expect(card).to_contain_text(f"{users['model_a']} / {users['model_b']}")
    expect(card).to_contain_text(f"请求数 {requests['model_a']} / {requests['model_b']}")
    expect(page.locator("[data-srm]")).to_contain_text(f"p = {compared['srm_p_value']:.2f}")
    for guardrail in compared["guardrails"]:
        expect(page.locator(f"[data-guardrail={guardrail['name']}]")).to_have_attribute(
            "data-state", guardrail["state"]
        )
    longer, rarer = (page.locator(f"[data-guardrail={name}] .figures") for name in ("makespan", "success"))
    expect(longer).to_have_text(re.compile(r"^[+−]?\d+\.\d % \([+−]?\d+\.\d % … [+−]?\d+\.\d %\)$"))
    expect(rarer).to_have_text(re.compile(r"^[+−]?\d+\.\d \([+−]?\d+\.\d … [+−]?\d+\.\d\)$"))
    counts = page.locator("[data-pairs=shadow] .won-lost-key dd").all_inner_texts()
    assert counts[:3] == [str(pairs[name]) for name in ("wins", "ties", "losses")]
    assert counts[3] == f"{pairs['geometric_mean_ratio']:.4f}"
    expect(page.locator("[data-pairs=shadow] tbody tr")).to_have_count(len(pairs["worst"]))
    expect(page.locator("[data-raw-means]")).to_have_text(said(*compared["raw_means_text"]))
    expect(page.get_by_role("img", name=re.compile("折线图：改进的估计"))).to_be_visible()
    check_both_sizes(page, "experiments-one")


def test_the_page_shows_the_same_in_english(page: Page, compared: dict[str, Any]):
    page.goto("/?lang=en#/experiments/compared")
    effect = compared["anytime_effect"]["improvement_percentage"]
    expect(page.locator("[data-verdict]")).to_contain_text(f"B is better than A: makespan {effect:.2f} % shorter")
    expect(page.locator("main")).not_to_contain_text(re.compile("[一-鿿]{2,}(?<!王工)"))
    page.set_viewport_size(NARROW)  # type: ignore[arg-type]
    is_narrow = "document.documentElement.scrollWidth <= document.documentElement.clientWidth"
    assert page.evaluate(is_narrow)
    page.get_by_role("link", name="All experiments").click()
    expect(page.get_by_role("link", name="compared")).to_be_visible()
    assert page.evaluate(is_narrow)


def test_no_p_value_is_judged_before_there_are_enough_samples(page: Page, compared: dict[str, Any]):
    assert compared["reasons"]["is_significant"]["code"] == "too_few_samples"
    page.goto("/#/experiments/compared")
    expect(page.locator("[data-raw-means]")).to_have_text(said(*compared["raw_means_text"]))
    expect(page.locator("[data-raw-means]")).to_contain_text("差异不显著（样本不足，每组至少需要 100 个")


def record_optima(console: LiveService, name: str, users: int = 160) -> None:
    """Runs of both arms with proven optimal answers, as if recorded by the service; B's own schedules are shorter."""
    monitor = PerformanceMonitor(console.home / "logs" / "performance.db")
    keys = {each["version"]: each["model_key"] for each in console.get("/models").json()["models"]}
    records = []
    for user in range(users):
        arm, bound = ("model_a", "model_b")[user % 2], 20.0 + user % 31 + user % 7 / 10
        own = bound * (1.05 + user % 11 / 500) * (0.95 if arm == "model_b" else 1.0)
        records.append(
            PerformanceRecord(
                request_id=f"{name}_{user}", user_id=f"u{user}", experiment=name, variant=arm, reason="assigned",
                model_key=keys["2.0.0" if arm == "model_a" else "1.0.0"], makespan=bound, policy_makespan=own,
                lower_bound=bound, gap=0.0, execution_time=0.002, stage="exact",
            )
        )  # fmt: skip
    monitor.record_performance(*records)
    monitor.close()


def record_flattering(console: LiveService, name: str, users: int = 300) -> None:
    """Runs of both arms; B plans like A but fails on the largest plants, so that its mean is shorter."""
    monitor = PerformanceMonitor(console.home / "logs" / "performance.db")
    keys = {each["version"]: each["model_key"] for each in console.get("/models").json()["models"]}
    records = []
    for user in range(users):
        arm, bound = ("model_a", "model_b")[user % 2], 30.0 + user * 7 % 41
        fails = arm == "model_b" and bound > 58.0
        length = {} if fails else {"makespan": bound * 1.1, "gap": 0.1}
        records.append(
            PerformanceRecord(
                request_id=f"{name}_{user}", user_id=f"u{user}", experiment=name, variant=arm, reason="assigned",
                model_key=keys["1.0.0" if arm == "model_a" else "2.0.0"], lower_bound=bound, success=not fails,
                execution_time=0.002, **length,
            )
        )  # fmt: skip
    monitor.record_performance(*records)
    monitor.close()


def test_raw_means_that_contradict_the_verdict_are_shown_before_it(page: Page, console: LiveService):
    create(console, "flattering", min_samples=20, traffic_split={"model_a": 0.5, "model_b": 0.5}, guardrails=False)
    record_flattering(console, "flattering")
    results = console.get("/experiments/flattering/results").json()["results"]
    assert (results["verdict"], results["is_significant"], results["raw_means_contradict"]) == ("worse", True, True)
    page.goto("/#/experiments/flattering")
    card = page.locator(".verdict")
    warning, effect = card.locator("[data-contradiction]"), results["contradiction"]["effect_improvement_percentage"]
    expect(warning).to_have_text(said(results["contradiction"]["text"]))
    expect(warning).to_contain_text("按原始均值，B 的总工期平均缩短")
    expect(card.locator(".figure strong")).to_have_text(signed(effect))
    assert warning.bounding_box()["y"] < card.locator("[data-verdict]").bounding_box()["y"]
    expect(page.locator("[data-raw-means]")).to_contain_text("成功运行的原始均值（不计失败")
    check_both_sizes(page, "experiments-contradiction")
    page.goto("/?lang=en#/experiments/flattering")
    expect(warning).to_contain_text("the raw means and the verdict point in opposite directions")
    console.post("/experiments/flattering/stop")


def test_if_all_answers_are_optimal_the_page_names_a_metric_that_can_decide(page: Page, console: LiveService):
    ramp = {"stages": [0.5, 1.0], "min_hours": 0, "min_samples": 20}
    models = {"model_a": "DDQN_v2.0", "model_b": "DDQN_v1.0"}
    create(console, "optimal", min_samples=20, rollout=ramp, shadow=False, **models)
    create(console, "by_own_schedules", min_samples=20, success_metric="policy_makespan", **models)
    for name in ("optimal", "by_own_schedules"):
        record_optima(console, name)
    page.goto("/#/experiments/optimal")
    blocked = "两组的应答几乎都已证明最优（A 100 %，B 100 %），再多的数据也无法按总工期分出高下"
    expect(page.locator("[data-verdict]")).to_contain_text("B 与 A 没有差别：总工期持平")
    expect(page.locator("[data-verdict]")).to_contain_text(blocked)
    expect(page.locator(".verdict .next")).to_contain_text("请改用模型自身排程的总工期")
    expect(page.locator("[data-cannot-tell]")).to_contain_text(blocked)
    expect(page.locator("[data-guardrail=makespan]")).to_have_attribute("data-state", "kept")
    page.goto("/?lang=en#/experiments/optimal")
    expect(page.locator("[data-verdict]")).to_contain_text("Nearly all answers of both arms are proven optimal")
    page.goto("/?lang=zh#/experiments/by_own_schedules")
    expect(page.locator(".verdict .word")).to_have_text("更优")
    expect(page.locator("[data-verdict]")).to_contain_text("B 优于 A：模型自身排程的总工期平均缩短")
    for name in ("optimal", "by_own_schedules"):
        console.post(f"/experiments/{name}/stop")


@pytest.mark.changes_context
@pytest.mark.usefixtures("compared")
def test_the_end_is_shown_by_the_services_clock(page: Page):
    page.clock.install(time=datetime.now(UTC) + timedelta(days=30))
    page.goto("/#/experiments/compared")
    expect(page.locator(".verdict")).to_contain_text("到期")
    expect(page.locator(".verdict")).not_to_contain_text("已到期")


@pytest.mark.changes_context
@pytest.mark.usefixtures("compared")
def test_a_failed_request_for_a_course_is_repeated(page: Page, mistakes):
    page.clock.install()
    page.route("**/experiments/compared/course", lambda route: route.abort(), times=1)
    page.goto("/#/experiments/compared")
    card = page.get_by_role("region", name="改进随时间的变化")
    expect(card.get_by_role("alert")).to_be_visible()
    page.clock.run_for(25_000)
    expect(card.get_by_role("img")).to_be_visible()
    expect(card.get_by_role("alert")).to_have_count(0)
    takes_out(mistakes)


def test_new_runs_appear_automatically(page: Page, console: LiveService):
    create(console, "watched")
    page.goto("/#/experiments/watched")
    expect(page.locator("[data-verdict]")).to_contain_text("还不能对 B 下结论")
    before = page.locator(".arm-facts").first.inner_text()
    ask(console, "watched", range(12))
    expect(page.locator(".arm-facts").first).not_to_have_text(before)


def test_an_experiment_stopped_by_a_guardrail_shows_which_one_and_its_figures(page: Page, console: LiveService):
    guardrails = {"makespan": 0.005, "success": None, "execution_time": None}
    create(console, "harmful", model_a="DDQN_v2.0", model_b="DDQN_v1.0", guardrails=guardrails)
    ask(console, "harmful", range(USERS))
    page.goto("/#/experiments/harmful")
    expect(page.locator(".page-head")).to_contain_text("自动中止")
    expect(page.locator("[data-guardrail=makespan]")).to_have_attribute("data-state", "breached")
    line = page.locator("[data-event=aborted]")
    expect(line).to_contain_text("护栏被突破：总工期平均延长")
    expect(line).to_contain_text("候选份额 0 %")
    line.get_by_text("依据的数据").click()
    samples = console.get("/experiments/harmful/history").json()["history"][-1]["figures"]["samples"]
    expect(line).to_contain_text(f"A {samples['model_a']} · B {samples['model_b']}")
    assert configured(console)["experiments"]["harmful"]["status"] == "stopped"


def test_the_list_shows_every_experiment_with_its_verdict(page: Page, compared: dict[str, Any]):
    page.goto("/#/experiments")
    row = page.get_by_role("row", name=re.compile("compared"))
    expect(row).to_contain_text("更优")
    expect(row).to_contain_text(f"{USERS} 名用户")
    check_both_sizes(page, "experiments-list")
    row.get_by_role("link", name="compared").click()
    expect(page.get_by_role("heading", name="compared")).to_be_focused()


def test_the_oldest_of_many_experiments_are_not_shown_as_loading(page: Page, console: LiveService):
    for number in range(31):  # one more than are summarised
        create(console, f"many_{number}")
    page.goto("/#/experiments")
    cells = page.locator(".verdict-cell")
    expect(cells.nth(30)).to_have_text("–")
    expect(cells.first).to_contain_text("无法判定")
    for number in range(31):
        console.post(f"/experiments/many_{number}/stop")


@pytest.mark.usefixtures("compared")
def test_the_plan_equals_that_of_the_service(page: Page, console: LiveService):
    page.goto("/#/experiments/new")
    models = {each["version"]: each["model_key"] for each in console.get("/models").json()["models"]}
    page.get_by_label("A 组（基线）").select_option(models["1.0.0"])
    page.get_by_label("B 组（候选）").select_option(models["2.0.0"])

    def is_asked(answer: Response) -> bool:
        return answer.url.endswith("/plan") and answer.request.post_data_json["minimum_effect"] == 0.005

    with page.expect_response(is_asked) as response:
        page.get_by_label("想要发现的最小改进（%）").fill("0.5")
    plan = response.value.json()["plan"]
    known = page.locator("[data-plan=known]")
    expect(known).to_contain_text(f"每组约 {plan['users_needed']['model_a']:,} 名用户")
    expect(known).to_contain_text(f"{plan['basis']['runs']} 次请求、{plan['basis']['users']} 名用户")
    expect(known.get_by_role("img")).to_have_attribute("aria-label", re.compile("7 天内可发现至少"))
    assert plan["basis"]["model"] == models["1.0.0"]
    check_both_sizes(page, "experiments-new")
    with page.expect_response(
        lambda answer: answer.url.endswith("/plan") and "rollout" in answer.request.post_data
    ) as response:
        page.get_by_label(re.compile("^灰度发布")).check()
    ramp = response.value.json()["plan"]["ramp"]
    expect(page.locator("[data-ramp]")).to_contain_text(f"{ramp['users']:,} 名用户")


def test_the_arm_of_a_user_can_be_looked_up(page: Page, console: LiveService):
    create(console, "looked_up", excluded_users=["guest"], forced_variants={"tester": "model_b"})
    page.goto("/#/experiments/looked_up")
    body = console.get("/experiments/looked_up/assignment?user_id=planner_1").json()["assignment"]
    shown, user = page.locator("[data-assignment]"), page.get_by_label("用户 ID")
    for name, words in (("planner_1", f"{body['bucket']:.4f}"), ("guest", "排除名单"), ("tester", "固定在 B 组")):
        user.fill(name)
        user.press("Enter")
        expect(shown).to_contain_text(words)


@pytest.mark.usefixtures("compared")
def test_a_replay_stores_its_pairs_in_the_database(page: Page, console: LiveService):
    create(console, "replayed")
    page.goto("/#/experiments/replayed")
    page.get_by_label("请求数").fill("20")
    page.get_by_role("button", name="开始回放").click()
    agree(page, "开始回放")
    expect(page.locator("[data-replay]")).to_have_attribute("data-state", "done")
    expect(page.locator("[data-pairs=replay]")).to_contain_text("20 对")
    monitor = PerformanceMonitor(console.home / "logs" / "performance.db")
    assert len(monitor.get_pairs("replayed", source="replay")) == 20
    monitor.close()


@pytest.mark.usefixtures("compared")
def test_a_replay_is_followed_to_its_end_despite_a_failed_request(page: Page, console: LiveService, mistakes):
    create(console, "followed")
    page.goto("/#/experiments/followed")
    page.get_by_label("请求数").fill("100")
    answers = iter(("running", "unreachable"))  # then the answer of the service

    def answer(route: Route) -> None:
        match "begun" if route.request.method == "POST" else next(answers, "told"):
            case "running":  # however fast it was
                body = route.fetch().json()
                body["replay"]["state"] = "running"
                route.fulfill(json=body)
            case "unreachable":
                route.abort()
            case _:
                route.continue_()

    page.route("**/replay", answer)
    page.get_by_role("button", name="开始回放").click()
    agree(page, "开始回放")
    expect(page.locator("[data-replay]")).to_have_attribute("data-state", "done")
    expect(page.locator("[data-pairs=replay]")).to_contain_text("100 对")
    takes_out(mistakes)


def test_with_an_api_key_the_report_of_an_experiment_opens(browser: Browser, tmp_path: Path):
    key = "a-key-of-the-engineers-0123456789"
    environment = {"SCHED_HOST": "0.0.0.0", "SCHED_API_KEYS": f"ml:admin:{digest_of(key)}"}
    with live_service(tmp_path, environment=environment) as running:
        running.session.headers["Authorization"] = f"Bearer {key}"
        running.url = running.url.replace("0.0.0.0", "127.0.0.1")
        create(running, "with_a_key")
        context = new_context(browser, running.url, locale="zh-CN")
        context.add_init_script(f"sessionStorage.setItem('scheduler.api_key', '{key}')")
        page = context.new_page()
        page.goto("/#/experiments/with_a_key")
        page.get_by_role("button", name="生成 A/B 报告").click()
        with page.expect_popup() as opened:
            page.get_by_role("link", name="在新标签页打开 ab_test_with_a_key").click()
        expect(opened.value).to_have_url(re.compile("^blob:"))
        expect(opened.value.get_by_role("heading", level=1)).to_contain_text("A/B 测试报告")
        context.close()


def test_an_experiment_may_be_named_new(page: Page, console: LiveService):
    create(console, "new")
    page.goto("/#/experiments")
    page.get_by_role("link", name="new", exact=True).click()
    expect(page.locator("[data-verdict]")).to_be_visible()


def test_the_longest_name_fits_into_the_list(page: Page, console: LiveService):
    name = "x" * 64
    models = {"model_a": "DDQN_v1.0", "model_b": "DDQN_v2.0", "traffic_split": {"model_a": 0.5, "model_b": 0.5}}
    request = {"experiment_name": name, **models, "success_metric": "makespan", "duration_days": 7}
    assert console.post("/experiments", json=request).status_code == 201
    page.goto("/#/experiments")
    expect(page.get_by_role("link", name=name)).to_be_visible()
    check_both_sizes(page, "experiments-long-name")


def test_an_unknown_experiment_is_reported(page: Page, mistakes):
    page.goto("/#/experiments/nothing")
    expect(page.get_by_role("alert")).to_contain_text("没有这个实验")
    takes_out(mistakes)

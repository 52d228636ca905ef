"""The A/B report: the verdict first and in plain words, and evidence that says the same."""

import json
import resource
import shutil
import subprocess
import warnings
from datetime import UTC, datetime, timedelta
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
from matplotlib.dates import date2num

from monitoring import ABTestAnalyzer, PairRecord, PerformanceMonitor, PerformanceRecord
from scheduler_env.fonts import drawable
from scheduler_service.clock import to_iso
from scheduler_service.errors import ExperimentNotFound
from scheduler_service.experiments.examination import examine
from scheduler_service.experiments.experiment import Experiment
from scheduler_service.reporting.ab_figures import _rows
from scheduler_service.reporting.ab_test import ab_test_report
from scheduler_service.reporting.content import Pictures, Report
from scheduler_service.reporting.evolution import effects_over_time, pair_effects_over_time, ramp
from scheduler_service.reporting.formatting import Formatter, all_texts, report_texts
from scheduler_service.reporting.page import html_of
from scheduler_service.reporting.pdf import pdf_of
from scheduler_service.stats.metrics import METRICS
from scheduler_service.words import LANGS, WORDS
from tests.pages import Page

NOW = datetime(2026, 11, 23, 12, 15, 30, tzinfo=UTC)
BEGIN = NOW - timedelta(days=5)
KEYS = {"model_a": "DDQN_1a2b3c4d_v1.0.0", "model_b": "DDQN_5c1f0a2e_v2.0.0"}
HOSTILE = "<script>alert(1)</script>\"'>$\\frac{1}{0}$😀𠮷\x00"
ALL_ARMS = [f"model_{letter}" for letter in "abcdefgh"]


pytestmark = pytest.mark.usefixtures("mostly_words")


@pytest.fixture(autouse=True)
def _every_warning_fails():
    """A missing glyph, an empty mean, a deprecated call: nobody would see the warning."""
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        # scipy's, of an arm whose users are all alike, such as one in which nothing failed: no precision is lost.
        warnings.filterwarnings("ignore", message="Precision loss occurred")
        yield


def experiment(**options: object) -> Experiment:
    return Experiment.parse(
        {
            "name": "v1_vs_v2",
            "model_a": "DDQN_v1.0",
            "model_b": "DDQN_v2.0",
            "start_time": to_iso(BEGIN),
            "duration_days": 14,
            **options,
        }
    )


def runs_of(
    users: int,
    requests: int,
    *,
    better: dict[str, float] | None = None,
    arms: list[str] | None = None,
    shares: list[float] | None = None,
    hours: float = 120.0,
    seed: int = 1,
    noise: float = 0.02,
) -> pd.DataFrame:
    """`users` of `requests` each, from the experiment's beginning on; `better`: arm -> share of the makespan saved."""
    rng = np.random.default_rng(seed)
    arms = arms or ["model_a", "model_b"]
    count = users * requests
    user = rng.permutation(np.repeat(np.arange(users), requests))
    arm_of_user = rng.choice(len(arms), users, p=shares)
    arm = np.array(arms)[arm_of_user[user]]
    bound = rng.choice([20.0, 50.0, 90.0], count) * rng.uniform(0.8, 1.2, count)
    saved = np.array([(better or {}).get(each, 0.0) for each in arm])
    makespan = bound * 1.08 * (1.0 + rng.normal(0.0, noise, count)) * (1.0 - saved)
    success = rng.random(count) > 0.01
    return pd.DataFrame(
        {
            "timestamp": pd.Timestamp(BEGIN)
            + pd.to_timedelta(np.sort(rng.random(count)) * hours, unit="h").floor("us"),
            "model_key": pd.array([KEYS.get(each, each) for each in arm], dtype="str"),
            "variant": pd.array(arm, dtype="str"),
            "reason": pd.array(["assigned"] * count, dtype="str"),
            "user_id": pd.array([f"厂区_{each}" for each in user], dtype="str"),
            "success": success,
            "makespan": np.where(success, makespan, np.nan),
            "policy_makespan": np.where(success, 1.02 * makespan, np.nan),
            "execution_time": rng.lognormal(-4.0, 0.4, count),
            "lower_bound": bound,
            "gap": np.where(success, makespan / bound - 1.0, np.nan),
            "resource_utilization": np.where(success, rng.normal(0.6, 0.05, count), np.nan),
            "user_satisfaction": np.nan,
        }
    )


def pairs_of(count: int, *, better: float = 0.03, source: str = "shadow", failing: int = 0) -> pd.DataFrame:
    rng = np.random.default_rng(count)
    a = rng.choice([20.0, 50.0, 90.0], count) * rng.uniform(0.9, 1.2, count)
    b = np.where(np.arange(count) % 5 == 0, a, a * (1.0 - better + rng.normal(0.0, 0.02, count)))
    success = np.arange(count) >= failing
    return pd.DataFrame(
        {
            "timestamp": pd.Timestamp(BEGIN)
            + pd.to_timedelta(np.sort(rng.random(count)) * 120.0, unit="h").floor("us"),
            "request_id": pd.array([f"pair-{number}" for number in range(count)], dtype="str"),
            "source": pd.array([source] * count, dtype="str"),
            "replay": pd.array(["replay-1"] * count, dtype="str"),
            "user_id": pd.array([f"user_{number % 60}" for number in range(count)], dtype="str"),
            "candidate": pd.array(["model_b"] * count, dtype="str"),
            "key_a": pd.array([KEYS["model_a"]] * count, dtype="str"),
            "key_b": pd.array([KEYS["model_b"]] * count, dtype="str"),
            "makespan_a": a,
            "makespan_b": np.where(success, b, np.nan),
            "policy_makespan_a": 1.02 * a,
            "policy_makespan_b": np.where(success, 1.02 * b, np.nan),
            "success_a": True,
            "success_b": success,
            "lower_bound": a * 0.9,
            "n_workpoints": pd.array(rng.integers(1, 6, count), dtype="Int64"),
        }
    )


FIGURES = {
    "samples": {"model_a": 312, "model_b": 298},
    "verdict": "inconclusive",
    "guardrails": {"makespan": {"state": "kept", "harm": -0.03}, "success": {"state": "kept", "harm": 0.0}},
}


def line(hours: float, event: str, status: str, stage: float | None = None, **more: object) -> dict[str, object]:
    after = {"status": status} | ({} if stage is None else {"stage": stage})
    told = {"actor": "rollout", "reason": "model_b cannot be told from model_a.", "figures": FIGURES, "before": {}}
    return {"time": to_iso(BEGIN + timedelta(hours=hours)), "event": event, "after": after, **told, **more}


def report_on(
    of: Experiment,
    runs: pd.DataFrame,
    pairs: pd.DataFrame | None = None,
    history: object = (),
    lang: str = "zh",
    days: float = 7.0,
) -> Report:
    examined = examine(of, runs, pairs, NOW)
    return ab_test_report(examined, runs, pairs, history, NOW - timedelta(days=days), NOW, lang)


def page_of(*arguments, **options) -> Page:
    return Page(html_of(report_on(*arguments, **options)))


def test_the_planned_end_is_told_and_of_an_open_ended_experiment_that_it_has_none():
    runs = runs_of(60, 3)
    assert "计划结束 2026-" in page_of(experiment(), runs).text
    for lang, words in {
        "zh": "计划结束 不限期（直到上线",
        "en": "Planned end open-ended (until promoted",
    }.items():
        assert words in page_of(experiment(duration_days=3_650), runs, lang=lang).text


# --- the verdict ---


def test_a_better_candidate_is_recommended_with_its_figures():
    runs = runs_of(200, 8, better={"model_b": 0.06})
    examined = examine(experiment(), runs, None, NOW)
    effect = examined.verdicts["model_b"].effect
    assert examined.verdicts["model_b"].word == "better"
    zh, en = page_of(experiment(), runs).text, page_of(experiment(), runs, lang="en").text
    assert "✓ 更优 B 优于 A：总工期平均缩短" in zh
    assert WORDS.say(*examined.verdicts["model_b"].messages, lang="zh") in zh
    assert "依据 200 名用户的 1,600 次请求。" in zh
    assert "下一步 可以让 B 上线，设为默认模型。" in zh
    assert f"95 % 随时有效区间 +{100 * effect.low:.2f} % 至 +{100 * effect.high:.2f} %" in zh
    assert WORDS.say(*examined.verdicts["model_b"].messages) in en
    assert "Promote B: make it the default model." in en


def test_a_worse_candidate_is_called_worse():
    text = page_of(experiment(), runs_of(200, 8, better={"model_b": -0.03})).text
    assert "× 更差 B 不如 A：总工期平均延长" in text
    assert "停止实验，保留 A。" in text


def test_no_difference_is_not_sold_as_one():
    runs = runs_of(40, 8, noise=0.4)
    assert examine(experiment(), runs, None, NOW).verdicts["model_b"].word == "inconclusive"
    text = page_of(experiment(), runs).text
    assert "? 尚无定论 B 与 A 孰优尚不能判定" in text
    assert "暂不要让 B 上线" in text
    assert "差异显著（" not in text


def test_what_cannot_be_worse_by_the_margin_is_non_inferior():
    text = page_of(experiment(), runs_of(160, 6, seed=3)).text
    assert "≈ 不劣 B 不比 A 差（即使变差也不到 5 %）" in text


@pytest.mark.parametrize(
    ("runs", "reason"),
    [
        (runs_of(60, 1), "样本不足，每组至少需要 100 个"),
        (runs_of(4, 60).assign(variant="model_b"), "用户太少，每组至少需要 1 名"),
    ],
    ids=["samples", "users"],
)
def test_the_reason_for_no_verdict_is_named(runs, reason):
    assert f"还不能对 B 下结论：{reason}" in page_of(experiment(), runs).text


def test_a_wrong_split_is_an_alarm_and_withholds_the_comparison():
    runs = runs_of(300, 4, shares=[0.65, 0.35], better={"model_b": 0.05})
    page = page_of(experiment(), runs)
    users = runs.groupby("variant")["user_id"].nunique()
    assert f"用户分流为 {users['model_a']} / {users['model_b']}，设定为 50 % / 50 %，p < 0.0001" in page.text
    assert "! 无法判定" in page.text
    assert "总工期平均缩短" not in page.text
    assert "先查明为何有用户缺失" in page.text


def test_a_model_that_was_exchanged_on_the_way_makes_the_verdict_invalid():
    runs = runs_of(200, 8, better={"model_b": 0.03})
    late = (runs["variant"] == "model_b") & (runs.index > 800)
    runs["model_key"] = runs["model_key"].mask(late, "DDQN_5c1f0a2e_v3.0.0")
    assert "有一组的模型在实验中途换成了另一个" in page_of(experiment(), runs).text


@pytest.mark.parametrize(
    ("options", "history", "expected"),
    [
        ({"status": "paused"}, [], "next_paused"),
        ({"status": "stopped"}, [line(5, "aborted", "stopped")], "next_aborted"),
        ({"status": "stopped"}, [], "next_over_better"),
        ({"duration_days": 3}, [], "next_over_better"),
        ({"rollout": {"auto": True}}, [], "next_better_auto"),
        ({"rollout": {"auto": False}}, [], "next_better"),
        *(
            (
                {"status": "concluded", "promotion": {"arm": arm, "model": "m", "previous_default": "n", **undone}},
                [],
                expected,
            )
            for arm, undone, expected in (
                ("model_b", {}, "next_promoted"),
                ("model_b", {"is_reverted": True}, "next_reverted"),
                ("model_a", {}, "next_other_promoted"),
            )
        ),
    ],
)
def test_the_next_step_suits_the_state_of_the_experiment(options, history, expected):
    text = page_of(experiment(**options), runs_of(200, 8, better={"model_b": 0.06}), history=history).text
    params = {"a": "model_a", "b": "model_b", "days": "", "other": "model_a"}
    assert WORDS.text(f"next.{expected.removeprefix('next_')}", params, "zh") in text


def test_a_candidate_that_fails_more_often_is_not_recommended_however_short_its_schedules():
    runs = runs_of(400, 20, better={"model_b": 0.3})
    failed = (runs["variant"] == "model_b") & (np.random.default_rng(1).random(len(runs)) < 0.15)
    runs = runs.assign(success=runs["success"] & ~failed, makespan=1.4 * runs["makespan"].mask(failed))
    verdict = examine(experiment(), runs, None, NOW).verdicts["model_b"]
    assert (verdict.word, verdict.failing.is_certain) == ("inconclusive", True)
    text = page_of(experiment(), runs).text
    assert "可以确定 B 比 A 更常失败（成功率 8" in text
    assert "在失败率降到与 A 相当之前，不要让 B 上线" in text
    assert "可以让 B 上线" not in text


def test_every_candidate_has_a_verdict_and_shares_the_chance_of_error():
    arms = ["model_a", "model_b", "model_c"]
    runs = runs_of(400, 5, arms=arms, better={"model_b": 0.06, "model_c": -0.06})
    text = page_of(experiment(model_c="GA_fast"), runs).text
    assert "B 优于 A" in text
    assert "C 不如 A" in text
    assert "C · GA_fast 对比 A · DDQN_v1.0（基线）" in text
    assert "97.5 % 随时有效区间" in text


def test_eight_arms_fit_on_a_page(pictures):
    options = {arm: f"model {arm}" for arm in ALL_ARMS[2:]}
    page = page_of(experiment(**options), runs_of(700, 3, arms=ALL_ARMS))
    assert "H · model model_h 对比 A" in page.text


# --- the evidence agrees with it ---


def test_the_sequence_ends_with_the_verdicts_figures_and_was_right_at_every_moment(pictures):
    runs = runs_of(120, 5, better={"model_b": 0.02})
    split = experiment().traffic_split
    frame = effects_over_time(runs, METRICS["makespan"], ["model_b"], 0.05, split)["model_b"]
    for moment, row in [*list(frame.iterrows())[::13], (frame.index[-1], frame.iloc[-1])]:
        effect = examine(experiment(), runs[runs["timestamp"] <= moment], None, NOW).verdicts["model_b"].effect
        if np.isnan(row["low"]):
            assert effect.reason == "too_few_units"
        else:
            assert (row["improvement"], row["low"], row["high"]) == (effect.improvement, effect.low, effect.high)
    assert 2 <= len(frame) <= 40
    assert frame.index[-1] == runs["timestamp"].max()


def test_the_sequence_of_pairs_ends_with_their_verdict():
    pairs = pairs_of(300)
    found = examine(experiment(shadow=1.0), runs_of(60, 2), pairs, NOW).pairs["shadow"].effect
    last = pair_effects_over_time(pairs, 0.05, 0.05, "model_b", "makespan").iloc[-1]
    assert (last["improvement"], last["low"], last["high"]) == (found.improvement, found.low, found.high)


def test_a_verdict_that_rests_on_pairs_says_so(pictures):
    text = page_of(experiment(shadow=1.0), runs_of(60, 3), pairs_of(300, better=0.1, failing=3)).text
    assert "✓ 更优 B 优于 A" in text
    assert "依据 300 次配对比较（同一请求由两个模型分别排程，来自 60 名用户）" in text
    assert "其中 3 对至少有一个模型失败" in text


def test_the_requests_where_the_candidate_lost_most_are_listed():
    pairs = pairs_of(300, source="replay")
    worst = (pairs["makespan_b"] / pairs["makespan_a"]).nlargest(10).index
    page = page_of(experiment(), runs_of(60, 3), pairs)
    assert "配对比较：历史请求回放" in page.text
    assert all(pairs.loc[index, "request_id"] in page.text for index in worst)


def test_pairs_that_never_differ_are_identical():
    pairs = pairs_of(80).assign(makespan_b=lambda frame: frame["makespan_a"])
    assert "= 完全相同 B 与 A 给出的排程没有任何不同" in page_of(experiment(shadow=1.0), runs_of(60, 3), pairs).text


def test_a_model_against_itself_is_called_one_model():
    pairs = pairs_of(80).assign(key_b=lambda frame: frame["key_a"])
    assert "B 与 A 是同一个模型" in page_of(experiment(shadow=1.0), runs_of(60, 3), pairs).text


def test_only_the_last_replay_counts():
    pairs = pairs_of(200, source="replay")
    pairs["replay"] = pairs["replay"].mask(pairs.index >= 50, "replay-2")
    assert "依据 150 次配对比较" in page_of(experiment(), runs_of(60, 3), pairs).text


@pytest.mark.parametrize("count", [0, 1])
def test_few_pairs_are_no_reason_to_fail(count):
    assert "配对比较：影子运行" in page_of(experiment(shadow=1.0), runs_of(60, 3), pairs_of(count)).text


def test_guardrails_show_their_state_as_a_sign_too():
    text = page_of(experiment(), runs_of(90, 4, better={"model_b": -0.2})).text
    assert "× 突破" in text
    assert "○ 未定" in text


def test_secondary_metrics_carry_their_adjusted_p_value():
    runs = runs_of(200, 8, better={"model_b": 0.03})
    found = examine(experiment(), runs, None, NOW).secondary["model_b"]["execution_time"]
    assert f"计算时间 {found['improvement_percentage']:+.2f} %".replace("-", "−") in page_of(experiment(), runs).text


# --- what was done with it ---


def test_the_share_on_the_candidate_follows_the_history():
    history = [
        line(0, "created", "active", 0.1),
        line(10, "advanced", "active", 0.3),
        line(20, "paused", "paused", 0.3),
        line(30, "started", "active", 0.3),
        line(40, "promoted", "concluded", 1.0),
        line(50, "concluded", "concluded", 1.0),
        line(60, "reverted", "concluded", 1.0),
        {"time": "never", "event": "x"},
        {},
    ]
    steps = ramp(experiment(rollout={}), history)
    assert [step.share for step in steps] == [0.1, 0.3, 0.0, 0.3, 1.0, 1.0, 0.0]


def test_a_split_without_stages_is_a_constant_share():
    of = experiment(traffic_split={"model_a": 0.7, "model_b": 0.3}, coverage=0.5)
    steps = ramp(of, [line(0, "created", "active"), line(5, "stopped", "stopped")])
    assert [step.share for step in steps] == [0.15, 0.0]


def test_an_abort_in_the_first_stage_is_told_with_its_reason(pictures):
    breach = FIGURES | {"verdict": "worse", "guardrails": {"makespan": {"state": "breached", "harm": 0.141}}}
    history = [
        line(0, "created", "active", 0.1, actor="王工", reason="上线前验证"),
        line(5.3, "aborted", "stopped", 0.1, actor="guardrail", reason="guardrail makespan: longer", figures=breach),
    ]
    runs = runs_of(90, 4, better={"model_b": -0.14}, hours=5.3)
    page = page_of(experiment(rollout={}, status="stopped"), runs, history=history)
    assert "自动中止 护栏 0.0 % 护栏被突破：总工期延长 14.1 %" in page.text
    assert "王工 10.0 % 上线前验证" in page.text
    assert "guardrail makespan" not in page.text


@pytest.mark.parametrize(
    ("lang", "told"),
    [
        ("zh", "护栏被突破：自身模型未能应答的请求占比（熔断） 100 %"),
        ("en", "guardrail requests: the candidate's own model failed in 13 of 13 requests; 50 % may"),
    ],
)
def test_an_abort_by_the_breaker_is_told_though_no_verdict_was_looked_at(lang, told):
    reason = "guardrail requests: the candidate's own model failed in 13 of 13 requests; 50 % may"
    figures = {"guardrails": {"requests": {"state": "breached", "harm": 1.0}}}
    history = [line(1, "aborted", "stopped", actor="guardrail", reason=reason, figures=figures)]
    runs = runs_of(20, 2)
    runs["success"] = runs["variant"] != "model_b"
    page = page_of(experiment(status="stopped"), runs, history=history, lang=lang)
    assert told in page.text
    label = {
        "zh": "自身模型未能应答的请求占比（熔断） 100.0 % — ≤ 50 % × 突破",
        "en": "(circuit breaker) 100.0 % – ≤ 50 % × breached",
    }[lang]
    assert label in page.text


def test_a_reason_that_is_recorded_as_messages_is_worded_in_the_language_of_the_report():
    seen = {"code": "guardrails.no_request", "params": {}}
    messages = [{"code": "rollout.breached_by_arm", "params": {"arm": "model_c", "seen": seen}}]
    history = [line(1, "aborted", "stopped", actor="guardrail", reason="as recorded", reason_text=messages)]
    page = page_of(experiment(status="stopped"), runs_of(20, 2), history=history)
    assert "C 组突破护栏：候选组还没有请求。" in page.text
    assert "as recorded" not in page.text


def test_an_english_report_gives_the_services_own_reasons():
    page = page_of(experiment(rollout={}), runs_of(60, 3), history=[line(0, "advanced", "active", 0.3)], lang="en")
    assert "model_b cannot be told from model_a." in page.text


def test_an_experiment_that_ran_out_is_off_the_candidate_from_its_last_day_on():
    page = page_of(experiment(duration_days=3), runs_of(60, 3), history=[line(0, "created", "active")])
    assert "到期 — 0.0 % 实验期限已到" in page.text


def test_figures_of_the_history_that_are_not_as_expected_leave_the_reason_as_it_is():
    for figures in ({}, {"guardrails": 3}, {"samples": {}, "verdict": "?", "guardrails": {}}):
        page = page_of(
            experiment(rollout={}), runs_of(60, 3), history=[line(0, "advanced", "active", 0.3, figures=figures)]
        )
        assert "model_b cannot be told from model_a." in page.text


def test_names_of_events_never_overlap():
    rng = np.random.default_rng(4)
    for _ in range(200):
        places = np.sort(rng.random(12)).tolist()
        marks = [(NOW, "10 推进 30%")] * 12
        ends = [-1.0] * 4
        for place, (row, is_whole, side) in zip(places, _rows(places, marks), strict=True):
            if is_whole:
                left = place if side == "left" else place - 0.05
                assert left >= ends[row] - 1e-9
                ends[row] = left + 0.05
                assert left + 0.05 <= 1.05


def test_a_report_that_does_not_reach_back_to_the_beginning_says_so():
    text = page_of(experiment(), runs_of(60, 3), days=2.0).text
    assert "本报告只含上述时段的数据；实验始于" in text
    assert "请把报告天数设为 6 天以上" in text
    assert "本报告只含" not in page_of(experiment(), runs_of(60, 3)).text


def test_the_report_and_its_charts_begin_at_the_first_run(pictures):
    runs = runs_of(60, 3, hours=48.0)
    runs["timestamp"] += timedelta(hours=60)
    report = report_on(experiment(rollout={}), runs, history=[line(0, "created", "active", 0.1)])
    first = runs["timestamp"].min()
    assert report.period.startswith(first.strftime("%Y-%m-%d %H:%M:%S"))
    blocks = [block for section in report.sections for block in section.blocks if isinstance(block, Pictures)]
    for picture in (blocks[0].pictures[0], blocks[1].pictures[0]):
        assert picture.figure.axes[0].get_xlim()[0] == pytest.approx(date2num(first), abs=1e-6)


# --- the PDF ---


def test_the_pdf_is_the_same_each_time_and_lies_beside_its_page(pictures, monitor, tmp_path):
    record(monitor, "v1_vs_v2")
    analyzer = ABTestAnalyzer(monitor, config_path=tmp_path / "none.json")
    pages = [Path(analyzer.generate_ab_test_report("v1_vs_v2", pdf=with_pdf)) for with_pdf in (True, False, True)]
    assert [page.with_suffix(".pdf").exists() for page in pages] == [True, False, True]
    assert pages[0].with_suffix(".pdf").read_bytes() == pages[2].with_suffix(".pdf").read_bytes()


def test_everything_that_the_page_says_is_in_the_pdf(pictures, tmp_path):
    if shutil.which("pdftotext") is None:
        pytest.skip("pdftotext (poppler-utils) reads the PDF here")
    runs, of = runs_of(200, 8, better={"model_b": 0.06}), experiment(shadow=1.0, title="新模型", hypothesis="更短")
    report = report_on(of, runs, pairs_of(300), [line(0, "created", "active", actor="王工", reason="验证")])
    (tmp_path / "report.pdf").write_bytes(pdf_of(report))
    command = ["pdftotext", "-raw", str(tmp_path / "report.pdf"), "-"]
    found = "".join(subprocess.run(command, capture_output=True, check=True).stdout.decode().split())
    words = Page(html_of(report)).words
    assert [word for word in words if "".join(word.split()) not in found] == []


# --- any data ---


@pytest.mark.parametrize("lang", ["zh", "en"])
@pytest.mark.parametrize(
    "runs",
    [
        runs_of(1, 1).iloc[:0],
        runs_of(1, 1),
        runs_of(80, 4, arms=["model_a"]),
        runs_of(80, 4, arms=["model_b"]),
        runs_of(80, 4).assign(makespan=np.nan),
        runs_of(80, 4).assign(success=False, makespan=np.nan),
        runs_of(80, 4).assign(user_id=pd.array([None] * 320, dtype="str")),
        runs_of(80, 4).assign(makespan=50.0, lower_bound=np.nan, execution_time=0.01),
        runs_of(80, 4).assign(timestamp=pd.Timestamp(NOW)),
        runs_of(80, 4).assign(variant=pd.array([None] * 320, dtype="str")),
    ],
    ids=["none", "one", "a", "b", "nan", "failed", "no users", "constant", "one moment", "no arm"],
)
def test_any_data_make_a_sensible_page(pictures, runs, lang):
    history = [line(0, "created", "active", 0.1)]
    report = report_on(experiment(rollout={}, shadow=0.5), runs, pairs_of(2), history, lang)
    page = Page(html_of(report))
    if lang == "zh":  # the English report has the same pictures
        assert pdf_of(report).startswith(b"%PDF-")
    words = page.text.lower().replace("(", " ").replace("%", " ").split()
    assert not {"nan", "none", "inf"} & set(words)
    assert WORDS.text("experiments.arms.heading", lang=lang) in page.text


@pytest.mark.parametrize("metric", list(METRICS))
def test_every_metric_has_its_words(metric):
    runs = runs_of(120, 4, better={"model_b": 0.03}).assign(user_satisfaction=4.0)
    for lang in ("zh", "en"):
        assert Formatter(lang, UTC).axis(metric) in page_of(experiment(success_metric=metric), runs, lang=lang).text


def test_every_hanzi_of_the_texts_is_in_the_font_of_the_charts():
    for lang in LANGS:
        for text in all_texts(lang):
            assert drawable(text, 10_000) == " ".join(text.split())


def test_names_from_outside_are_text_and_nothing_else(pictures):
    pairs = pairs_of(40, better=-0.05)
    pairs["request_id"] = pairs["user_id"] = pd.array([HOSTILE] * 40, dtype="str")
    history = [line(0, "created", "active", 0.1, actor=HOSTILE, reason=HOSTILE), line(1, HOSTILE, "active", 0.1)]
    page = page_of(experiment(model_b=HOSTILE, rollout={}, shadow=1.0), runs_of(60, 3), pairs, history)
    assert "script" not in page.tags
    assert "alert(1)" in page.text


def test_a_report_of_a_hundred_thousand_rows_is_no_longer_than_one_of_few_and_takes_no_memory_for_each(pictures):
    few = page_of(experiment(shadow=1.0), runs_of(500, 20, better={"model_b": 0.01}), pairs_of(2_000))
    runs = runs_of(5_000, 20, better={"model_b": 0.01})
    pairs = pairs_of(20_000)
    before_mib = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024
    many = page_of(experiment(shadow=1.0), runs, pairs)
    assert len(many.html) < 1.5 * len(few.html)
    assert resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024 - before_mib < 1000.0


# --- from the records ---


@pytest.fixture
def monitor(tmp_path):
    made = PerformanceMonitor(tmp_path / "performance.db", reports_dir=tmp_path / "reports", clock=lambda: NOW)
    yield made
    made.close()


def test_runs_pairs_and_history_on_disk_make_the_report(monitor, tmp_path):
    config = tmp_path / "ab_test_config.json"
    definition = experiment(shadow=1.0).to_dict()
    config.write_text(json.dumps({"experiments": {"v1_vs_v2": definition}, "default_model": "DDQN_v1.0"}))
    record(monitor, "v1_vs_v2")
    monitor.record_pair(
        PairRecord(
            request_id="pair-1", experiment="v1_vs_v2", source="shadow", user_id="u1", candidate="model_b",
            key_a="DDQN_1", key_b="DDQN_2", makespan_a=50.0, makespan_b=55.0, success_a=True, success_b=True,
            lower_bound=45.0, timestamp=NOW,
        )
    )  # fmt: skip
    (tmp_path / "logs").mkdir()
    told = {"id": "1", "experiment": "v1_vs_v2", **line(0, "created", "active", actor="王工", reason="验证")}
    (tmp_path / "logs" / "experiments.jsonl").write_text(json.dumps(told) + "\n")
    page = Page(ABTestAnalyzer(monitor, config_path=config).generate_ab_test_report("v1_vs_v2"))
    assert "创建 王工 50.0 % 验证" in page.text
    assert "pair-1" in page.text


def test_an_experiment_that_is_gone_from_the_configuration_can_still_be_read(monitor, tmp_path):
    analyzer = ABTestAnalyzer(monitor, config_path=tmp_path / "none.json")
    record(monitor, HOSTILE)
    page = Page(analyzer.generate_ab_test_report(HOSTILE))
    assert report_texts("zh")["not_configured"] in page.text
    assert "DDQN_5c1f0a2e_v2.0.0" in page.text
    assert "script" not in page.tags
    with pytest.raises(ExperimentNotFound, match="'unheard_of'"):
        analyzer.generate_ab_test_report("unheard_of")


def record(monitor: PerformanceMonitor, name: str) -> None:
    for number in range(6):
        variant = ("model_a", "model_b")[number % 2]
        monitor.record_performance(
            PerformanceRecord(
                request_id=f"r{number}", experiment=name, variant=variant, user_id=f"u{number}", makespan=50.0 + number,
                model_key=KEYS[variant], lower_bound=45.0, timestamp=NOW - timedelta(hours=number + 1),
            )
        )  # fmt: skip

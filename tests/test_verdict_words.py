"""Every decision about a candidate has a text in both languages, with all of its parameters."""

from datetime import UTC, datetime
from itertools import product
from typing import get_args

import pytest

from scheduler_service.experiments.advice import next_step
from scheduler_service.experiments.experiment import Experiment
from scheduler_service.experiments.finding import BASES, Finding
from scheduler_service.experiments.lifecycle import Status
from scheduler_service.stats.effect import Effect, Evidence
from scheduler_service.stats.headline import Cause, Contradiction
from scheduler_service.stats.judged import DaysLeft, Failing, Word
from scheduler_service.stats.metrics import METRICS
from scheduler_service.stats.optimality import CannotTell
from scheduler_service.stats.outcome import NotComputable
from scheduler_service.stats.pairs import PairedVerdict
from scheduler_service.stats.verdict import Verdict
from scheduler_service.words import LANGS, WORDS
from tests.test_words import TEXTS

NOW = datetime(2026, 1, 5, tzinfo=UTC)
REASONS = [
    NotComputable("ratio_mismatch", users="3 / 9", p=1e-5),
    NotComputable("model_changed", arm="model_b", model="m", keys=["k", "l"]),
    NotComputable("no_data", "no_pairs"),
]
FAILING = [None, Failing(is_certain=False, rates=(1.0, 0.9)), Failing(is_certain=True, rates=(1.0, 0.5))]
CANNOT_TELL = [None, CannotTell("makespan", "policy_makespan", {"model_a": 1.0, "model_b": 0.97})]
DAYS = [DaysLeft(None), DaysLeft(3.2, 2.1, 9.0), DaysLeft(3.2, 2.1, None), DaysLeft(2.0, 2.0, 2.0), DaysLeft(999.0)]
EVIDENCE = Evidence(terms_at=lambda supposed: None, estimate=0.0, standard_error=0.0, none=0.0, farthest=(0, 0), n=2)


def effect(improvement, low, high, error):
    return Effect(improvement, low, high, 0.05, error, 9, None, EVIDENCE)


EFFECTS = [effect(0.03, 0.01, 0.05, 0.01), effect(0.0, -0.01, 0.01, 0.0), effect(-0.3, -0.5, 0.2, 0.1), REASONS[2]]


def verdicts():
    """Every combination of the parts of a verdict."""
    found = []
    for word, of, failing, undecidable, days in product(get_args(Word), EFFECTS, FAILING, CANNOT_TELL, DAYS):
        for reason in REASONS if word == "invalid" else [None]:
            common = {
                "candidate": "model_b",
                "metric": METRICS["makespan"],
                "word": word,
                "reason": reason,
                "effect": of,
                "margin": 0.05,
                "alpha": 0.05,
                "failing": failing,
                "cannot_tell": undecidable,
                "days_left": days,
            }
            counts = {"model_a": 4, "model_b": 5}
            found.append(Verdict(**common, users=counts, requests=counts))
            for is_one_model, replay in ((False, None), (False, 2), (True, None)):
                found.append(
                    PairedVerdict(
                        **common,
                        is_one_model=is_one_model,
                        test=REASONS[2],
                        pairs=3,
                        users=2,
                        distinct_instances=1,
                        wins=1,
                        ties=1,
                        losses=1,
                        failures=(0, 1),
                        worst=(),
                        replay_number=replay,
                    )
                )
    return found


VERDICTS = verdicts()


def experiments():
    base = {"name": "e", "model_a": "a", "model_b": "b", "start_time": "2026-01-01T00:00:00+00:00"}
    promotion = {"arm": "model_b", "model": "b", "previous_default": "a"}
    yield from (
        Experiment.parse({**base, **options})
        for options in (
            {},
            {"rollout": {"auto": True}},
            {"model_c": "c"},
            {"stopped_arms": {"model_b": "2026-01-02T00:00:00+00:00"}, "model_c": "c"},
            {"promotion": promotion},
            {"promotion": {**promotion, "is_reverted": True}},
            {"promotion": {**promotion, "arm": "model_a"}},
        )
    )


def worded(*messages):
    """The text in both languages."""
    texts = [WORDS.say(*messages, lang=lang) for lang in LANGS]
    assert all(texts)
    assert not any("{" in text or "model_" in text for text in texts), texts
    return texts


def test_every_verdict_has_a_text_in_both_languages():
    codes = set()
    for verdict in VERDICTS:
        for shown in (verdict, verdict.withheld()):
            worded(*shown.messages)
            codes |= {each.code for each in shown.messages}
    # parts of other texts
    parts = {f"verdicts.{name}" for name in ("effect", "effect_equal", "interval", "basis_users", "basis_pairs")}
    assert codes | parts == {path for path in TEXTS["en"] if path.startswith("verdicts.")}


@pytest.mark.parametrize("experiment", list(experiments()), ids=range(7))
def test_every_next_step_has_a_text_in_both_languages(experiment):
    for verdict, status, event in product(VERDICTS[::3], get_args(Status), (None, "aborted")):
        worded(next_step(experiment, verdict, status=status, last_event=event, days_planned=5.0))


def test_all_advice_of_the_catalogue_is_used():
    codes = {
        next_step(experiment, verdict, status=status, last_event=event, days_planned=5.0).code
        for experiment in experiments()
        for verdict, status, event in product(VERDICTS[::7], get_args(Status), (None, "aborted"))
    }
    parts = {path for path in TEXTS["en"] if path.startswith("next.days")}
    assert codes | parts == {path for path in TEXTS["en"] if path.startswith("next.")}


@pytest.mark.parametrize("metric", list(METRICS.values()), ids=list(METRICS))
@pytest.mark.parametrize("basis", BASES)
@pytest.mark.parametrize("bounds", [None, (0.01, 0.2), (-0.2, -0.01), (-0.1, 0.1)])
def test_every_finding_has_a_text_in_both_languages(metric, basis, bounds):
    counts = {"model_a": 1_000, "model_b": 2}
    finding = Finding(
        basis=basis,
        is_of_verdict=True,
        candidate="model_b",
        metric=metric,
        improvement=None if bounds is None else sum(bounds) / 2,
        bounds=bounds,
        level=0.95,
        baseline_mean=51.2,
        users=counts,
        samples=counts,
    )
    worded(finding.message)
    assert finding.to_dict()["text"]["code"] == finding.message.code


@pytest.mark.parametrize("cause", get_args(Cause))
@pytest.mark.parametrize("longer", [None, 12.0, -12.0])
def test_every_contradiction_has_a_text_in_both_languages(cause, longer):
    result = Contradiction("model_b", METRICS["makespan"], 5.0, -5.0, (cause, "weights"), (0.0, 30.0), longer)
    worded(result.message)

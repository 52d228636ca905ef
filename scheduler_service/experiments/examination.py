"""All figures of an experiment at one time, computed from data frames of runs and pairs."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, replace
from datetime import UTC, datetime, timedelta
from itertools import pairwise
from typing import TYPE_CHECKING, Any

from scheduler_service.clock import to_iso
from scheduler_service.errors import ExperimentNotFound
from scheduler_service.experiments.advice import advised_move, next_step
from scheduler_service.experiments.experiment import Experiment
from scheduler_service.experiments.planning import MAX_DAYS, traffic_of
from scheduler_service.experiments.rollout import Evidence
from scheduler_service.stats.arms import ARMS, BASELINE, metric_values, rows_of_arm, succeeded
from scheduler_service.stats.breaker import check_requests
from scheduler_service.stats.comparison import ArmComparison, compare_arms
from scheduler_service.stats.guardrails import ALPHA as GUARDRAIL_ALPHA
from scheduler_service.stats.guardrails import Guardrail, check_guardrails
from scheduler_service.stats.headline import Contradiction, contradiction, raw_means, requests_longer, summary
from scheduler_service.stats.judged import DaysLeft, advice
from scheduler_service.stats.metrics import METRICS, PAIRED, metric_named, paired_metric
from scheduler_service.stats.outcome import NotComputable
from scheduler_service.stats.pair_sums import Replayed as Replayed
from scheduler_service.stats.pairs import PairedVerdict, judge_pairs, judge_sums
from scheduler_service.stats.secondary import secondary
from scheduler_service.stats.spending import replay_alpha
from scheduler_service.stats.verdict import DaysUntil, Verdict, judge
from scheduler_service.words import Message

if TYPE_CHECKING:
    import pandas as pd

RUN_COLUMNS = (
    *("timestamp", "request_id", "model_key", "variant", "reason", "user_id", "split", "lower_bound", "n_workpoints"),
    *METRICS,
)
"""The columns of the runs that `examine` needs."""


@dataclass(frozen=True)
class Examination:
    """The figures of one experiment. Verdicts are valid at any time; p-values only for one look at the end."""

    experiment: Experiment
    comparisons: Mapping[str, ArmComparison]  # candidate -> comparison with the baseline
    verdicts: Mapping[str, Verdict]  # candidate -> verdict on the user means
    guardrails: Mapping[str, tuple[Guardrail, ...]]  # candidate -> checks; the breaker is the last one
    secondary: Mapping[str, Mapping[str, Any]]  # candidate -> metric -> its figures
    pairs: Mapping[str, PairedVerdict]  # "shadow" and "replay", if there are pairs; of model_b
    requests_longer: Mapping[str, float | None]  # candidate -> share, see `headline.requests_longer`
    samples: Mapping[str, int]  # arm -> values of the success metric; in a rollout, since the start of the stage
    now: datetime
    model_changed: NotComputable | None  # set if an arm had two models
    replayed: Replayed | None = None  # the pairs behind the verdict on "replay", if they were not read

    @property
    def latest(self) -> ArmComparison:
        """The comparison with the most runs: of a running candidate, or of the one stopped last."""
        stopped, end = self.experiment.stopped_arms, datetime.max.replace(tzinfo=UTC)
        return self.comparisons[max(self.comparisons, key=lambda arm: stopped.get(arm, end))]

    @property
    def rests_on_pairs(self) -> bool:
        """Whether the verdict is that of the shadow pairs; this depends only on the definition of the experiment."""
        return self.experiment.success_metric in PAIRED and self.experiment.shadow > 0.0 and "shadow" in self.pairs

    def evidence(self, *, is_baseline_the_default: bool) -> Evidence:
        """The figures for the decision of a rollout."""
        experiment = self.experiment
        judged = self.judged(experiment.candidates[0])
        return Evidence(
            samples=self.samples,
            word=judged.word,
            verdict=judged.messages,
            is_mismatched=any(each.has_ratio_mismatch for each in self.comparisons.values()),
            guardrails={arm: self.guardrails[arm] for arm in experiment.running_candidates},
            is_baseline_the_default=is_baseline_the_default,
            cannot_tell=None if judged.cannot_tell is None else judged.cannot_tell.message,
            is_one_of_several=len(experiment.candidates) > 1,
            words={arm: self.judged(arm).word for arm in experiment.candidates},
        )

    def to_dict(self) -> dict[str, Any]:
        """The results as JSON. The figures on the top level are of model_b; `comparisons` has further candidates."""
        experiment, latest = self.experiment, self.latest.to_dict()
        first, *others = experiment.candidates
        return {
            "experiment_name": experiment.name,
            "status": experiment.status,
            "models": dict(experiment.models),
            "traffic_split": dict(experiment.traffic_split),
            "coverage": experiment.present_coverage,
            "start_time": to_iso(experiment.start_time),
            "end_time": to_iso(experiment.end_time),
            **self._figures(first),
            # Counts of all arms until now; those of a stopped candidate's comparison end when it was stopped.
            **{name: latest[name] for name in ("total_requests", "users", "average_metrics")},
            "verdict_basis": "pairs" if self.rests_on_pairs else "users",
            "paired": {source: found.to_dict() for source, found in self.pairs.items()},
            "comparisons": {arm: self._figures(arm) for arm in others},
            "rollout": None if experiment.rollout is None else experiment.rollout.to_dict(),
            "stage_samples": None if experiment.rollout is None else dict(self.samples),
            "stopped_arms": {arm: to_iso(since) for arm, since in experiment.stopped_arms.items()},
        }

    def _figures(self, arm: str) -> dict[str, Any]:
        """The figures of one candidate."""
        judged = self.judged(arm)
        is_stopped = arm in self.experiment.stopped_arms
        no_days = DaysLeft(None, reason=NotComputable("not_running", "arm_is_stopped", arm=arm))
        return {
            **self._raw(arm),
            **(judged.effect_dict() if isinstance(judged, PairedVerdict) else judged.to_dict()),
            **advice(self.next_step(arm)),
            **(no_days.to_dict() if is_stopped else {}),
            "advised_move": advised_move(self.experiment, judged),
            "guardrails": [each.to_dict() for each in self.guardrails[arm]],
            "secondary": self.secondary[arm],
        }

    def next_step(self, arm: str) -> Message:
        """The recommended action for `arm`."""
        experiment = self.experiment
        return next_step(
            experiment,
            self.judged(arm),
            status=experiment.status_at(self.now),
            last_event=(experiment.last_transition or {}).get("event"),
            days_planned=(experiment.end_time - self.now) / timedelta(days=1),
        )

    def contradiction(self, arm: str) -> Contradiction | None:
        """Set if the raw means of `arm` and the effect of its verdict have opposite signs."""
        comparison, effect = self.comparisons[arm], self.judged(arm).effect
        if isinstance(effect, NotComputable) or comparison.has_ratio_mismatch or self.model_changed is not None:
            return None
        longer, is_of_pairs = self.requests_longer[arm], self.is_of_pairs(arm)
        return contradiction(comparison, 100.0 * effect.improvement, longer, is_of_pairs=is_of_pairs)

    def _raw(self, arm: str) -> dict[str, Any]:
        """The figures of the raw means, with a summary that begins with the verdict."""
        comparison, contradicted = self.comparisons[arm], self.contradiction(arm)
        means = raw_means(comparison, self.verdicts[arm].cannot_tell)
        return {
            **comparison.to_dict(),
            "summary": summary(comparison, self.judged(arm), contradicted, self.verdicts[arm].cannot_tell),
            "raw_means_text": [each.to_dict() for each in means],
            "raw_means_contradict": contradicted is not None,
            "contradiction": None if contradicted is None else contradicted.to_dict(),
        }

    def is_of_pairs(self, arm: str) -> bool:
        """Whether the verdict on `arm` is that of the shadow pairs."""
        return self.rests_on_pairs and arm == self.experiment.candidates[0]

    def judged(self, arm: str) -> Verdict | PairedVerdict:
        """The verdict on a candidate: of the shadow pairs if it rests on them, otherwise of the user means."""
        on_users = self.verdicts[arm]
        found: Verdict | PairedVerdict = on_users
        if self.is_of_pairs(arm):
            found = replace(self.pairs["shadow"], failing=on_users.failing)
            if found.is_failing and found.word in ("better", "non_inferior"):
                found = replace(found, word="inconclusive")
        if self.model_changed is not None:
            found = replace(found, word="invalid", reason=self.model_changed, cannot_tell=None)
        return found


def examine(
    experiment: Experiment,
    runs: pd.DataFrame,
    pairs: pd.DataFrame | None,
    now: datetime,
    replayed: Replayed | None = None,
) -> Examination:
    """All figures of the experiment; a stopped candidate is examined on the runs until it was stopped.

    With several candidates, alpha of verdicts and guardrails is divided by their number (Bonferroni).

    Args:
        runs: of this experiment, one row per request, at least `RUN_COLUMNS`; those of
            `PerformanceMonitor.get_performance_data(experiment=name)`.
        pairs: of this experiment, both models on the same instances; may be empty;
            `PerformanceMonitor.get_pairs(name)`.
        replayed: the pairs of the first candidate's last replay, which are then not taken from `pairs`;
            `PerformanceMonitor.replays.pairs_of_last(name)`.
    """
    candidates = experiment.candidates
    metric = metric_named(experiment.success_metric)
    each_alpha = experiment.alpha / len(candidates)
    ends = {arm: experiment.stopped_arms.get(arm) for arm in candidates}
    runs_of = {arm: runs if end is None else runs[runs["timestamp"] <= end] for arm, end in ends.items()}
    shadowed = candidates if experiment.shadow > 0.0 else ()
    shadow = {arm: pairs_by_source(pairs, arm).get("shadow") for arm in shadowed}
    comparisons = {
        arm: compare_arms(
            runs_of[arm],
            metric.name,
            min_samples=experiment.min_samples,
            alpha=experiment.alpha,
            split=experiment.split_at(ends[arm]),
            candidate=arm,
        )
        for arm in candidates
    }
    days_until = {arm: _days_until(experiment, runs, now, arm) for arm in candidates}
    return Examination(
        experiment=experiment,
        comparisons=comparisons,
        verdicts={
            arm: judge(runs_of[arm], replace(comparison, alpha=each_alpha), experiment.margin, days_until[arm])
            for arm, comparison in comparisons.items()
        },
        guardrails={arm: _guardrails(experiment, of, arm, shadow.get(arm)) for arm, of in runs_of.items()},
        secondary={arm: secondary(of, metric.name, arm) for arm, of in runs_of.items()},
        pairs=_pair_verdicts(experiment, pairs, candidates[0], replayed),
        requests_longer={arm: requests_longer(of, metric, (BASELINE, arm)) for arm, of in runs_of.items()},
        samples=_samples(experiment, runs, metric.name),
        now=now,
        model_changed=_model_changed(experiment, runs),
        replayed=replayed,
    )


def _guardrails(
    experiment: Experiment, runs: pd.DataFrame, arm: str, shadow: pd.DataFrame | None
) -> tuple[Guardrail, ...]:
    """The guardrails of the candidate `arm`, and the breaker; empty if the experiment has none."""
    if not experiment.guardrails:
        return ()
    alpha, split = GUARDRAIL_ALPHA / len(experiment.candidates), experiment.traffic_split or None
    checked = check_guardrails(runs, experiment.guardrails, BASELINE, arm, alpha, split=split, pairs=shadow)
    return (*checked, check_requests(runs, BASELINE, arm))


def _days_until(experiment: Experiment, runs: pd.DataFrame, now: datetime, arm: str) -> DaysUntil | NotComputable:
    """A function: number of users in `arm` and the baseline -> days until then, at the recent rate of new users.

    It takes the next stages of a rollout into account: a higher coverage includes users without an arm so far.
    """
    status = experiment.status_at(now)
    if status != "active":
        return NotComputable("not_running", status=status)
    if arm in experiment.stopped_arms:
        return NotComputable("not_running", "arm_is_stopped", arm=arm)
    if "timestamp" not in runs.columns:
        return NotComputable("no_data", "users_to_come")
    split = experiment.traffic_split or {BASELINE: 0.5, arm: 0.5}
    compared = split[BASELINE] + split[arm]  # of those who take part
    if compared == 0.0:
        return NotComputable("not_running", "no_share")
    known = max((now - experiment.start_time).total_seconds() / 86_400.0, 1.0)
    traffic, rollout = traffic_of(runs, now, known), experiment.rollout
    stages = [(0.0, experiment.present_coverage)]
    if rollout is not None and rollout.auto:
        remaining = rollout.min_hours / 24.0 - (now - rollout.stage_since).total_seconds() / 86_400.0
        for number, share in enumerate(rollout.stages[rollout.stage + 1 : -1]):
            stages.append((max(remaining, 0.0) + number * rollout.min_hours / 24.0, min(1.0, 2.0 * share)))

    def days_until(users: int) -> float | None:
        for (begins, coverage), (ends, _) in pairwise([*stages, (MAX_DAYS, 0.0)]):
            missing = users / (coverage * compared) - traffic.users
            if missing > 0.0 and traffic.new_users_per_day == 0.0:
                continue
            days = max(begins, missing / traffic.new_users_per_day if missing > 0.0 else 0.0)
            if days < ends:
                return days
        return None

    return days_until


def _pair_verdicts(
    experiment: Experiment, pairs: pd.DataFrame | None, candidate: str, replayed: Replayed | None
) -> dict[str, PairedVerdict]:
    """Source -> verdict. If the experiment is shadowed, there is a verdict on shadow pairs even without pairs."""
    found, margin, metric = {}, experiment.margin, paired_metric(experiment.success_metric)
    for source, mine in pairs_by_source(pairs, candidate).items():
        if source == "replay" and replayed is not None:
            continue
        if len(mine) or (source == "shadow" and experiment.shadow > 0.0):
            alpha = alpha_of_pairs(experiment, mine)
            judged = judge_pairs(mine, margin=margin, alpha=alpha, candidate=candidate, metric=metric)
            found[source] = replace(judged, replay_number=replay_number_of(mine))
    if replayed is not None:
        found["replay"] = judge_replayed(experiment, candidate, replayed, None)
    return found


def judge_replayed(experiment: Experiment, candidate: str, replayed: Replayed, until: datetime | None) -> PairedVerdict:
    """The verdict on the pairs of a replay, or on those recorded until then."""
    metric, alpha = paired_metric(experiment.success_metric), alpha_of_replay(experiment, replayed.number)
    sums = replayed.sums(METRICS[metric], until)
    judged = judge_sums(sums, margin=experiment.margin, alpha=alpha, candidate=candidate, metric=metric)
    return replace(judged, replay_number=replayed.number)


def alpha_of_pairs(experiment: Experiment, pairs: pd.DataFrame) -> float:
    """The significance level for pairs of one source and candidate; replays of the same models share it."""
    return alpha_of_replay(experiment, replay_number_of(pairs))


def alpha_of_replay(experiment: Experiment, number: int | None) -> float:
    """The significance level for the replay with this number of the same two models; None: for shadow runs."""
    alpha = experiment.alpha / len(experiment.candidates)
    return alpha if number is None else replay_alpha(alpha, number)


def replay_number_of(pairs: pd.DataFrame) -> int | None:
    """The number of the pairs' replay among those of the two models; None for shadow runs."""
    if "replay_number" not in pairs.columns or not len(pairs) or pairs["replay_number"].isna().iloc[-1]:
        return None
    return int(pairs["replay_number"].iloc[-1])


def pairs_by_source(pairs: pd.DataFrame | None, candidate: str) -> dict[str, pd.DataFrame]:
    """The pairs of shadow runs, and those of the last replay."""
    if pairs is None:
        return {}
    of_candidate = pairs[pairs["candidate"].eq(candidate).astype(bool)]
    found = {source: of_candidate[of_candidate["source"].eq(source).astype(bool)] for source in ("shadow", "replay")}
    replayed = found["replay"]
    if len(replayed):  # earlier replays may be of other models
        found["replay"] = replayed[replayed["replay"].eq(replayed["replay"].iloc[-1]).astype(bool)]
    return found


def _samples(experiment: Experiment, runs: pd.DataFrame, metric: str) -> dict[str, int]:
    if experiment.rollout is not None:
        runs = runs[runs["timestamp"] >= experiment.rollout.stage_since]
    counts = {}
    for arm in experiment.models:
        values = metric_values(rows_of_arm(runs, arm), metric_named(metric))
        counts[arm] = 0 if values is None else int(values.notna().sum())
    return counts


def _model_changed(experiment: Experiment, runs: pd.DataFrame) -> NotComputable | None:
    """Set if one arm's runs have two models: a tag was moved, or the file was edited."""
    if "model_key" not in runs.columns:
        return None
    for arm in experiment.models:
        rows = rows_of_arm(runs, arm)
        keys = sorted(rows["model_key"][succeeded(rows)].dropna().unique())
        if len(keys) > 1:
            return NotComputable("model_changed", arm=arm, model=experiment.models[arm], keys=keys)
    return None


def experiment_of_runs(name: str, runs: pd.DataFrame, start: datetime) -> Experiment:
    """An experiment without a definition: arms and models of its runs, default limits, unknown split.

    Raises:
        ExperimentNotFound: no run of this name has an arm; requests may name an experiment that never existed.
    """
    recorded = set(runs["variant"].dropna())
    if not recorded:
        raise ExperimentNotFound("experiment_not_found", experiment=name)
    last = max((ARMS.index(arm) for arm in recorded if arm in ARMS), default=0)
    definition: dict[str, Any] = {"name": name, "start_time": start, "traffic_split": None}
    for arm in ARMS[: max(2, last + 1)]:
        keys = runs.loc[runs["variant"].eq(arm).fillna(value=False).astype(bool), "model_key"].dropna()
        definition[arm] = str(keys.iloc[-1]) if len(keys) else "?"
    # Not validated: the name may be invalid, and the split is unknown.
    return Experiment.model_construct(**definition)

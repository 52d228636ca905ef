// What the figures say, in the reader's language: from codes and numbers, not from the API's English sentences.
import { useI18n } from "vue-i18n";
import { now } from "../../core/clock.js";
import { fixed, number, percent } from "../../core/format.js";

const EQUAL_BELOW = 5e-3; // percent: it would be shown as 0.00 %
const LEAST_USERS = 1;
const LEAST_EXPECTED = 5; // users of each arm, to check the split
const OF_INVALID = ["ratio_mismatch", "model_changed"];
const HASTY = ["better", "non_inferior", "inconclusive"];

export const letter = (arm) => arm.replace("model_", "").toUpperCase();

/** "DDQN v2.0.0" of the key DDQN_b903aa25_v2.0.0; other names as they are. */
export const shortModel = (name) => (name ?? "").replace(/^(.+)_[0-9a-f]{8}_v(.+)$/, "$1 v$2");

/** A number with its sign, which a zero has not, nor what is written as one: "+5.96". */
export const signedNumber = (value, digits = 2) => {
  const isZero = Math.abs(value) < 0.5 * 10 ** -digits;
  return `${isZero ? "" : value > 0 ? "+" : "−"}${fixed(Math.abs(value), digits)}`;
};

/** Percent with its sign: "+5.96 %". */
export const signed = (value, digits = 2) => (value === null || value === undefined ? "–" : `${signedNumber(value, digits)} %`);

export const pValue = (p) => (p === null || p === undefined ? "–" : p < 0.0001 ? "< 0.0001" : fixed(p, p < 0.1 ? 4 : 2));

export const pText = (p) => (p < 0.0001 ? "p < 0.0001" : `p = ${pValue(p)}`);

/** A share as a percentage with no more digits than it has: "97.5 %". */
export const level = (share) => `${number(100 * share, 2)} %`;

/** Whether it stopped itself: a guardrail was breached, or the candidate is certainly worse. */
export const isAborted = (experiment) => experiment.status === "stopped" && experiment.last_transition?.event === "aborted";

const OPEN_ENDED_DAYS = 3650; // as in scheduler_service/experiments/experiment.py

/** Whether it runs until it is promoted, aborted or ended by a person. */
export const isOpenEnded = (experiment) => experiment.duration_days >= OPEN_ENDED_DAYS;

/** Whether a candidate was stopped alone: its users get the default model, the other arms go on. */
export const isArmStopped = (experiment, arm) => arm in (experiment.stopped_arms ?? {});

/** The candidates that were not. */
export const runningCandidates = (experiment) => Object.keys(experiment.traffic_split).slice(1).filter((arm) => !isArmStopped(experiment, arm));

export const isOver = (status) => ["stopped", "completed", "concluded"].includes(status);

/** The figures of one candidate: those of model_b stand at the top of the results. */
export const figuresOf = (results, arm) => (arm in results.comparisons ? { ...results, ...results.comparisons[arm], verdict_basis: "users", paired: {} } : results);

export function useWording() {
  const { t } = useI18n();
  const of = (key, named) => t(`experiments.${key}`, named ?? {});
  const arm = (name) => of("arm", { letter: letter(name) });
  const metric = (name) => of(`metric.${name}`);

  function effect(improvement, name) {
    if (improvement === null || Math.abs(improvement) < EQUAL_BELOW) return of("effect.equal", { metric: metric(name) });
    return of(`effect.${improvement > 0 ? "better" : "worse"}_${name}`, { by: `${fixed(Math.abs(improvement), 2)} %` });
  }

  function reason(code, { samples = 0, alpha = 0.05, least = LEAST_USERS, ofPairs = false } = {}) {
    const known = ["no_data", "too_few_units", "no_variation", "baseline_not_positive", "baseline_near_zero", "split_unknown", "too_few_samples", "not_below_alpha", "ratio_mismatch", "model_changed", "not_recorded"];
    if (ofPairs && code === "too_few_units") return of("reason.too_few_pairs", { least });
    if (ofPairs && code === "no_data") return of("reason.no_pairs");
    return of(`reason.${known.includes(code) ? code : "other"}`, { least, samples, alpha });
  }

  /** The verdict on `candidate` in one sentence. */
  function sentence(figures, candidate) {
    const names = { a: "A", b: letter(candidate) };
    const onPairs = figures.verdict_basis === "pairs";
    const pairs = onPairs ? figures.paired.shadow : null;
    const requests = figures.total_requests.model_a + figures.total_requests[candidate];
    const users = figures.anytime_effect?.users ?? figures.users.model_a + figures.users[candidate];
    const basis = onPairs
      ? of("verdict.basis_pairs", { pairs: number(pairs?.pairs ?? 0), users: number(pairs?.users ?? 0) })
      : of("verdict.basis_users", { users: number(users), requests: number(requests) });
    const isHeldBack = figures.verdict === "inconclusive" && figures.failing?.is_certain;
    const named = {
      ...names,
      basis,
      effect: effect(figures.anytime_effect?.improvement_percentage ?? null, figures.metric),
      margin: `${number(figures.margin_percentage)} %`,
      reason: figures.verdict_reason ? reason(figures.verdict_reason.code, { samples: figures.min_samples, ofPairs: onPairs }) : "",
    };
    return failing(figures, names) + of(`verdict.${isHeldBack ? "held_back" : wordOf(figures)}`, named) + cannotTell(figures, candidate);
  }

  function wordOf({ verdict, anytime_effect, cannot_tell, minimum_detectable_effect_percentage: detectable }) {
    if (cannot_tell && verdict === "identical") return "equal_lengths"; // proven optima may be of any shape
    const isEqual = anytime_effect?.improvement_percentage === 0 && detectable === null; // nothing varies but for what the plants explain
    if (cannot_tell && verdict === "non_inferior" && isEqual) return "equal";
    return verdict;
  }

  /** Whole days until a verdict, "3–9" or "3 or more". */
  function daysLeft({ projected_days_left: left, projected_days_left_range: range }) {
    const whole = (days) => number(Math.max(1, Math.ceil(days)), 0);
    const [low, high] = range ?? [left, left];
    if (high === null) return of("kpi.days_at_least", { days: whole(low ?? left) });
    return whole(low ?? left) === whole(high) ? whole(high) : `${whole(low ?? left)}–${whole(high)}`;
  }

  /** That the metric cannot tell the models apart, and which one could; empty where it can. */
  function cannotTell(figures, candidate) {
    const told = figures.cannot_tell;
    if (!told) return "";
    const { model_a: n_a, [candidate]: n_b } = told.proven_shares;
    return of("verdict.cannot_tell", { a: "A", b: letter(candidate), n_a: percent(n_a), n_b: percent(n_b), metric: metric(figures.metric), telling: metric(told.telling_metric) });
  }

  /** That the raw means have another sign than the effect, why, and which to go by; empty where they have not. */
  function contradiction(figures, candidate) {
    const told = figures.contradiction;
    if (!told) return "";
    const names = { a: "A", b: letter(candidate) };
    const [failed_a, failed_b] = told.failed_percentages.map((each) => `${fixed(each, 1)} %`);
    const longer = told.requests_longer_percentage ?? 0;
    const named = { ...names, failed_a, failed_b, by: `${fixed(Math.abs(longer), 1)} %` };
    const keyOf = (cause) => (cause === "requests" ? (longer > 0 ? "requests_longer" : "requests_shorter") : cause);
    const why = told.causes.map((cause) => of(`contradicts.${keyOf(cause)}`, named)).join(of("contradicts.separator"));
    return of("contradicts.said", { ...names, raw: effect(told.raw_improvement_percentage, figures.metric), effect: effect(told.effect_improvement_percentage, figures.metric), why });
  }

  function failing(figures, names) {
    if (!figures.failing) return "";
    const [theirs, ours] = figures.failing.success_rates;
    const key = figures.failing.is_certain ? "failing_certainly" : "failing_probably";
    return of(`verdict.${key}`, { ...names, ours: percent(ours), theirs: percent(theirs) });
  }

  /** What to do now; the logic of the A/B report (scheduler_service/reporting/standing.py). */
  function nextStep(experiment, figures, candidate) {
    const left = figures.projected_days_left;
    const planned = (new Date(figures.end_time) - now()) / 86_400_000;
    const days = left === null ? "" : of(`next.${left <= planned ? "days_more" : "days_beyond"}`, { days: daysLeft(figures) });
    return of(`next.${nextKey(experiment, figures, candidate)}`, { a: "A", b: letter(experiment.promotion?.arm ?? candidate), days, metric: figures.cannot_tell ? metric(figures.cannot_tell.telling_metric) : "" });
  }

  function nextKey(experiment, figures, candidate) {
    const code = figures.verdict_reason?.code;
    const word = figures.verdict;
    if (experiment.promotion) return experiment.promotion.is_reverted ? "reverted" : "promoted";
    if (isArmStopped(experiment, candidate)) return "arm_stopped";
    if (isAborted(experiment)) return "aborted";
    if (word === "worse" && !isOver(experiment.status) && runningCandidates(experiment).length > 1) return "worse_arm";
    if (word !== "worse" && (experiment.status === "paused" || experiment.status === "scheduled")) return experiment.status;
    if (figures.cannot_tell) return figures.failing?.is_certain ? "failing" : "cannot_tell";
    if (OF_INVALID.includes(code)) return code;
    if (isOver(experiment.status)) return { better: "over_better", worse: "over_worse" }[word] ?? "over";
    if (HASTY.includes(word) && figures.failing?.is_certain) return "failing";
    const isAutomatic = experiment.status === "active" && experiment.rollout?.auto && ["better", "worse"].includes(word);
    return isAutomatic ? `${word}_auto` : word === "invalid" ? "inconclusive" : word;
  }

  function split(results) {
    const code = results.reasons.srm_p_value?.code;
    if (results.srm_p_value === null) return { tone: "plain", text: of("arms.srm_unknown", { reason: reason(code, { least: LEAST_EXPECTED }) }) };
    const isBad = results.srm_p_value < 0.001;
    return { tone: isBad ? "bad" : "good", text: of(`arms.srm_${isBad ? "bad" : "ok"}`, { p: pText(results.srm_p_value) }) };
  }

  return { t, of, arm, metric, effect, reason, sentence, contradiction, cannotTell, daysLeft, failing, nextStep, split };
}

export const TONES = { better: "good", non_inferior: "info", worse: "bad", inconclusive: "warn", invalid: "mute", identical: "mute" };

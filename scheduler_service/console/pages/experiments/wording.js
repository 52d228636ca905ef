// What the API decided, in the reader's language: texts of the catalogue (core/words.js), and figures.
import { useI18n } from "vue-i18n";
import { fixed, number } from "../../core/format.js";
import { definitions, sentences, term, text } from "../../core/words.js";

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

/** Its first letter in upper case, as a label has it. */
export const capital = (said) => said.charAt(0).toUpperCase() + said.slice(1);

/** {name, unit, ...} of a metric or of a guardrail. */
export const metricOf = (name) => definitions.metrics.find((each) => each.name === name);
export const guardrailOf = (name) => definitions.guardrails.find((each) => each.name === name);

export function useWording() {
  const { t } = useI18n();
  const of = (key, named) => text(`experiments.${key}`, named) || t(`experiments.${key}`, named ?? {});
  const say = ({ code, params }) => text(code, params);
  return {
    t, of, say, sentences, term, capital,
    arm: (name) => of("arm", { letter: letter(name) }),
    metric: (name) => term("metric", name),
    word: (verdict) => term("verdict", verdict),
    guard: (name) => capital(guardrailOf(name) ? say(guardrailOf(name).label) : text("guardrails.label_requests") || name),
  };
}

export const TONES = { better: "good", non_inferior: "info", worse: "bad", inconclusive: "warn", invalid: "mute", identical: "mute" };

// What a promotion rests on (GET /experiments/<name>/outlook) in the reader's language: what speaks against it first.
import { fixed, number } from "../../core/format.js";
import { figuresOf, letter, level } from "./wording.js";

export const NOTHING_TOLD = { beware: [], grounds: [], consent: "" };

const share = (percentage) => `${fixed(Math.abs(percentage), 2)} %`;

/** An interval of the candidate in words: by how much it is more or less, what that means, and of how many. */
export function findingText(finding, arm, { of, metric }) {
  const told = (key, named) => of(`promotion.${key}`, named);
  const names = { a: "A", b: letter(arm), metric: metric(finding.metric) };
  const { model_a: users_a, [arm]: users_b } = finding.users;
  const { model_a: n_a, [arm]: n_b } = finding.samples;
  const counts = told("counts", { ...names, users_a: number(users_a), users_b: number(users_b), n_a: number(n_a), n_b: number(n_b) });
  const basis = told(`basis.${finding.change_percentage ? finding.basis : "no_bounds"}`, { level: level(finding.confidence_level), counts, pairs: number(n_b), users: number(users_b) });
  return told("sentence", { said: difference(finding, names, told), basis });
}

function difference({ change_percentage: change, change: inUnit, unit, baseline_mean: mean, metric, side }, names, told) {
  if (!change) return told("none", names);
  const [more, less] = ["up", "down"].map((way) => told(`${way}.${metric}`));
  const [low, high] = change;
  const [near, far] = [low, high].map(Math.abs).sort((x, y) => x - y).map(share);
  const said =
    side === "open"
      ? told("between", { ...names, less, more, low: share(low), high: share(high) })
      : told("difference", { ...names, way: low > 0 ? more : less, low: near, high: far });
  return said + told(`side.${side}`) + (inUnit ? absolute(inUnit, unit, mean, names, told) : "");
}

function absolute(change, unit, mean, names, told) {
  const isOneSided = change[0] * change[1] > 0;
  const [low, high] = isOneSided ? change.map(Math.abs).sort((x, y) => x - y) : change;
  const digits = unit === "s" ? 4 : 2;
  return told("absolute", { ...names, low: fixed(low, digits), high: fixed(high, digits), mean: fixed(mean, digits), unit: told(`unit.${unit}`) });
}

/** {beware, grounds, consent} of promoting an arm: what the dialog says besides what the move does. */
export function prospectTexts(outlook, { experiment, results }, words) {
  const { of } = words;
  const { arm } = outlook;
  if (!outlook.verdict) return NOTHING_TOLD;
  const figures = figuresOf(results, arm);
  const harmful = outlook.findings.filter((each) => each.side === "worse");
  const others = outlook.findings.filter((each) => each.side !== "worse");
  const beware = [
    ...harmful.map((each) => findingText(each, arm, words)),
    ...(figures.failing?.is_certain ? [words.failing(figures, { a: "A", b: letter(arm) })] : []),
    ...figures.guardrails.filter((each) => each.state === "breached").map((each) => of("promotion.guardrail", { name: of(`guard.${each.name}`) })),
  ];
  const code = outlook.verdict_reason?.code;
  const reason = code ? of("promotion.because", { reason: words.reason(code, { samples: figures.min_samples, ofPairs: figures.verdict_basis === "pairs" }) }) : "";
  const verdict = of("promotion.verdict", { word: of(`word.${outlook.verdict}`), reason, next: words.nextStep(experiment, figures, arm) });
  return {
    beware,
    grounds: [...others.map((each) => findingText(each, arm, words)), verdict],
    consent: outlook.needs_consent ? of("promotion.consent", { b: letter(arm) }) : "",
  };
}

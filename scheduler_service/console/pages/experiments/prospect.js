// What a promotion rests on (GET /experiments/<name>/outlook) in the reader's language: what speaks against it first.
import { letter } from "./wording.js";

export const NOTHING_TOLD = { beware: [], grounds: [], consent: "" };

/** {beware, grounds, consent} of promoting an arm: what the dialog says besides what the move does. */
export function prospectTexts(outlook, { of, say, word }) {
  if (!outlook.verdict) return NOTHING_TOLD;
  const beware = outlook.objections.map((each) => say(each.text));
  const others = outlook.findings.map((each) => say(each.text)).filter((each) => !beware.includes(each));
  const reason = outlook.verdict_reason ? of("promotion.because", { reason: say(outlook.verdict_reason.text) }) : "";
  const verdict = of("promotion.verdict", { word: word(outlook.verdict), reason, next: say(outlook.recommendation_text) });
  return { beware, grounds: [...others, verdict], consent: outlook.needs_consent ? of("promotion.consent", { b: letter(outlook.arm) }) : "" };
}

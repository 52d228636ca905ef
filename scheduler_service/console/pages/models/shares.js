// Who answers what share, in words: from `answering` of GET /models.
import { number, percent } from "../../core/format.js";
import { shortName } from "./records.js";

/** What is known of how a model answers; null of one that does not. */
export const entryOf = (answering, key) => answering.models.find((each) => each.model_key === key) ?? null;

/** "answered 96.4 % of the 1,204 requests of the last 7 days"; why not, where that is not known. */
export function shareText(answering, key, t) {
  if (answering.requests === null) return t("models.answered_unknown");
  const share = entryOf(answering, key)?.share;
  if (!share) return t("models.answered_none", { days: answering.days });
  return t("models.answered", { share: percent(share), requests: number(answering.requests), days: answering.days });
}

/** Sentences on the arms of running experiments that it answers. */
export const armTexts = (answering, key, t) =>
  (entryOf(answering, key)?.experiments ?? []).map((each) =>
    t("models.in_experiment", { name: each.experiment, arm: each.arm.slice(-1).toUpperCase(), share: percent(each.share_of_users, 0) }),
  );

/** Plainly, whether the stable version of an algorithm answers by default, or who does. */
export const stableText = (stable, defaultModel, t) =>
  stable.is_default
    ? t("models.stable_answers")
    : t("models.stable_elsewhere", { name: shortName(defaultModel.model_key) || defaultModel.name, algorithm: stable.algorithm });

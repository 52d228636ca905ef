// A line of the registry's history as a sentence, and what else it tells. Pure.
import { i18n } from "../../core/i18n.js";
import { said } from "../../core/words.js";
import { shown } from "./metrics.js";
import { LATEST, STABLE, shortName } from "./records.js";

const t = (key, figures, count) => (count === undefined ? i18n.global.t(`models.${key}`, figures ?? {}) : i18n.global.t(`models.${key}`, figures, count));
const status = (value) => i18n.global.t(`status.model.${value}`);
const TONES = { deployed: "good", deployed_over: "good", made_default: "good", rolled_back: "warn", refused: "bad", deleted: "bad", registered: "info", promoted: "info" };

const bare = (tag) => tag.split(":").at(-1);

/** [kind, figures] of the sentence. */
function told(event) {
  const { model_key: key, before, after } = event;
  const name = shortName(key);
  const [tag] = Object.keys(after.tags);
  const bearer = tag === undefined ? null : before.tags[tag];
  switch (event.event) {
    case "promoted":
      if (tag && bare(tag) === STABLE && after.tags[tag] === key) {
        return bearer && bearer !== key ? ["deployed_over", { name, before: shortName(bearer) }] : ["deployed", { name }];
      }
      return ["promoted", { name, before: status(before.status[key]), after: status(after.status[key] ?? before.status[key]) }];
    case "tagged":
      return bearer ? ["tagged_over", { name, tag: bare(tag), before: shortName(bearer) }] : ["tagged", { name, tag: bare(tag) }];
    case "untagged":
      return ["untagged", { name, tag: bare(tag) }];
    case "made_default":
      return ["made_default", { name, before: shortName(event.details.before) }];
    case "rolled_back":
      return ["rolled_back", { name, before: shortName(bearer) }];
    default:
      return [event.event, { name }];
  }
}

/** {title, tone, reason, notes}: the sentence, its colour, why, and smaller facts; on the page of the model `of`, as it sees it. */
export function tell(event, of = "") {
  if (of && event.event === "registered" && event.model_key !== of) {
    const left = Object.keys(event.before.tags).filter((tag) => event.before.tags[tag] === of);
    return { title: t("tag_left", { tag: left.map(bare).join(", "), name: shortName(event.model_key) }), tone: "plain", reason: "", notes: [] };
  }
  const [kind, figures] = told(event);
  const notes = [];
  if (event.event === "registered") {
    for (const [tag, key] of Object.entries(event.after.tags)) {
      if (bare(tag) !== LATEST && key) notes.push(t("tag_moved", { tag: bare(tag), name: shortName(key) }));
    }
    const flags = event.details.flags?.length ?? 0;
    if (flags) notes.push(t("flags_then", { count: flags }, flags));
  }
  const found = event.details.validation;
  if (found?.makespan !== undefined) {
    notes.push(t("measured_then", {
      makespan: shown("makespan", found.makespan), gap: shown("gap", found.gap), baseline: shown("gap", found.baseline_gap),
    }));
  }
  return { title: t(`event.${kind}`, figures), tone: TONES[kind] ?? "plain", reason: said({ ...event.details, msg: event.reason }), notes };
}

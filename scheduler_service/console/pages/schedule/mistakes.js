// What is wrong with what was typed: found here where the service cannot see it, else by the service; and at which field.
import { computed } from "vue";
import { i18n } from "../../core/i18n.js";
import { marked } from "../../parts/mistakes.js";
import { said } from "../../core/words.js";
import { STEPS, TEAMS, stepName } from "./standard.js";

const { t, locale } = i18n.global;

/** What a member of the request is called on the page, where it is not by its own name. */
const NAMES = { id: "workpoint_id", name: "workpoint_name", teams: "plant", time_budget_ms: "budget", user_id: "user" };
const OF_A_STEP = new Set(["name", "order", "team", "duration", "min_crew", "max_crew"]);
const OF_THE_OPTIONS = new Set(["model", "compare", "time_budget_ms", "experiment", "user_id"]);
const SEVERAL = new Set(["workpoints", "params", "teams"]);

const isStandard = (team) => TEAMS.some(({ name }) => name === team);
const named = (part) => (Number.isInteger(part) ? String(part + 1) : t(`schedule.${NAMES[part] ?? part}`, String(part)));

/** The path of the field that holds what is at `loc` of the request, or the nearest to it; null: the page has none. */
export function fieldAt(loc) {
  const [first, at, part, n, key] = loc;
  if (OF_THE_OPTIONS.has(first)) return [first];
  if (!SEVERAL.has(first) || at === undefined) return null;
  if (first === "params") return [first, at];
  if (first === "teams") return isStandard(at) ? [first, at] : null;
  if (part === "steps" && n !== undefined) return [first, at, part, n, OF_A_STEP.has(key) ? key : "name"];
  return [first, at, part === "name" ? part : "id"];
}

/** What stands in a field now; a mistake is of what stood there when it was found. */
function valueAt(draft, [first, at, part, n, key]) {
  const { options, params, headcounts, workpoints } = draft;
  if (first === "params") return params[at];
  if (first === "teams") return headcounts[at];
  if (first !== "workpoints") return { ...options, time_budget_ms: options.budgetMs, user_id: options.userId }[first];
  const workpoint = workpoints[at];
  return n === undefined ? [workpoint?.[part], workpoint?.steps.length] : workpoint?.steps[n]?.[key];
}

const seenAt = (draft, path) => path && JSON.stringify([valueAt(draft, path)]);

/** The mistakes with what stands in their fields, so that they go when that is changed. */
export const noted = (errors, draft) => errors.map((each) => ({ ...each, was: seenAt(draft, fieldAt(each.loc)) }));

/** Numbers of the form that are no numbers, and work points without steps, which the service would fill in: [{loc, code}]. */
export function mistakesHere(form, draft) {
  const typed = [...form.querySelectorAll("[data-at]")].filter((field) => field.validity.badInput);
  const numbers = typed.map((field) => ({ loc: field.dataset.at.split(".").map((part) => (/^\d+$/.test(part) ? Number(part) : part)), code: "no_number" }));
  const workpoints = draft.mode === "workpoints" ? draft.workpoints : [];
  return [...numbers, ...workpoints.flatMap(({ steps }, at) => (steps.length ? [] : [{ loc: ["workpoints", at, "id"], code: "workpoint_without_steps" }]))];
}

/** The two lists as one; what was no number here is nothing to the service, which says so of the same field. */
export function joined(here, told) {
  const places = new Set(here.map(({ loc }) => loc.join(".")));
  return [...here, ...told.filter(({ loc }) => !places.has(loc.join(".")))];
}

export function useMistakes(draft, errors) {
  /** Where a mistake is, in the words of the page. */
  function place(loc) {
    if (loc[0] === "params" && loc.length > 1) return t("schedule.at_params", { n: loc[1] + 1, name: stepName(STEPS[loc[1]]?.zh, locale.value) });
    if (loc[0] === "workpoints" && loc.length < 2) return t("schedule.mode_workpoints");
    if (loc[0] === "teams" && (loc.length === 2 || loc[2] === "headcount")) return t("schedule.headcount", { team: t(`schedule.teams.${loc[1]}`, loc[1]) });
    if (loc[0] !== "workpoints") return loc.map(named).join(" ");
    const workpoint = draft.workpoints[loc[1]];
    const id = workpoint?.id || loc[1] + 1;
    if (loc[2] === "steps" && loc.length > 3) return t("schedule.at_step", { id, name: workpoint?.steps[loc[3]]?.name || loc[3] + 1 });
    return t("schedule.at_workpoint", { id });
  }
  const ofAField = (path) => (path.length > 2 ? `${place(path)} ${named(path.at(-1) === "name" && path.length > 3 ? "step" : path.at(-1))}` : place(path));

  const told = computed(() => {
    const fields = new Map(); // path -> sentence
    const others = [];
    for (const each of errors()) {
      const { loc } = each;
      const path = fieldAt(loc);
      if (path && each.was !== seenAt(draft, path)) continue;
      if (!path) others.push({ place: place(loc), text: said(each) });
      else {
        const member = loc[4] !== undefined && loc[4] !== path[4] ? `${named(loc[4])}: ` : ""; // of a step, without a field
        const key = path.join(".");
        fields.set(key, [fields.get(key), member + said(each)].filter(Boolean).join("; "));
      }
    }
    return { fields, others };
  });
  const text = (path) => told.value.fields.get(path.join(".")) ?? "";
  return {
    others: computed(() => told.value.others),
    fault: {
      text,
      attrs: (path) => marked(path, text(path), ofAField(path)),
      isIn: (path) => [...told.value.fields.keys()].some((key) => key.startsWith(`${path.join(".")}.`)),
    },
  };
}

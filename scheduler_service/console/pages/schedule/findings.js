// What the service found in a file, and where, in the reader's language.
import { i18n } from "../../core/i18n.js";
import { STEPS, stepName } from "./standard.js";

const { t, locale } = i18n.global;

/** What a member of the request is called on the page, where it is not by its own name. */
const FIELDS = { id: "workpoint_id", name: "workpoint_name", time_budget_ms: "budget", user_id: "user" };
const ON_THE_PAGE = new Set(
  ["step", "order", "team", "duration", "dedicated", "team_size", "min_crew", "max_crew", "reference_crew", "interruptible", "release",
   "exclusive", "zone", "due", "weight", "deadline", "objective", "availability", "predecessors", "model", "experiment", "budget", "user"],
);
const OF_FILES = new Set(
  ["workpoint_id", "workpoint_name", "step_id", "parallel", "alone", "crew_efficiency", "headcount", "params", "workpoints", "teams", "steps"],
);
const OF_A_STEP = { id: "step_id", name: "step" };

const column = (name) => (typeof name === "number" ? t("schedule.reading.column_number", { n: name }) : labelOf(name));

function labelOf(name) {
  if (ON_THE_PAGE.has(name)) return t(`schedule.${name}`);
  return OF_FILES.has(name) ? t(`schedule.reading.column.${name}`) : String(name);
}

/** A path such as ["line", 3, "duration"] or ["workpoints", 0, "steps", 2, "team"] as people read it. */
export function placeInFile(loc) {
  if (!loc.length) return t("schedule.reading.whole");
  const [first, ...rest] = loc;
  if (first === "line") return [t("schedule.reading.line", { n: rest[0] }), ...rest.slice(1).map(column)].join(" ");
  if (first === "params" && rest.length) return t("schedule.at_params", { n: rest[0] + 1, name: stepName(STEPS[rest[0]]?.zh, locale.value) });
  if (first === "workpoints" && rest.length) return inWorkpoint(rest);
  if (first === "teams" && rest.length) return [t("schedule.team"), t(`schedule.teams.${rest[0]}`, String(rest[0])), ...rest.slice(1).map((each) => labelOf(each))].join(" ");
  return loc.map((each) => labelOf(FIELDS[each] ?? each)).join(" ");
}

function inWorkpoint([at, ...rest]) {
  const workpoint = typeof at === "number" ? t("schedule.reading.nth_workpoint", { n: at + 1 }) : t("schedule.at_workpoint", { id: at });
  if (rest[0] !== "steps" || rest.length < 2) return [workpoint, ...rest.map((each) => labelOf(FIELDS[each] ?? each))].join(" ");
  const members = rest.slice(2).map((each) => (typeof each === "number" ? String(each + 1) : labelOf(OF_A_STEP[each] ?? each)));
  return [workpoint, t("schedule.reading.nth_step", { n: rest[1] + 1 }), ...members].join(" ");
}

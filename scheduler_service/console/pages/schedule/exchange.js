// Work points as the editor holds them, as the service takes and reads them, and as a CSV with a line for each step.
import { api } from "../../core/api.js";
import { toCsv } from "../../core/download.js";
import { STEPS } from "./standard.js";

export const newStep = (given = {}) => ({
  name: "", order: null, team: "team1", duration: null, dedicated: null, team_size: null, parallel: null, min_crew: null,
  max_crew: null, predecessors: null, id: null, ...given,
});

export const standardSteps = (durations = STEPS.map((step) => step.sample)) =>
  STEPS.map((step, at) => newStep({ name: step.zh, order: step.order, team: step.team, duration: durations[at] }));

export const newWorkpoint = (id, given = {}) => ({ id, name: "", steps: standardSteps(), ...given });

const NUMBER = /^[-+]?(\d+\.?\d*|\.\d+)(e[-+]?\d+)?$/i; // as the service's reader of files has it (a test compares them)
const MOST_DIGITS = 60;
const GAP = /(\n[ \t]*\r?\n)|(\t *\t)|([,;、|]\s*[,;、|])/; // an empty cell: what follows would move up by one

const halfWidth = (text) => text.replace(/[！-～]/g, (sign) => String.fromCharCode(sign.charCodeAt(0) - 0xfee0)).replaceAll("\u3000", " ");

/**
 * Numbers of a text such as "10, 5; 8 6" or a JSON list, typed in full width or not.
 * Throws an Error that names what is no number; of an empty cell it names nothing.
 */
export function numbersOf(text) {
  const list = halfWidth(text).replace(/^[\s[(]+|[\s\])]+$/g, "");
  if (GAP.test(list)) throw new Error("");
  const words = list.split(/[\s,;、|]+/).filter(Boolean);
  return words.map((word) => {
    const value = Number(word);
    if (word.length > MOST_DIGITS || !NUMBER.test(word) || !Number.isFinite(value)) throw new Error(word);
    return value;
  });
}

/** What a file describes, as the service reads it: {request, n_workpoints, n_steps, findings}; in a plant with `teams`. */
export function readFile(file, { isFilledDown, teams }) {
  const type = file.name.toLowerCase().endsWith(".json") ? "application/json" : "text/csv";
  const query = { fill_down: isFilledDown ? "true" : "", teams: teams ? JSON.stringify(teams) : "" };
  return api.post("/requests/read", new Blob([file], { type }), { query });
}

const isGiven = (value) => value !== null && value !== undefined && value !== "";
export const given = (fields) => Object.fromEntries(Object.entries(fields).filter(([, value]) => isGiven(value)));

/** What the editor holds, as the service takes it. */
export const workpointsOf = (workpoints) =>
  workpoints.map(({ id, name, release, zone, due, weight, deadline, steps }) => ({ ...given({ id, name, release, zone, due, weight, deadline }), steps: steps.map(given) }));

/** What the service reads, as the editor holds it. */
export const editable = (workpoints) =>
  workpoints.map(({ id, name, release, zone, due, weight, deadline, steps, params }, at) => ({
    id: String(id ?? at + 1),
    name: name ?? "",
    release: release ?? null,
    zone: zone ?? null,
    due: due ?? null,
    weight: weight ?? null,
    deadline: deadline ?? null,
    steps: steps?.length ? steps.map(newStep) : standardSteps(params),
  }));

const COLUMNS = [
  "workpoint_id", "workpoint_name", "step", "order", "team", "duration", "dedicated", "team_size", "parallel", "interruptible",
  "min_crew", "max_crew", "reference_crew", "release", "exclusive", "predecessors", "step_id",
];

/** The later of two hours; a time of the clock, which a CSV cannot say, stays as it is. */
const laterOf = (a, b) => ([a, b].some((each) => typeof each === "string") ? (b ?? a) : Math.max(a ?? 0, b ?? 0) || null);

export const workpointsToCsv = (workpoints) =>
  toCsv([
    COLUMNS,
    ...workpoints.flatMap(({ id, name, release, steps }) =>
      steps.map((step) => [
        id, name, step.name, step.order, step.team, step.duration, step.dedicated, step.team_size, step.parallel,
        step.interruptible, step.min_crew, step.max_crew, step.reference_crew, laterOf(release, step.release), step.exclusive,
        (step.predecessors ?? []).join(" | "), step.id,
      ]),
    ),
  ]);

/** The answered schedule, a line for each step. */
export const scheduleToCsv = (result) =>
  toCsv(
    result.schedule_details.map(({ status, published_start, shift, ...step }) => ({
      workpoint_id: step.workpoint_id, workpoint_name: step.workpoint_name, step: step.name, step_id: step.id, order: step.order,
      team: step.team, workers: step.workers, start_h: step.start, end_h: step.end, critical: step.critical,
      ...(status && { status }), ...(published_start !== undefined && { published_start_h: published_start, shift_h: shift }),
    })),
  );

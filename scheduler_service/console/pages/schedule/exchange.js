// Problems as files: the JSON of POST /run_algorithm, and a CSV with a line for each step.
import { fromCsv, toCsv } from "../../core/download.js";
import { i18n } from "../../core/i18n.js";
import { STEPS } from "./standard.js";

export const newStep = (given = {}) => ({
  name: "", order: 1, team: "team1", duration: null, dedicated: null, team_size: null, parallel: null, min_crew: null,
  max_crew: null, predecessors: null, id: null, ...given,
});

export const standardSteps = (durations = STEPS.map((step) => step.sample)) =>
  STEPS.map((step, at) => newStep({ name: step.zh, order: step.order, team: step.team, duration: durations[at] }));

export const newWorkpoint = (id, given = {}) => ({ id, name: "", steps: standardSteps(), ...given });

const NUMBER = /^[-+]?(\d+\.?\d*|\.\d+)(e[-+]?\d+)?$/i;
const GAP = /(\n[ \t]*\r?\n)|(\t *\t)|([,;、|]\s*[,;、|])/; // an empty cell: what follows would move up by one

/**
 * Numbers of a text such as "10, 5; 8 6" or a JSON list, typed in full width or not.
 * Throws an Error that names what is no number; of an empty cell it names nothing.
 */
export function numbersOf(text) {
  const list = text.normalize("NFKC").replace(/^[\s[(]+|[\s\])]+$/g, "");
  if (GAP.test(list)) throw new Error("");
  const words = list.split(/[\s,;、|]+/).filter(Boolean);
  return words.map((word) => {
    const value = Number(word);
    if (!NUMBER.test(word) || !Number.isFinite(value)) throw new Error(word);
    return value;
  });
}

const WORKBOOKS = [0x504b, 0xd0cf]; // how .xlsx and .xls begin

/** A file's text: UTF-8 or UTF-16 as its mark says, else what Excel writes on a Chinese Windows. */
export async function textOf(file) {
  const bytes = new Uint8Array(await file.arrayBuffer());
  const mark = bytes.length > 1 ? (bytes[0] << 8) | bytes[1] : 0;
  if (WORKBOOKS.includes(mark)) throw new Error(i18n.global.t("schedule.is_workbook"));
  if (mark === 0xfffe || mark === 0xfeff) return new TextDecoder(mark === 0xfffe ? "utf-16le" : "utf-16be").decode(bytes);
  try {
    return new TextDecoder("utf-8", { fatal: true }).decode(bytes);
  } catch {
    return new TextDecoder("gb18030").decode(bytes);
  }
}

const isGiven = (value) => value !== null && value !== undefined && value !== "";
const given = (fields) => Object.fromEntries(Object.entries(fields).filter(([, value]) => isGiven(value)));

/** What the editor holds, as the service takes it. */
export const workpointsOf = (workpoints) =>
  workpoints.map(({ id, name, steps }) => ({ ...given({ id, name }), steps: steps.map(given) }));

/** What the service takes, as the editor holds it: {workpoints, params, teams, crew_efficiency}. */
export function fromRequest(request) {
  const body = Array.isArray(request) ? (typeof request[0] === "number" ? { params: request } : { workpoints: request }) : request;
  if (!body || typeof body !== "object" || !(Array.isArray(body.params) || (body.workpoints && typeof body.workpoints === "object"))) throw new Error("params, workpoints");
  if (body.params && body.params.length !== STEPS.length) throw new Error(`params: ${body.params.length ?? "?"} ≠ ${STEPS.length}`);
  const raw = Array.isArray(body.workpoints)
    ? body.workpoints
    : Object.entries(body.workpoints ?? {}).map(([id, workpoint]) => ({ id, ...workpoint }));
  return {
    params: body.params ?? null,
    workpoints: raw.map(({ id, name, steps, params }, at) => ({
      id: String(id ?? at + 1),
      name: name ?? "",
      steps: steps?.length ? steps.map(newStep) : standardSteps(params),
    })),
    teams: body.teams ?? null,
    crew_efficiency: body.crew_efficiency ?? null,
  };
}

const COLUMNS = [
  "workpoint_id", "workpoint_name", "step", "order", "team", "duration", "dedicated", "team_size", "parallel", "min_crew",
  "max_crew", "predecessors", "step_id",
];
const WHOLE = ["order", "team_size", "min_crew", "max_crew"];

export const workpointsToCsv = (workpoints) =>
  toCsv([
    COLUMNS,
    ...workpoints.flatMap(({ id, name, steps }) =>
      steps.map((step) => [
        id, name, step.name, step.order, step.team, step.duration, step.dedicated, step.team_size, step.parallel,
        step.min_crew, step.max_crew, (step.predecessors ?? []).join(" | "), step.id,
      ]),
    ),
  ]);

const numberIn = (row, column, line) => {
  const text = (row[column] ?? "").trim();
  if (!text) return null;
  const value = Number(text);
  if (!Number.isFinite(value) || (WHOLE.includes(column) && !Number.isInteger(value))) throw new Error(`${line}: ${column} ${text}`);
  return value;
};

const flagIn = (row, column, line) => {
  const text = (row[column] ?? "").trim().toLowerCase();
  if (!text) return null;
  if (["true", "1", "yes", "是"].includes(text)) return true;
  if (["false", "0", "no", "否"].includes(text)) return false;
  throw new Error(`${line}: ${column} ${text}`);
};

export function workpointsFromCsv(text) {
  const rows = fromCsv(text);
  if (!rows.length) throw new Error(i18n.global.t("schedule.csv_empty"));
  const missing = ["workpoint_id", "step", "team", "duration"].filter((column) => !(column in rows[0]));
  if (missing.length) throw new Error(`1: ${missing.join(", ")}`);
  const found = new Map();
  rows.forEach((row, at) => {
    const line = at + 2;
    const id = row.workpoint_id.trim();
    if (!found.has(id)) found.set(id, { id, name: (row.workpoint_name ?? "").trim(), steps: [] });
    const before = (row.predecessors ?? "").split("|").map((each) => each.trim()).filter(Boolean);
    found.get(id).steps.push(
      newStep({
        name: row.step.trim(),
        team: row.team.trim(),
        dedicated: flagIn(row, "dedicated", line),
        parallel: flagIn(row, "parallel", line),
        predecessors: before.length ? before : null,
        id: (row.step_id ?? "").trim() || null,
        ...Object.fromEntries(["order", "duration", "team_size", "min_crew", "max_crew"].map((column) => [column, numberIn(row, column, line)])),
      }),
    );
  });
  return [...found.values()];
}

/** The answered schedule, a line for each step. */
export const scheduleToCsv = (result) =>
  toCsv(
    result.schedule_details.map((step) => ({
      workpoint_id: step.workpoint_id, workpoint_name: step.workpoint_name, step: step.name, step_id: step.id, order: step.order,
      team: step.team, workers: step.workers, start_h: step.start, end_h: step.end, critical: step.critical,
    })),
  );

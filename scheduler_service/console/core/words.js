// Texts of the service's catalogue in the reader's language: an error, a finding or an alert is a code with parameters.
// scheduler_env/words/__init__.py says how a text is written and how a value of each kind is shown.
import { time } from "./format.js";
import { i18n } from "./i18n.js";

/** [{name, unit, ...}]: metrics and guardrails of scheduler_service/stats/{metrics,guardrails}.py, and scheduler_service/alert_rules.py. */
export const definitions = { metrics: [], guardrails: [], alert_rules: [] };

const texts = {}; // language -> section -> key -> template

/** Before the page is shown; without the catalogue the service's English sentences are shown. */
export const loadWords = () =>
  Promise.all(
    ["zh", "en", "definitions"].map(async (name) => {
      const answer = await fetch(new URL(`../words/${name}.json`, import.meta.url)).catch(() => null);
      const read = answer?.ok ? await answer.json() : {};
      if (name === "definitions") Object.assign(definitions, read);
      else texts[name] = read;
    }),
  );

const LIST_MARKS = { zh: "、", en: ", " };
const CLAUSE_MARKS = { zh: "；", en: "; " };
const SENTENCE_MARKS = { zh: "", en: " " };
const UNITS = { zh: { h: "小时", s: "秒", ms: "毫秒", days: "天" }, en: { h: "h", s: "s", ms: "ms", days: "days" } };

const trimmed = (value) => {
  const text = value.toFixed(2).replace(/\.?0+$/, "");
  return text === "-0" ? "0" : text;
};
const plain = (value) => (typeof value === "number" && !Number.isInteger(value) && Math.abs(value) < 1e6 ? String(Number(value.toPrecision(6))) : String(value));

function bytes(value) {
  for (const unit of ["B", "KiB", "MiB"]) {
    if (value < 1024) return `${trimmed(value)} ${unit}`;
    value /= 1024;
  }
  return `${trimmed(value)} GiB`;
}

const percent = (value) => `${trimmed(100 * value)} %`;

function signed(value) {
  const text = percent(Math.abs(value));
  return text === "0 %" ? text : `${value > 0 ? "+" : "−"}${text}`;
}

const KINDS = {
  "": plain, sentences: plain, clauses: plain, percent, signed, bytes, time,
  points: (value) => trimmed(100 * value).replace("-", "−"),
  short: (value) => plain(Number(value.toPrecision(3))).replace("-", "−"),
  count: (value) => Math.round(value).toLocaleString("en-US"),
  arm: (value) => value.replace("model_", "").toUpperCase(),
  p: (value) => (value < 0.0001 ? "p < 0.0001" : `p = ${value.toFixed(4)}`),
};

function written(value, kind, lang) {
  if (value?.code) return text(value.code, value.params, lang);
  if (Array.isArray(value)) return value.map((each) => written(each, kind, lang)).join(({ sentences: SENTENCE_MARKS, clauses: CLAUSE_MARKS }[kind] ?? LIST_MARKS)[lang]);
  if (kind in KINDS) return KINDS[kind](value);
  if (kind in UNITS[lang]) return `${plain(value)} ${UNITS[lang][kind]}`;
  return texts[lang].terms[kind]?.[value] ?? String(value);
}

const PARAMETER = /\{(\w+)(?::(\w+))?\}/g;

/** The text at `path` ("errors.unknown_team") with its parameters; "" if there is none. */
export function text(path, params, lang = i18n.global.locale.value) {
  const template = path.split(".").reduce((found, part) => found?.[part], texts[lang]);
  if (typeof template !== "string") return "";
  return template.replace(PARAMETER, (_, name, kind = "") => written(params?.[name] ?? "", kind, lang));
}

/** The text of messages, {code, params} each. */
export const sentences = (messages, lang = i18n.global.locale.value) => written(messages, "sentences", lang);

/** The word of a table of `terms`: term("metric", "makespan"). */
export const term = (table, value) => text(`terms.${table}.${value}`) || String(value);

/** The text of an error or a finding; "" for an unknown code. */
export const worded = (code, params) => (code ? text(`errors.${code}`, params) : "");

/** The text of {code, params, msg}, an entry of `errors` or of `findings`. */
export const said = ({ code, params, msg }) => worded(code, params) || msg;

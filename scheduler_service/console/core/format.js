// Figures as people read them, in the present language; "–" for what is not known.
import { now } from "./clock.js";
import { i18n } from "./i18n.js";

const NOTHING = "–";
const lang = () => (i18n.global.locale.value === "zh" ? "zh-CN" : "en-GB");
const isKnown = (value) => value !== null && value !== undefined && value !== "" && !Number.isNaN(Number(value));

export const number = (value, digits = 2) =>
  isKnown(value) ? Number(value).toLocaleString(lang(), { maximumFractionDigits: digits }) : NOTHING;

export const fixed = (value, digits = 2) =>
  isKnown(value)
    ? Number(value).toLocaleString(lang(), { minimumFractionDigits: digits, maximumFractionDigits: digits })
    : NOTHING;

/** Hours of work: "52.87 h" or "52.87 小时". */
export const hours = (value, digits = 2) =>
  isKnown(value) ? `${fixed(value, digits)} ${i18n.global.t("shell.hours")}` : NOTHING;

/** A share 0..1 as a percentage. */
export const percent = (share, digits = 1) => (isKnown(share) ? `${fixed(Number(share) * 100, digits)} %` : NOTHING);

export const duration_s = (seconds) => {
  if (!isKnown(seconds)) return NOTHING;
  const s = Number(seconds);
  if (s < 0.001) return `${fixed(s * 1e6, 0)} µs`;
  if (s < 1) return `${fixed(s * 1e3, s < 0.01 ? 2 : 0)} ms`;
  if (s < 120) return `${fixed(s, 1)} s`;
  if (s < 7_200) return `${fixed(s / 60, 0)} min`;
  if (s < 172_800) return `${fixed(s / 3_600, 0)} h`;
  return `${fixed(s / 86_400, 0)} d`;
};

export const bytes = (count) => {
  if (!isKnown(count)) return NOTHING;
  if (count < 1_024) return `${count} B`;
  return count < 1_048_576 ? `${fixed(count / 1_024, 0)} KiB` : `${fixed(count / 1_048_576, 1)} MiB`;
};

/** A moment in the reader's own time zone. */
export const time = (iso) =>
  iso ? new Date(iso).toLocaleString(lang(), { dateStyle: "medium", timeStyle: "short" }) : NOTHING;

const STEPS = [
  ["day", 86_400],
  ["hour", 3_600],
  ["minute", 60],
  ["second", 1],
];

/** "3 minutes ago". */
export const ago = (iso) => {
  if (!iso) return NOTHING;
  const seconds = (new Date(iso) - now()) / 1_000;
  const [unit, size] = STEPS.find(([, length]) => Math.abs(seconds) >= length) ?? STEPS.at(-1);
  return new Intl.RelativeTimeFormat(lang(), { numeric: "auto" }).format(Math.round(seconds / size), unit);
};

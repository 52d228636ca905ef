// The rules of the alerts as people read them: names, units, subjects.
import { useI18n } from "vue-i18n";
import { duration_s, fixed, hours, number, percent } from "../../core/format.js";

export const RULES = [
  "max_makespan", "max_makespan_rise", "max_execution_time", "min_success_rate", "max_gap", "model_failures",
  "input_drift", "silent_service", "min_free_disk_gib", "experiment_aborted", "experiment_arm_stopped", "model_rolled_back",
];
/** Things that happen once: they have no figure. */
export const EVENTS = new Set(["experiment_aborted", "experiment_arm_stopped", "model_rolled_back"]);
/** Their subjects are sizes. */
const BY_SIZE = new Set(["max_gap", "max_makespan_rise"]);
/** Their message ends with why, after a colon. */
const WITH_REASON = new Set(["model_failures", ...EVENTS]);

/** What nobody sees to yet first, the critical before the others. */
export const bySeverity = (alerts) =>
  [...alerts].sort(
    (a, b) => Boolean(a.acknowledged) - Boolean(b.acknowledged) || (b.severity === "critical") - (a.severity === "critical"),
  );

/** "N<=10" with the limits 1, 2, 5, 10: "6–10". */
export function sizeOf(subject, limits) {
  if (subject.startsWith("N>")) return subject.slice(1);
  const most = Number(subject.replace("N<=", ""));
  const least = Math.max(0, ...limits.filter((limit) => limit < most)) + 1;
  return least === most ? `${most}` : `${least}–${most}`;
}

/** The greatest numbers of work points of each size, from the thresholds of GET /alerts. */
export const sizesOf = (thresholds) =>
  Object.keys(thresholds ?? {})
    .filter((name) => name.startsWith("max_gap_"))
    .map((name) => Number(name.slice("max_gap_".length)))
    .sort((a, b) => a - b);

/** For the plural: sizes as `sizeOf` words them. */
const countOf = (sizes) => (sizes === "1" ? 1 : 2);

export function useRules(thresholds) {
  const { t, te } = useI18n();
  const key = (name, what) => `monitoring.rules.${name}.${what}`;

  function subject(name, value) {
    if (BY_SIZE.has(name) && value.startsWith("N")) return sizeOf(value, sizesOf(thresholds.value));
    if (name === "experiment_arm_stopped") return value.replace(/\/model_([a-h])$/, (_, arm) => ` / ${arm.toUpperCase()}`);
    if (name === "model_rolled_back") return value.split("@")[0];
    return te(`monitoring.rules.subjects.${value}`) ? t(`monitoring.rules.subjects.${value}`) : value;
  }

  /** What a silence of one subject concerns. */
  const scope = (name, value) =>
    BY_SIZE.has(name) ? t("monitoring.rules.work_points", { sizes: subject(name, value) }, countOf(subject(name, value))) : subject(name, value);

  /** The subject where there is little room. */
  const short = (name, value) => (BY_SIZE.has(name) ? t("monitoring.rules.points", { sizes: subject(name, value) }, countOf(subject(name, value))) : subject(name, value));

  /** What a rule is called; `null` is every rule. */
  const title = (name) => {
    if (!name) return t("monitoring.silence.every_rule");
    if (te(key(name, "title"))) return t(key(name, "title"));
    return te(key(name, "name")) ? t(key(name, "name")) : name;
  };

  const sentence = (alert) =>
    te(key(alert.name, "name"))
      ? t(key(alert.name, "name"), { subject: subject(alert.name, alert.subject ?? "") }, countOf(subject(alert.name, alert.subject ?? "")))
      : alert.message;

  const advice = (alert) => (te(key(alert.name, "advice")) ? t(key(alert.name, "advice")) : alert.advice);

  /** Why, as the service put it; "" where the figures say all. */
  const reason = (alert) => (WITH_REASON.has(alert.name) ? alert.message.split(/：|: /).slice(1).join(": ") : "");

  /** A figure of a rule in its unit. */
  function figure(name, value) {
    if (value === null || value === undefined) return "–";
    if (name === "max_makespan") return hours(value);
    if (name === "max_execution_time") return duration_s(value);
    if (name === "min_success_rate") return percent(value, 1);
    if (BY_SIZE.has(name)) return percent(value, 2);
    if (name === "min_free_disk_gib") return `${fixed(value, 1)} GiB`;
    if (name === "silent_service") return t("monitoring.alerts.times", { n: number(value, 0) });
    return number(value, 2);
  }

  /** [name, value] pairs to show of an alert. */
  function figures(alert) {
    if (EVENTS.has(alert.name)) return [];
    if (alert.name === "model_failures") return [[t("monitoring.alerts.failures"), number(alert.value, 0)]];
    const first = alert.name === "silent_service" ? "usual" : "value";
    return [
      [t(`monitoring.alerts.${first}`), figure(alert.name, alert.value)],
      [t("monitoring.alerts.threshold"), figure(alert.name, alert.threshold)],
    ];
  }

  /** The rule of a threshold: those of the gaps are by size. */
  const ruleOf = (threshold) => (threshold.startsWith("max_gap_") ? "max_gap" : threshold);

  function thresholdTitle(threshold) {
    const size = threshold.startsWith("max_gap_") ? `N<=${threshold.slice("max_gap_".length)}` : "";
    return size ? t("monitoring.rules.max_gap.of_size", { sizes: subject("max_gap", size) }, countOf(subject("max_gap", size))) : t(`monitoring.rules.${threshold}.threshold`);
  }

  return { ruleOf, thresholdTitle, short, title, subject, scope, sentence, advice, reason, figure, figures };
}

// The rules of the alerts as people read them: the catalogue's section `alerts`. An alert, a silence and a reading of
// GET /alerts have `name`, `subject` and `params`.
import { useI18n } from "vue-i18n";
import { duration_s, fixed, hours, number, percent } from "../../core/format.js";
import { definitions, sentences, text } from "../../core/words.js";

const GAP = "max_gap_";

/** Unit -> how a figure is written where figures stand below one another: with as many decimals each. */
const FIGURES = {
  hours,
  seconds: duration_s,
  share: (value) => percent(value, 2),
  gib: (value) => `${fixed(value, 1)} GiB`,
  runs: (value) => text("alerts.figure.runs", { value: Math.round(value) }),
  index: (value) => number(value, 2),
};

/** What nobody sees to yet first, the critical before the others. */
export const bySeverity = (alerts) =>
  [...alerts].sort(
    (a, b) => Boolean(a.acknowledged) - Boolean(b.acknowledged) || (b.severity === "critical") - (a.severity === "critical"),
  );

/** The rule of a threshold: those of the gaps are by size. */
export const ruleOf = (threshold) => (threshold.startsWith(GAP) ? "max_gap" : threshold);

export function useRules() {
  const { t } = useI18n();
  const defined = (name) => definitions.alert_rules.find((each) => each.name === name) ?? {};

  /** What a rule is called; `null` is every rule. */
  const title = (name) => (name ? text(`alerts.${name}.title`) || name : t("monitoring.silence.every_rule"));

  // An alert from before its parameters were kept has the service's sentences only.
  const sentence = ({ name, params, message }) => (params && (text(`alerts.${name}.message`, params) || text(`alerts.${name}.title`))) || message;
  const advice = (alert) => (alert.params && text(`alerts.${alert.name}.advice`, alert.params)) || alert.advice;

  /** Why, as the service put it; "" where the figures say all. */
  const reason = ({ params }) => (Array.isArray(params?.reason) ? sentences(params.reason) : (params?.reason ?? ""));

  /** What a silence or a reading concerns. */
  const scope = ({ name, params, subject }) => text(`alerts.subject.${defined(name).about}`, params) || subject;

  /** The same where there is little room. */
  const short = (each) => (each.params?.sizes ? t("monitoring.thresholds.points", { sizes: each.params.sizes }) : scope(each));

  /** A figure of a rule in its unit. */
  const figure = (name, value) => (value === null || value === undefined ? "–" : (FIGURES[defined(name).unit] ?? FIGURES.index)(value));

  /** [name, value] pairs to show of an alert. */
  function figures(alert) {
    const { is_event: isEvent, worse, unit } = defined(alert.name);
    if (isEvent) return [];
    if (!worse) return [[t("monitoring.alerts.failures"), number(alert.value, 0)]];
    return [
      [t(`monitoring.alerts.${unit === "runs" ? "usual" : "value"}`), figure(alert.name, alert.value)],
      [t("monitoring.alerts.threshold"), figure(alert.name, alert.threshold)],
    ];
  }

  /** What a threshold is of; `params` as GET /alerts/thresholds says them, which has none that were put back. */
  const thresholdTitle = (name, params) => text(`alerts.${ruleOf(name)}.threshold`, { sizes: `≤${name.slice(GAP.length)}`, ...params });

  return { title, sentence, advice, reason, scope, short, figure, figures, thresholdTitle };
}

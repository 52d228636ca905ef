// Two chosen versions: what is equal, and what differs. Pure: models in, rows out.
import { bytes, number, time } from "../../core/format.js";
import { shown } from "./metrics.js";
import { METRICS, claimed, measured, partsOf } from "./records.js";

/** [[name, text]] of an object's members, inner objects by dotted names. */
export const flat = (object, before = "") =>
  Object.entries(object ?? {}).flatMap(([name, value]) =>
    value !== null && typeof value === "object" && !Array.isArray(value)
      ? flat(value, `${before}${name}.`)
      : [[before + name, Array.isArray(value) ? value.join(", ") : String(value ?? "–")]],
  );

export const CURVE = "learning_curve";

/** A row: the texts of both, whether they differ, and which of both is better where one can say ("a", "b", ""). */
function row(name, texts, better = "") {
  const differs = texts[0] !== texts[1];
  return { name, texts, differs, better: differs ? better : "" }; // who cannot see a difference is told of none
}

/** The compute time depends on the machine and on its load: nobody is called quicker by it. */
function winner([a, b], metric) {
  if (a === null || b === null || a === b || metric.name === "execution_time") return "";
  return a < b === metric.lower ? "a" : "b";
}

const figureRow = (name, metric, values) => row(name, values.map((value) => shown(metric.name, value)), winner(values, metric));

function figures(models, t) {
  const of = (kind, read) => METRICS.map((metric) => figureRow(`${t(`models.metric.${metric.name}`)} · ${t(`models.${kind}`)}`, metric, models.map((each) => read(each, metric.name))));
  const sizes = [...new Set(models.flatMap((each) => Object.keys(each.verified_metrics?.worst_gap ?? {})))].sort((x, y) => x - y);
  const gap = METRICS.find(({ name }) => name === "gap");
  return [
    ...of("measured", measured),
    ...of("claimed", claimed),
    ...sizes.map((size) => figureRow(t("models.sizes_of", { size: t("models.sizes_axis", { count: size }, Number(size)) }), gap, models.map((each) => each.verified_metrics?.worst_gap?.[size] ?? null))),
  ];
}

/** Rows of the members of both objects, those of the first one first; what one of both lacks is "–". */
function members(objects) {
  const told = objects.map((each) => new Map(flat(each)));
  const names = [...new Set(told.flatMap((each) => [...each.keys()]))];
  return names.map((name) => row(name, told.map((each) => each.get(name) ?? "–")));
}

/** The configuration in the checkpoints, without what the training parameters say as well. */
function configs(models) {
  const known = models.map((each) => new Map(flat(each.training_params)));
  return members(models.map((each) => each.lineage?.config)).filter(({ name, texts }) => texts.some((text, at) => text !== (known[at].get(name) ?? "–")));
}

const FACTS = [
  ["status", (each, t) => t(`status.model.${each.status}`)],
  ["created_at", (each) => time(each.created_at)],
  ["created_by", (each, t) => each.created_by || t("models.nobody")],
  ["config", (each) => partsOf(each.model_key)?.hash ?? "–"],
  ["size", (each) => bytes(each.size_bytes)],
  ["hidden", (each) => (each.signature?.hidden ?? []).join(" → ") || "–"],
  ["validation", (each) => time(each.validation?.measured_at)],
  ["tags", (each) => each.tags.join(", ") || "–"],
];

const facts = (models, t) => FACTS.map(([name, read]) => row(t(`models.${name}`), models.map((each) => read(each, t))));

/** [{title, rows}] of two models; groups without rows are left out. */
export function groupsOf(models, t) {
  const others = models.map((each) => Object.fromEntries(Object.entries(each.performance ?? {}).filter(([name]) => name !== CURVE && !METRICS.some((metric) => metric.name === name))));
  return [
    { title: t("models.figures"), rows: figures(models, t) },
    { title: t("models.other_claims"), rows: members(others) },
    { title: t("models.training_params"), rows: members(models.map((each) => each.training_params)) },
    { title: t("models.checkpoint_config"), rows: configs(models) },
    { title: t("models.facts"), rows: facts(models, t) },
  ].filter(({ rows }) => rows.length);
}

const isNumbers = (value) => Array.isArray(value) && value.length > 1 && value.every((each) => typeof each === "number");

/** [{name, points: [[step, value]]}] of a model's learning curve; empty where it brought none. */
export function curvesOf(model) {
  const curve = model.performance?.[CURVE];
  if (curve === null || typeof curve !== "object" || !isNumbers(curve.update)) return [];
  return Object.entries(curve)
    .filter(([name, values]) => !["update", "decisions", "seconds", "loss"].includes(name) && isNumbers(values) && values.length === curve.update.length)
    .map(([name, values]) => ({ name, points: curve.update.map((step, at) => [step, values[at]]) }));
}

/** Both models' curves in one chart: a colour for each model, a line style for each figure; null where there is none. */
export function curvesOption(models, names, t) {
  const figuresSeen = [...new Set(models.flatMap((each) => curvesOf(each).map(({ name }) => name)))];
  if (!figuresSeen.length) return null;
  const styles = ["solid", "dashed", "dotted"];
  return {
    animationDuration: 300,
    grid: { left: 62, right: 16, top: 48, bottom: 44 },
    legend: { top: 0, type: "scroll" },
    tooltip: { trigger: "axis", valueFormatter: (value) => shown("gap", value) },
    xAxis: { type: "value", name: t("models.curve_steps"), nameLocation: "middle", nameGap: 26, axisLabel: { formatter: (value) => number(value, 0) } },
    yAxis: { type: "value", min: 0, axisLabel: { formatter: (value) => shown("gap", value) } },
    series: models.flatMap((each, at) =>
      curvesOf(each).map(({ name, points }) => ({
        name: `${names[at]} · ${name}`, type: "line", showSymbol: false, data: points,
        color: ["#0072B2", "#E69F00"][at], lineStyle: { type: styles[figuresSeen.indexOf(name) % styles.length], width: name === "mean_gap" ? 3 : 1.5 },
      })),
    ),
  };
}

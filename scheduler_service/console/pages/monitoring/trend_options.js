// From the buckets of GET /performance/trends to ECharts options: one time axis and one cursor for all charts.
import { moment } from "./moment.js";
import { duration_s, fixed, hours, number, percent } from "../../core/format.js";

const colour = (name) => getComputedStyle(document.documentElement).getPropertyValue(name).trim();

/** What each chart shows: series of a bucket's figures, the threshold of GET /alerts, the rule whose alerts are shaded;
 * `told`: the place of the series that its label tells of, the last one if absent. */
export const CHARTS = [
  {
    name: "runs", kind: "bar", format: (value) => number(value, 0), minInterval: 1,
    series: [
      { name: "succeeded", of: (point) => point.runs - point.failures, colour: "#0072B2" },
      { name: "failed", of: (point) => point.failures, colour: "--bad" },
    ],
    rule: "silent_service",
  },
  {
    name: "success", format: (value) => percent(value, 1), tick: (value) => `${number(100 * value, 1)} %`, threshold: "min_success_rate", most: 1,
    series: [{ name: "success", of: (point) => point.success_rate, colour: "#009E73" }],
    rule: "min_success_rate",
  },
  {
    name: "makespan", format: (value) => hours(value, 1), tick: (value) => number(value, 1), told: 0,
    series: [
      { name: "makespan", of: (point) => point.mean_makespan, colour: "#0072B2" },
      { name: "policy_makespan", of: (point) => point.mean_policy_makespan ?? null, colour: "#E69F00" },
    ],
    rule: "max_makespan",
  },
  {
    name: "gap", format: (value) => percent(value, 2), tick: (value) => `${number(100 * value, 2)} %`, least: 0,
    series: [{ name: "gap", of: (point) => point.mean_gap, colour: "#CC79A7" }],
    rule: "max_gap",
  },
  {
    name: "time", format: duration_s, isLog: true,
    series: [
      { name: "p50", of: (point) => point.p50_execution_time, colour: "#56B4E9" },
      { name: "p95", of: (point) => point.p95_execution_time, colour: "#D55E00" },
    ],
    rule: "max_execution_time",
  },
  {
    name: "satisfaction", format: (value) => fixed(value, 1), least: 1, most: 5, isLoose: true,
    series: [{ name: "satisfaction", of: (point) => point.mean_satisfaction, colour: "#E69F00" }],
  },
];

const ink = (named) => (named.startsWith("--") ? colour(named) : named);

/** Times of the axis: hours on one day, days over several. */
const clock = (isLong) => (moment) => {
  const at = new Date(moment);
  const [day, hour] = [`${at.getMonth() + 1}/${at.getDate()}`, `${at.getHours()}:${String(at.getMinutes()).padStart(2, "0")}`];
  return isLong ? day : hour === "0:00" ? day : hour;
};

/** The values of a series that are there. */
export const valuesOf = (series, points) => points.map(series.of).filter((value) => value !== null);

const isAlone = (points, series, n) => [n - 1, n + 1].every((near) => !points[near] || series.of(points[near]) === null);

/** Where a value axis begins and ends: what is shown, and the threshold if it is not far away. */
function span(chart, points, limit) {
  if (chart.kind === "bar") return { min: 0 };
  const values = chart.series.flatMap((each) => valuesOf(each, points));
  if (limit !== undefined) values.push(limit);
  if (!values.length) return {};
  const [least, most] = [Math.min(...values, chart.least ?? Infinity), Math.max(...values, chart.most ?? -Infinity)];
  if (chart.isLog) return { min: 10 ** Math.floor(Math.log10(Math.max(least, 1e-6))), max: 10 ** Math.ceil(Math.log10(most * 1.01)) };
  // A round step, as people count: 1, 2 or 5 of a power of ten.
  const wanted = (most - least || Math.abs(most) || 1) / 4;
  const power = 10 ** Math.floor(Math.log10(wanted));
  const interval = power * ([1, 2, 5, 10].find((step) => step * power >= wanted) ?? 10);
  const [first, last] = [Math.floor(least / interval) * interval, Math.ceil(most / interval) * interval];
  return { min: chart.least ?? Math.max(0, first), max: chart.most ?? last, interval: chart.isLoose ? 1 : interval };
}

/** `words`: {series(name), threshold(value)}; `spells`: [[from, to]] in ms, when the rule's alert was on. */
export function optionOf(chart, trends, { limit, spells = [], words, isNarrow }) {
  const { points } = trends;
  const [first, last] = [new Date(points[0].start).getTime(), new Date(points.at(-1).end).getTime()];
  const isLong = last - first > 3 * 86_400_000;
  const shown = span(chart, points, limit);
  const shade = { silent: true, itemStyle: { color: colour("--bad"), opacity: 0.12 }, data: spells.map(([from, to]) => [{ xAxis: Math.max(from, first) }, { xAxis: Math.min(to, last) }]) };
  const line = {
    silent: true, symbol: "none", animation: false,
    lineStyle: { color: colour("--bad"), type: "dashed", width: 1.2 },
    label: { position: limit === shown.max ? "insideEndBottom" : "insideEndTop", color: colour("--bad"), formatter: () => words.threshold(chart.format(limit)) },
    data: [{ yAxis: limit }],
  };
  const middle = (trends.bucket_s * 1_000) / 2;
  return {
    animation: false,
    grid: { left: 8, right: 14, top: chart.series.length > 1 ? 30 : 14, bottom: 4, containLabel: true },
    legend: chart.series.length > 1 ? { top: 0, right: 8, itemWidth: 14, itemHeight: 8, icon: "roundRect" } : undefined,
    xAxis: { type: "time", min: first, max: last, splitNumber: isNarrow ? 4 : 6, axisLabel: { formatter: clock(isLong), hideOverlap: true } },
    yAxis: {
      type: chart.isLog ? "log" : "value", ...shown, minInterval: chart.minInterval, splitNumber: 4,
      axisLabel: { formatter: (value) => (chart.tick ?? chart.format)(value), showMinLabel: true, showMaxLabel: true },
    },
    tooltip: {
      trigger: "axis",
      axisPointer: { type: "line", lineStyle: { color: colour("--ink-soft") } },
      formatter: (found) => {
        const { start, end } = points[found[0].dataIndex];
        const lines = found.map(({ marker, seriesName, value }) => `${marker}${seriesName}&ensp;<b>${value[1] === null ? "–" : chart.format(value[1])}</b>`);
        return [`${moment(start)} – ${moment(end)}`, ...lines].join("<br>");
      },
    },
    axisPointer: { label: { show: false } },
    series: chart.series.map((each, n) => ({
      name: words.series(each.name),
      type: chart.kind ?? "line",
      stack: chart.kind === "bar" ? "all" : undefined,
      barMaxWidth: 22,
      showSymbol: true,
      showAllSymbol: true,
      symbol: "circle",
      // A value between two gaps would be no line at all; verdicts are few, each is shown.
      symbolSize: (_, { dataIndex }) => (chart.isLoose || isAlone(points, each, dataIndex) ? 4 : 0),
      connectNulls: Boolean(chart.isLoose),
      lineStyle: { width: 1.8 },
      color: ink(each.colour),
      data: points.map((point) => [new Date(point.start).getTime() + middle, each.of(point)]),
      markLine: n === 0 && limit !== undefined ? line : undefined,
      markArea: n === 0 && spells.length ? shade : undefined,
    })),
  };
}

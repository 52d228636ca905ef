// ECharts options of a model's page. Pure but for the colours, which the theme's variables give.
import { shown } from "./metrics.js";
import { claimed, measured } from "./records.js";

const PANELS = ["makespan", "gap", "resource_utilization"];
const colour = (name) => getComputedStyle(document.documentElement).getPropertyValue(name).trim();

const range = (values) => {
  const known = values.filter((value) => value !== null && value !== undefined);
  if (!known.length) return {};
  const [low, high] = [Math.min(...known), Math.max(...known)];
  // What differs by a hundredth of a percent must not look like two worlds.
  const room = Math.max((high - low) * 0.18, Math.abs(high) * 0.03, 0.001);
  return { min: Math.max(0, low - room), max: high + room };
};

/** Three panels over the same versions: measured as filled dots, claimed as hollow diamonds. */
export function comparisonOption(versions, model, t) {
  const names = versions.map((each) => `v${each.version}`);
  const [accent, soft, warn] = ["--accent", "--ink-soft", "--warn"].map(colour);
  const here = `v${model.version}`;
  const top = (place) => `${6 + place * 31}%`;
  const point = (each, value) => ({ value: [`v${each.version}`, value], key: each.model_key });
  const series = PANELS.flatMap((metric, place) => {
    const axes = { xAxisIndex: place, yAxisIndex: place };
    const baseline = metric === "gap" ? model.verified_metrics.baseline_gap : null;
    const claims = versions.filter((each) => claimed(each, metric) !== null);
    return [
      {
        ...axes, name: t("models.measured"), type: "line", symbol: "circle", lineStyle: { color: soft, width: 1, opacity: 0.5 }, itemStyle: { color: soft },
        data: versions.filter((each) => measured(each, metric) !== null).map((each) => ({
          ...point(each, measured(each, metric)),
          symbolSize: each.model_key === model.model_key ? 13 : 8,
          itemStyle: { color: each.model_key === model.model_key ? accent : soft },
          label: { show: each.model_key === model.model_key, position: "top", color: accent, fontWeight: "bold", formatter: () => shown(metric, measured(each, metric)) },
        })),
        markLine: baseline === null || baseline === undefined ? undefined : {
          silent: true, symbol: "none", lineStyle: { type: "dashed", color: warn }, label: { formatter: t("models.baseline"), position: "insideEndBottom", color: warn }, data: [{ yAxis: baseline }],
        },
      },
      {
        ...axes, name: t("models.claimed"), type: "scatter", symbol: "diamond", symbolSize: 11,
        itemStyle: { color: "transparent", borderColor: soft, borderWidth: 1.5 },
        data: claims.map((each) => ({ ...point(each, claimed(each, metric)), itemStyle: { borderColor: each.model_key === model.model_key ? accent : soft } })),
      },
    ];
  });
  return {
    animationDuration: 300,
    legend: { top: 0, right: 0, data: [t("models.measured"), t("models.claimed")], itemHeight: 9, itemWidth: 18 },
    tooltip: { trigger: "item", formatter: ({ seriesIndex, seriesName, data, name }) => `${name} ${seriesName}<br><b>${shown(PANELS[Math.floor(seriesIndex / 2)], data.value[1])}</b>` },
    title: PANELS.map((metric, place) => ({ text: t(`models.metric.${metric}`), top: top(place), left: 0, textStyle: { fontSize: 12, fontWeight: "normal", color: soft } })),
    grid: PANELS.map((_, place) => ({ left: 62, right: 16, top: `${12 + place * 31}%`, height: place === 2 ? "19%" : "20%" })),
    xAxis: PANELS.map((_, place) => ({
      type: "category", data: names, gridIndex: place, axisTick: { show: false },
      axisLabel: { show: place === PANELS.length - 1, formatter: (name) => (name === here ? `{here|${name}}` : name), rich: { here: { color: accent, fontWeight: "bold" } }, hideOverlap: true },
    })),
    yAxis: PANELS.map((metric, place) => ({
      type: "value", gridIndex: place, splitNumber: 3, splitLine: { showMinLine: false, showMaxLine: false }, axisLabel: { formatter: (value) => shown(metric, value).replace(/\s?(小时|h)$/, ""), showMinLabel: false, showMaxLabel: false },
      ...range(versions.flatMap((each) => [measured(each, metric), claimed(each, metric), metric === "gap" ? model.verified_metrics.baseline_gap : null])),
    })),
    series,
  };
}

/** Keys of the versions whose lines end far enough apart to be named at their ends; this model first of all. */
function named(versions, model, size) {
  const end = (each) => each.verified_metrics?.worst_gap?.[size] ?? null;
  const apart = 0.08 * Math.max(...versions.map((each) => Math.max(0, ...Object.values(each.verified_metrics?.worst_gap ?? {}))));
  const found = [];
  for (const each of [model, ...versions]) {
    if (end(each) !== null && found.every((other) => Math.abs(end(other) - end(each)) > apart)) found.push(each);
  }
  return new Set(found.map((each) => each.model_key));
}

/** The largest gap by number of work points: this model's line before those of the others; null if nothing was measured. */
export function sizesOption(versions, model, t) {
  const gaps = (each) => each.verified_metrics?.worst_gap ?? {};
  const sizes = Object.keys(gaps(model)).sort((a, b) => a - b);
  if (!sizes.length) return null;
  const [accent, soft] = ["--accent", "--ink-soft"].map(colour);
  const isNamed = named(versions, model, sizes.at(-1));
  return {
    animationDuration: 300,
    grid: { left: 62, right: 70, top: 16, bottom: 28 },
    tooltip: { trigger: "item", formatter: ({ seriesName, name, data }) => `${seriesName}<br>${name}: <b>${shown("gap", data.value)}</b>` },
    xAxis: { type: "category", data: sizes.map((count) => t("models.sizes_axis", { count }, Number(count))), axisTick: { show: false } },
    yAxis: { type: "value", min: 0, splitNumber: 3, axisLabel: { formatter: (value) => shown("gap", value) } },
    series: versions.map((each) => {
      const isHere = each.model_key === model.model_key;
      return {
        name: `v${each.version}`, type: "line", z: isHere ? 5 : 2, symbol: "circle", symbolSize: isHere ? 9 : 6,
        lineStyle: { color: isHere ? accent : soft, width: isHere ? 2.5 : 1, opacity: isHere ? 1 : 0.5 }, itemStyle: { color: isHere ? accent : soft },
        endLabel: { show: isNamed.has(each.model_key), formatter: "{a}", color: isHere ? accent : soft, fontWeight: isHere ? "bold" : "normal" },
        data: sizes.map((size) => ({ value: gaps(each)[size] ?? null, key: each.model_key })),
      };
    }),
  };
}

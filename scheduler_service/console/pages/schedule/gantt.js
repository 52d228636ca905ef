// A schedule as an ECharts option, in three views.
import { fixed, number } from "../../core/format.js";
import { COLOURS, ON_COLOUR, teamColours } from "./colours.js";
import { layout, rowLabel } from "./gantt_rows.js";
import { tip } from "./gantt_tip.js";
import { stepName } from "./standard.js";

const ROW_PX = { process: 22, workpoint: 24, team: 13 };
const FRAME_PX = { top: 64, bottom: 58 }; // legend and marks above the rows, hours below
const LEAST_TEXT_PX = 40; // of a text that is cut short
const NARROW_PX = 120; // a margin that has no room for names
export const VIEWS = ["process", "workpoint", "team"];

/** About how wide a text is at 11 pixels: hanzi are square. */
const widthOf = (text) => [...text].reduce((sum, sign) => sum + (sign > "\u2e80" ? 11.5 : 6.4), 4);

/** Nothing at the edge of what is zoomed into, which is no round hour. */
const hourLabel = (hour) => (Math.abs(20 * hour - Math.round(20 * hour)) < 1e-6 ? number(hour) : "");

const wordsOf = (t, lang) => ({
  step: (name) => stepName(name, lang),
  crew: (people) => t("schedule.people", { n: people }),
  team: (name, people) => `${t(`schedule.teams.${name}`, name)} ${t("schedule.people", { n: people })}`,
});

/** Draws the bars: a rectangle in the team's colour, its text where that fits. */
function barsDrawn(bars, { colours, view, look, showCritical }) {
  return ({ coordSys: area }, api) => {
    const [at, row, start, end, count] = [0, 1, 2, 3, 4].map((dimension) => api.value(dimension));
    const { step, text, uncut = "" } = bars[at];
    const [x, middle] = api.coord([start, row]);
    const [x2] = api.coord([end, row]);
    const band = api.size([0, 1])[1];
    const gap = view === "team" ? 0.5 : band * 0.12;
    const box = { x, y: middle - band / 2 + gap, width: Math.max(x2 - x, 1.5), height: band * count - 2 * gap };
    if (box.y + box.height < area.y || box.y > area.y + area.height) return null;
    const colour = colours.get(step.team);
    const isCritical = showCritical && step.critical;
    const least = Math.max(LEAST_TEXT_PX, widthOf(uncut) + widthOf("…"));
    const fits = text && box.width - 6 >= Math.min(widthOf(text), least) && box.height > 9;
    return {
      type: "rect",
      shape: { ...box, r: 2 },
      style: {
        fill: COLOURS[colour],
        stroke: isCritical ? look.bad : look.card,
        lineWidth: isCritical ? Math.min(2.5, box.width / 4) : 0.5,
        opacity: showCritical && !step.critical ? 0.55 : 1,
      },
      // Without a text of its own a rectangle would keep that of the bar that was drawn with it before.
      textContent: { style: { text: fits ? text : "", fill: ON_COLOUR[colour], fontSize: 11, width: box.width - 6, overflow: "truncate", ellipsis: "…" } },
      textConfig: { position: "inside" },
      clipPath: { type: "rect", shape: { x: area.x, y: area.y, width: area.width, height: area.height } },
    };
  };
}

/** The ground of a row; a mark area would begin and end in the middle of one. */
const groundDrawn = (look) => ({ coordSys: { x, width } }, api) => {
  const height = api.size([0, 1])[1];
  const y = api.coord([0, api.value(1)])[1] - height / 2;
  return { type: "rect", shape: { x, y, width, height }, style: { fill: look.pale, opacity: 0.6 } };
};

/** Lower bound and makespan; both are told above the chart, one over the other: they may be close together. */
function marks(result, { t, look }) {
  const line = (name, hour, color, type, distance) => ({
    xAxis: hour,
    lineStyle: { color, type, width: 1.5 },
    label: { formatter: `${name} ${fixed(hour)}`, color, position: "start", align: "right", fontSize: 11, distance },
  });
  const isProved = result.gap !== null && result.gap < 1e-9;
  const boundIsOfMakespan = result.objective !== "weighted_tardiness";
  return [
    ...(isProved || !boundIsOfMakespan ? [] : [line(t("schedule.lower_bound"), result.lower_bound, look.soft, "dashed", 4)]),
    line(t("schedule.makespan"), result.makespan, look.bad, "solid", 18),
  ];
}

/**
 * The option, and what it takes to show a part of it: {option, rows, rowPx, framePx, endH}.
 * look: {ink, soft, line, pale, bad, card}: colours; spanH: hours on the axis, so that two charts can be compared;
 * seen: {first, last}, the rows in sight, which whoever scrolls keeps up to date; mostMargin: pixels for the names of rows.
 */
export function gantt(result, view, { t, lang, look, showCritical, spanH = result.makespan, mostMargin = 230, seen = null }) {
  const words = wordsOf(t, lang);
  const { rows, groups, bars } = layout(result, view, words, mostMargin < NARROW_PX);
  const inSight = seen ?? { first: 0, last: rows - 1 };
  const colours = teamColours(result);
  const teamName = (name) => t(`schedule.teams.${name}`, name);
  const teams = [...new Set(bars.map(({ step }) => step.team))].sort();
  const names = groups.flatMap(({ text, texts }) => texts ?? [text]);
  const margin = Math.min(mostMargin, Math.max(...names.map(widthOf)));
  const endH = Math.ceil(spanH * 1.02);
  const shaded = groups.filter((_, at) => at % 2).flatMap(({ top, bottom }) => Array.from({ length: bottom - top + 1 }, (_, at) => [0, top + at]));
  return {
    rows,
    rowPx: ROW_PX[view],
    framePx: FRAME_PX.top + FRAME_PX.bottom,
    endH,
    option: {
      animation: false,
      aria: { enabled: false },
      grid: { left: margin + 10, right: 20, top: FRAME_PX.top, bottom: FRAME_PX.bottom },
      legend: { top: 0, left: 0, data: teams.map(teamName), selectedMode: false, type: "scroll", itemWidth: 14 },
      tooltip: { trigger: "item", formatter: ({ data }) => (data?.at === undefined ? "" : tip(bars[data.at].step, { t, words })) },
      xAxis: {
        type: "value", min: 0, max: endH, name: t("schedule.axis"), nameLocation: "middle", nameGap: 26,
        splitLine: { lineStyle: { color: look.line } }, axisLabel: { color: look.soft, showMaxLabel: false, formatter: hourLabel },
      },
      yAxis: {
        type: "category", data: Array.from({ length: rows }, (_, row) => String(row)), inverse: true, axisTick: { show: false }, splitLine: { show: false },
        axisLabel: { interval: 0, color: look.ink, fontSize: 11, width: margin, overflow: "truncate", formatter: (row) => rowLabel(groups, Number(row), inSight) },
      },
      dataZoom: [
        // No bar is left out because its beginning or its first row is out of sight.
        { type: "slider", xAxisIndex: 0, filterMode: "none", height: 14, bottom: 4, showDetail: false, brushSelect: false },
        { type: "inside", yAxisIndex: 0, filterMode: "none", disabled: true, startValue: inSight.first, endValue: inSight.last },
      ],
      series: [
        ...teams.map((name) => ({ type: "bar", name: teamName(name), data: [], color: COLOURS[colours.get(name)] })),
        {
          type: "custom", renderItem: barsDrawn(bars, { colours, view, look, showCritical }), clip: true, encode: { x: [2, 3], y: 1 },
          data: bars.map(({ row, rows: count, step }, at) => ({ at, value: [at, row, step.start, step.end, count] })),
        },
        { type: "custom", renderItem: groundDrawn(look), clip: true, silent: true, z: 0, encode: { x: 0, y: 1 }, data: shaded },
        { type: "line", data: [], silent: true, animation: false, markLine: { symbol: "none", data: marks(result, { t, look }) } },
      ],
    },
  };
}

// A schedule as an ECharts option, in three views: rows of steps, of work points in lanes, of people by team.
import { fixed, hours } from "../../core/format.js";
import { TEAMS, stepName } from "./standard.js";

const NEAR_H = 1e-6;
const ROW_PX = { process: 22, workpoint: 24, team: 13 };
const MOST_ROWS = 60; // more are scrolled through
export const VIEWS = ["process", "workpoint", "team"];

/** Told apart by colour-blind readers (Okabe & Ito 2008); the same as in the service's own pictures. */
const COLOURS = ["#0072B2", "#E69F00", "#009E73", "#CC79A7", "#56B4E9", "#D55E00", "#F0E442", "#999999"];
const ON_COLOUR = ["#fff", "#1b2733", "#fff", "#1b2733", "#1b2733", "#fff", "#1b2733", "#1b2733"];

export function teamColours(result) {
  const known = TEAMS.map((team) => team.name);
  const others = Object.keys(result.team_utilization).filter((name) => !known.includes(name));
  return new Map([...known, ...others].map((name, at) => [name, at % COLOURS.length]));
}

const byStart = (a, b) => a.start - b.start || a.end - b.end;

/** For each step (by start) the lowest lane that is free while it lasts. */
function inLanes(steps) {
  const free = [];
  return steps.toSorted(byStart).map((step) => {
    let lane = free.findIndex((until) => until <= step.start + NEAR_H);
    if (lane < 0) lane = free.push(0) - 1;
    free[lane] = step.end;
    return { step, lane };
  });
}

/** For each step (by start) runs of people who do it: [first, how many], in one run where a gap is wide enough. */
function inSeats(steps, headcount) {
  const freeFrom = Array(headcount).fill(0);
  return steps.toSorted(byStart).map((step) => {
    const free = freeFrom.flatMap((hour, person) => (hour <= step.start + NEAR_H ? [person] : []));
    const runs = runsOf(free);
    const fitting = runs.filter(([, people]) => people >= step.workers).sort((a, b) => a[1] - b[1]);
    const seats = fitting.length ? [[fitting[0][0], step.workers]] : runsOf(free.slice(0, step.workers));
    for (const [first, people] of seats) freeFrom.fill(step.end, first, first + people);
    return { step, seats };
  });
}

const runsOf = (numbers) =>
  numbers.reduce((runs, number) => {
    const last = runs.at(-1);
    if (last && last[0] + last[1] === number) last[1] += 1;
    else runs.push([number, 1]);
    return runs;
  }, []);

/** About how wide a text is at 11 pixels: hanzi are square. */
const widthOf = (text) => [...text].reduce((sum, sign) => sum + (sign > "\u2e80" ? 11.5 : 6.4), 4);

/** A long name leaves room for what stands beside it. */
const cut = (text, most = 10) => ([...text].length > most ? `${[...text].slice(0, most - 1).join("")}…` : text);

/** {labels: one for each row, groups: rows of each group, bars: [{row, rows, step, text}]}. */
function layout(result, view, words) {
  const steps = result.schedule_details;
  const grouped = new Map();
  for (const step of steps) {
    const group = view === "team" ? step.team : step.workpoint_id;
    if (!grouped.has(group)) grouped.set(group, []);
    grouped.get(group).push(step);
  }
  const several = new Set(steps.map((step) => step.workpoint_id)).size > 1;
  const labels = [];
  const groups = [];
  const bars = [];
  for (const [group, mine] of grouped) {
    const top = labels.length;
    if (view === "process") {
      for (const step of mine.toSorted(byStart)) {
        bars.push({ row: labels.length, rows: 1, step, text: words.crew(step.workers) });
        labels.push(several ? `${cut(step.workpoint_name)} ${words.step(step.name)}` : words.step(step.name));
      }
    } else if (view === "workpoint") {
      const placed = inLanes(mine);
      const lanes = Math.max(...placed.map(({ lane }) => lane)) + 1;
      for (const { step, lane } of placed) {
        bars.push({ row: top + lane, rows: 1, step, text: `${words.step(step.name)} ${words.crew(step.workers)}` });
      }
      labels.push(...Array.from({ length: lanes }, (_, lane) => (lane === (lanes - 1) >> 1 ? mine[0].workpoint_name : "")));
    } else {
      const people = Math.max(result.team_headcount[group] ?? 0, ...mine.map((step) => step.workers));
      for (const { step, seats } of inSeats(mine, people)) {
        const widest = seats.toSorted((a, b) => b[1] - a[1])[0];
        for (const seat of seats) {
          const text = `${several ? `${step.workpoint_name} ` : ""}${words.step(step.name)} ${words.crew(step.workers)}`;
          bars.push({ row: top + seat[0], rows: seat[1], step, text: seat === widest ? text : "" });
        }
      }
      labels.push(...Array.from({ length: people }, (_, at) => (at === (people - 1) >> 1 ? words.team(group, people) : "")));
    }
    groups.push([top, labels.length - 1]);
  }
  return { labels, groups, bars };
}

/**
 * The option and its height in pixels.
 * look: {ink, soft, line, pale, bad}: colours; spanH: hours on the axis, so that two charts can be compared.
 */
export function gantt(result, view, { t, lang, look, showCritical, spanH = result.makespan, mostMargin = 190 }) {
  const words = {
    step: (name) => stepName(name, lang),
    crew: (people) => t("schedule.people", { n: people }),
    team: (name, people) => `${t(`schedule.teams.${name}`, name)} ${t("schedule.people", { n: people })}`,
  };
  const { labels, groups, bars } = layout(result, view, words);
  const colours = teamColours(result);
  const isLong = labels.length > MOST_ROWS;
  const rows = Math.min(labels.length, MOST_ROWS);
  const teams = [...new Set(bars.map(({ step }) => step.team))].sort();
  const margin = Math.min(mostMargin, Math.max(...labels.map(widthOf)));
  const height = rows * ROW_PX[view] + 122;

  const draw = (params, api) => {
    const [at, row, start, end, count] = [0, 1, 2, 3, 4].map((dimension) => api.value(dimension));
    const { step, text } = bars[at];
    const [x, middle] = api.coord([start, row]);
    const [x2] = api.coord([end, row]);
    const band = api.size([0, 1])[1];
    const gap = view === "team" ? 0.5 : band * 0.12;
    const box = { x, y: middle - band / 2 + gap, width: Math.max(x2 - x, 1.5), height: band * count - 2 * gap };
    const area = params.coordSys;
    if (box.y + box.height < area.y || box.y > area.y + area.height) return null;
    const colour = colours.get(step.team);
    const isCritical = showCritical && step.critical;
    const fits = text && box.width > Math.min(widthOf(text), 44) && box.height > 9;
    return {
      type: "rect",
      shape: { ...box, r: 2 },
      style: {
        fill: COLOURS[colour],
        stroke: isCritical ? look.bad : look.card,
        lineWidth: isCritical ? Math.min(2.5, box.width / 4) : 0.5,
        opacity: showCritical && !step.critical ? 0.55 : 1,
      },
      textContent: fits
        ? { style: { text, fill: ON_COLOUR[colour], fontSize: 11, width: box.width - 6, overflow: "truncate", ellipsis: "…" } }
        : undefined,
      textConfig: { position: "inside" },
      clipPath: { type: "rect", shape: { x: area.x, y: area.y, width: area.width, height: area.height } },
    };
  };

  /** The ground of a row; a mark area would begin and end in the middle of one. */
  const shade = ({ coordSys: { x, width } }, api) => {
    const height = api.size([0, 1])[1];
    const y = api.coord([0, api.value(1)])[1] - height / 2;
    return { type: "rect", shape: { x, y, width, height }, style: { fill: look.pale, opacity: 0.6 } };
  };
  const shaded = groups.filter((_, at) => at % 2).flatMap(([top, bottom]) => Array.from({ length: bottom - top + 1 }, (_, at) => [0, top + at]));

  // Both marks are told above the chart, one over the other: they may be close together.
  const line = (name, hour, color, type, distance) => ({
    xAxis: hour,
    lineStyle: { color, type, width: 1.5 },
    label: { formatter: `${name} ${fixed(hour)}`, color, position: "start", align: "right", fontSize: 11, distance },
  });
  const isProved = result.gap < 1e-9;

  return {
    height,
    option: {
      animation: false,
      aria: { enabled: false },
      grid: { left: margin + 10, right: 30, top: 64, bottom: 56 },
      legend: { top: 0, left: 0, data: teams.map((name) => t(`schedule.teams.${name}`, name)), selectedMode: false, type: "scroll", itemWidth: 14 },
      tooltip: { trigger: "item", formatter: ({ data }) => (data?.at === undefined ? "" : tip(bars[data.at].step, { t, words })) },
      xAxis: {
        type: "value", min: 0, max: Math.ceil(spanH * 1.02), name: t("schedule.axis"), nameLocation: "middle", nameGap: 26,
        splitLine: { lineStyle: { color: look.line } }, axisLabel: { color: look.soft, showMaxLabel: false },
      },
      yAxis: {
        type: "category", data: labels, inverse: true, axisTick: { show: false }, splitLine: { show: false },
        axisLabel: { interval: 0, color: look.ink, fontSize: 11, width: margin, overflow: "truncate" },
      },
      dataZoom: [
        // No bar is left out because its beginning or its first row is out of sight.
        { type: "inside", xAxisIndex: 0, filterMode: "none", zoomOnMouseWheel: "ctrl", moveOnMouseWheel: false },
        { type: "slider", xAxisIndex: 0, filterMode: "none", height: 14, bottom: 4, showDetail: false, brushSelect: false },
        ...(isLong
          ? [{ type: "slider", yAxisIndex: 0, filterMode: "none", width: 14, right: 2, startValue: 0, endValue: MOST_ROWS - 1, showDetail: false, brushSelect: false }]
          : []),
      ],
      series: [
        ...teams.map((name) => ({ type: "bar", name: t(`schedule.teams.${name}`, name), data: [], color: COLOURS[colours.get(name)] })),
        {
          type: "custom", renderItem: draw, clip: true, encode: { x: [2, 3], y: 1 },
          data: bars.map(({ row, rows: count, step }, at) => ({ at, value: [at, row, step.start, step.end, count] })),
        },
        { type: "custom", renderItem: shade, clip: true, silent: true, z: 0, encode: { x: 0, y: 1 }, data: shaded },
        {
          type: "line", data: [], silent: true, animation: false,
          markLine: {
            symbol: "none",
            data: [
              ...(isProved ? [] : [line(t("schedule.lower_bound"), result.lower_bound, look.soft, "dashed", 4)]),
              line(t("schedule.makespan"), result.makespan, look.bad, "solid", 18),
            ],
          },
        },
      ],
    },
  };
}

const escaped = (text) => String(text).replace(/[&<>"']/g, (sign) => `&#${sign.charCodeAt(0)};`);

function tip(step, { t, words }) {
  const rows = [
    [t("schedule.workpoint"), step.workpoint_name],
    [t("schedule.team"), t(`schedule.teams.${step.team}`, step.team)],
    [t("schedule.crew"), words.crew(step.workers)],
    [t("schedule.start"), hours(step.start)],
    [t("schedule.end"), hours(step.end)],
    [t("schedule.lasts"), hours(step.end - step.start)],
  ];
  const mark = step.critical ? ` · ${t("schedule.critical")}` : "";
  // Names are a user's own text.
  return `<strong>${escaped(words.step(step.name))}</strong>${mark}<br>${rows.map(([name, value]) => `${name}: ${escaped(value)}`).join("<br>")}`;
}

/** People at work by team over time, one small chart below the other. */
export function teamLoad(result, { t, look, spanH = result.makespan }) {
  const teams = Object.keys(result.team_utilization);
  const colours = teamColours(result);
  const each = 62;
  const places = teams.map((_, at) => ({ top: 8 + at * each, height: each - 18, left: 118, right: 64 }));
  return {
    height: teams.length * each + 34,
    option: {
      animation: false,
      grid: places,
      tooltip: { trigger: "axis", formatter: (found) => `${fixed(found[0].axisValue)} h<br>${found.map((one) => `${one.marker}${escaped(one.seriesName)}: ${one.value[1]}`).join("<br>")}` },
      axisPointer: { link: [{ xAxisIndex: "all" }], snap: false },
      xAxis: teams.map((_, at) => ({
        type: "value", gridIndex: at, min: 0, max: Math.ceil(spanH * 1.02), axisLabel: { show: at === teams.length - 1, color: look.soft, showMaxLabel: false },
        splitLine: { show: false }, axisTick: { show: at === teams.length - 1 },
      })),
      yAxis: teams.map((team, at) => ({
        type: "value", gridIndex: at, min: 0, max: result.team_headcount[team], interval: result.team_headcount[team], splitLine: { show: false }, axisLabel: { color: look.soft, fontSize: 10 },
      })),
      title: teams.flatMap((team, at) => [
        { text: t(`schedule.teams.${team}`, team), left: 0, top: places[at].top + 12, textStyle: { fontSize: 12, fontWeight: 400, color: look.ink, width: 92, overflow: "truncate" } },
        { text: `${fixed(result.team_utilization[team] * 100, 0)} %`, right: 4, top: places[at].top + 12, textStyle: { fontSize: 12, color: look.soft } },
      ]),
      series: teams.map((team, at) => ({
        type: "line", step: "end", symbol: "none", name: t(`schedule.teams.${team}`, team), xAxisIndex: at, yAxisIndex: at, data: peopleAtWork(result, team),
        areaStyle: { opacity: 0.35 }, lineStyle: { width: 1.2 }, color: COLOURS[colours.get(team)],
      })),
    },
  };
}

function peopleAtWork(result, team) {
  const changes = new Map([[0, 0]]);
  const add = (hour, people) => changes.set(Number(hour.toFixed(6)), (changes.get(Number(hour.toFixed(6))) ?? 0) + people);
  for (const step of result.schedule_details) {
    if (step.team !== team) continue;
    add(step.start, step.workers);
    add(step.end, -step.workers);
  }
  let people = 0;
  const points = [...changes].sort((a, b) => a[0] - b[0]).map(([hour, change]) => [hour, (people += change)]);
  return [...points, [result.makespan, people]];
}

// People at work by team over time, one small chart below the other.
import { fixed } from "../../core/format.js";
import { COLOURS, teamColours } from "./colours.js";
import { escaped } from "./gantt_tip.js";

/** The option and its height in pixels, as `gantt` takes it. */
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

// What is told of a step under the pointer, as HTML: names are a user's own text.
import { hours } from "../../core/format.js";
import { moreOf } from "./replanned.js";

export const escaped = (text) => String(text).replace(/[&<>"']/g, (sign) => `&#${sign.charCodeAt(0)};`);

export function tip(step, { t, words }) {
  const rows = [
    [t("schedule.workpoint_id"), step.workpoint_id],
    [t("schedule.workpoint"), step.workpoint_name],
    [t("schedule.team"), t(`schedule.teams.${step.team}`, step.team)],
    [t("schedule.crew"), words.crew(step.workers)],
    [t("schedule.start"), hours(step.start)],
    [t("schedule.end"), hours(step.end)],
    [t("schedule.lasts"), hours(step.end - step.start)],
    ...moreOf(step, t),
  ];
  const mark = step.critical ? ` · ${t("schedule.critical")}` : "";
  return `<strong>${escaped(words.step(step.name))}</strong>${mark}<br>${rows.map(([name, value]) => `${name}: ${escaped(value)}`).join("<br>")}`;
}

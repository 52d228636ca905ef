// What is wrong with a draft before it is sent; everything else the service finds.
import { MAX_HOURS } from "./standard.js";

const isHours = (value) => Number.isFinite(value) && value > 0 && value <= MAX_HOURS;

/** As the service tells mistakes: [{loc, msg}]. */
export function mistakesIn(draft, t) {
  if (draft.mode === "params") {
    return draft.params.flatMap((value, at) => (isHours(value) ? [] : [{ loc: ["params", at], msg: t("schedule.need_hours") }]));
  }
  const { workpoints } = draft;
  if (!workpoints.length) return [{ loc: ["workpoints"], msg: t("schedule.need_workpoint") }];
  return workpoints.flatMap((workpoint, at) => [
    ...(workpoint.steps.length ? [] : [{ loc: ["workpoints", at], msg: t("schedule.need_workpoint") }]),
    ...workpoint.steps.flatMap((step, n) => [
      ...(step.name?.trim() ? [] : [{ loc: ["workpoints", at, "steps", n, "name"], msg: t("schedule.need_name") }]),
      ...(isHours(step.duration) ? [] : [{ loc: ["workpoints", at, "steps", n, "duration"], msg: t("schedule.need_hours") }]),
    ]),
  ]);
}

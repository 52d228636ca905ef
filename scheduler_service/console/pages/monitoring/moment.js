// Moments as short as they may be: the hour of today, the day of others.
import { now } from "../../core/clock.js";
import { time } from "../../core/format.js";

const two = (n) => String(n).padStart(2, "0");

/** "19:11" today, "11/23 19:11" in the last months, the whole date before. */
export function moment(iso) {
  if (!iso) return time(iso);
  const [at, today] = [new Date(iso), new Date(now())];
  const clock = `${two(at.getHours())}:${two(at.getMinutes())}`;
  if (at.toDateString() === today.toDateString()) return clock;
  return Math.abs(today - at) < 180 * 86_400_000 ? `${at.getMonth() + 1}/${at.getDate()} ${clock}` : time(iso);
}

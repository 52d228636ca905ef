// A metric's value as people read it.
import { duration_s, fixed, hours, number, percent } from "../../core/format.js";

const AS = { makespan: hours, gap: percent, resource_utilization: percent, execution_time: duration_s };

export const shown = (metric, value) => (AS[metric] ?? number)(value);

/** "3.8 %": by how much a claim is off. */
export const difference = (flag) => (flag.difference_percent === null ? "" : `${fixed(Math.abs(flag.difference_percent), 1)} %`);

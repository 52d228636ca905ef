// Recorded runs: each has an address of its own, and is shown as it was answered.
import { api } from "../../core/api.js";

const SIDE_BY_SIDE = 2;

export const addressOf = (ids) => `/schedule/${ids.map(encodeURIComponent).join(",")}`;
export const idsIn = (given) => String(given ?? "").split(",").filter(Boolean).slice(0, SIDE_BY_SIDE);

export const recorded = (id) => api.get(`/runs/${encodeURIComponent(id)}`);

/** What POST /run_algorithm answered, of what GET /runs/<id> answers; null where no schedule is on record. */
export function answerOf({ run, schedule }) {
  if (!schedule) return null;
  const { request_id, name, owner, timestamp, makespan, policy_makespan, lower_bound, gap, resource_utilization, execution_time } = run;
  const { stage, model_key, algorithm, experiment, variant, reason, user_id } = run;
  return {
    request_id,
    recorded: { name, owner, timestamp },
    result: { makespan, lower_bound, gap, resource_utilization, ...schedule, stage, model_info: { model_key, algorithm } },
    performance: { makespan, policy_makespan, execution_time, resource_utilization },
    experiment_info: { experiment, variant, reason, model_used: model_key, user_id },
  };
}

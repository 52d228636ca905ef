// Runs of what is being typed: one, or several of two models on the same input; with progress, and an end before the end.
// One at a time for the whole console: whoever looks at another page meanwhile finds the schedule when they come back.
import { reactive } from "vue";
import { api } from "../../core/api.js";
import { BUDGET_MS, isSettled, runOf, seedsFor, turns } from "./compare.js";

const TICK_MS = 100;
const KEPT = "scheduler.answers"; // of this tab, so that a reload loses nothing

function kept() {
  try {
    const read = JSON.parse(sessionStorage.getItem(KEPT));
    return Array.isArray(read?.answers) ? read : {};
  } catch {
    return {}; // storage is forbidden here
  }
}

/** So that a reload loses nothing, also for who may run and not read. */
export function keep() {
  const { answers, comparison } = state;
  try {
    sessionStorage.removeItem(KEPT); // rather none than an older one, where these find no room
    sessionStorage.setItem(KEPT, JSON.stringify({ answers, comparison }));
  } catch {
    // Forbidden or full: they last as long as the page.
  }
}

const { answers = [], comparison = null } = kept();
/** comparison: {keys, runs: [[{makespan, gap, isCutShort}] of each model], budgetMs}; null where one model answered. */
export const state = reactive({ isRunning: false, elapsedMs: 0, budgetMs: null, done: 0, of: 1, answers, comparison, error: null, isCancelled: false });
let abort = null;

/** Schedules that were run before. */
export function show(answers) {
  Object.assign(state, { answers, comparison: null });
  keep();
}

/** Whether `work` led to a schedule; `state` tells what became of it otherwise. */
async function during(work, { budgetMs, of = 1 }) {
  abort = new AbortController();
  const beganMs = performance.now();
  Object.assign(state, { isRunning: true, elapsedMs: 0, budgetMs, done: 0, of, error: null, isCancelled: false });
  const timer = setInterval(() => (state.elapsedMs = performance.now() - beganMs), TICK_MS);
  try {
    Object.assign(state, await work());
    keep();
    return true;
  } catch (err) {
    if (err.name === "AbortError") state.isCancelled = true;
    else state.error = err;
    return false;
  } finally {
    clearInterval(timer);
    state.isRunning = false;
  }
}

const ask = (body) => api.post("/run_algorithm", body, { signal: abort.signal });

export const run = (body, budgetMs) => during(async () => ({ answers: [await ask(body)], comparison: null }), { budgetMs });

/**
 * Runs the models `keys` on `body` in turn, each with the same seeds and the same time; shown is the shortest of each.
 * Stopped before the end, it tells what is known by then, if each has answered.
 */
export function compare(body, keys, wantedMs) {
  const budgetMs = wantedMs ?? BUDGET_MS;
  const order = turns(seedsFor(budgetMs));
  return during(
    async () => {
      const runs = [[], []];
      const best = [null, null];
      for (const [model, seed] of order) {
        const answer = await ask({ ...body, model: keys[model], seed, time_budget_ms: budgetMs }).catch((err) => unlessStopped(err, best));
        if (!answer) break;
        runs[model].push(runOf(answer));
        if (!best[model] || answer.result.makespan < best[model].result.makespan) best[model] = answer;
        state.done += 1;
        if (isSettled(runs)) break;
      }
      return { answers: best, comparison: { keys, runs, budgetMs } };
    },
    { budgetMs, of: order.length },
  );
}

function unlessStopped(err, best) {
  if (err.name !== "AbortError" || best.includes(null)) throw err;
  state.isCancelled = true;
  return null;
}

/** The service notices that nobody waits any more, and stops the search. */
export const cancel = () => abort?.abort();

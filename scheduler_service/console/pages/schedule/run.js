// Runs of what is being typed: one, or two models on the same input; with progress, and an end before the end.
// One at a time for the whole console: whoever looks at another page meanwhile finds the schedule when they come back.
import { reactive } from "vue";
import { api } from "../../core/api.js";

const TICK_MS = 100;
const ANSWERS = "scheduler.answers"; // of this tab, so that a reload loses nothing

function kept() {
  try {
    return JSON.parse(sessionStorage.getItem(ANSWERS)) ?? [];
  } catch {
    return []; // storage is forbidden here
  }
}

/** So that a reload loses nothing, also for who may run and not read. */
export function keep(answers) {
  try {
    sessionStorage.removeItem(ANSWERS); // rather none than an older one, where these find no room
    sessionStorage.setItem(ANSWERS, JSON.stringify(answers));
  } catch {
    // Forbidden or full: they last as long as the page.
  }
}

export const state = reactive({ isRunning: false, elapsedMs: 0, budgetMs: null, answers: kept(), error: null, isCancelled: false });
let abort = null;

/** Whether there is a schedule now; `state` tells what became of it otherwise. */
export async function run(bodies, budgetMs) {
  abort = new AbortController();
  const beganMs = performance.now();
  Object.assign(state, { isRunning: true, elapsedMs: 0, budgetMs, error: null, isCancelled: false });
  const timer = setInterval(() => (state.elapsedMs = performance.now() - beganMs), TICK_MS);
  try {
    // Side by side: each has a time budget of its own.
    state.answers = await Promise.all(bodies.map((body) => api.post("/run_algorithm", body, { signal: abort.signal })));
    keep(state.answers);
    return true;
  } catch (err) {
    if (err.name === "AbortError") state.isCancelled = true;
    else state.error = err;
    abort.abort();
    return false;
  } finally {
    clearInterval(timer);
    state.isRunning = false;
  }
}

/** The service notices that nobody waits any more, and stops the search. */
export const cancel = () => abort?.abort();

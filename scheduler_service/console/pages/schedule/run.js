// Runs of what is being typed: one, or two models on the same input; with progress, and an end before the end.
import { onScopeDispose, reactive } from "vue";
import { api } from "../../core/api.js";

const TICK_MS = 100;

/** state: {isRunning, elapsedMs, budgetMs, answers, error, isCancelled}. */
export function useRun() {
  const state = reactive({ isRunning: false, elapsedMs: 0, budgetMs: null, answers: [], error: null, isCancelled: false });
  let abort = null;
  let timer = null;

  async function run(bodies, budgetMs) {
    abort = new AbortController();
    const beganMs = performance.now();
    Object.assign(state, { isRunning: true, elapsedMs: 0, budgetMs, error: null, isCancelled: false });
    timer = setInterval(() => (state.elapsedMs = performance.now() - beganMs), TICK_MS);
    try {
      // Side by side: each has a time budget of its own.
      state.answers = await Promise.all(bodies.map((body) => api.post("/run_algorithm", body, { signal: abort.signal })));
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
  const cancel = () => abort?.abort();
  onScopeDispose(() => {
    clearInterval(timer);
    cancel();
  });
  return { state, run, cancel };
}

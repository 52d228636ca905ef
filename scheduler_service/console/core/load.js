// What a page shows comes from the service: loading, there, or failed; asked again while somebody looks.
import { onScopeDispose, ref, shallowRef } from "vue";
import { session } from "./session.js";

/**
 * Calls `load(signal)` at once, and every `everyMs` while the page is visible and `isWanted()`; after a refused key, only
 * once there is another: who would rather give none is not asked again and again.
 * error: an ApiError; data stays what it was, so that a failed refresh does not empty the page.
 */
export function useLoad(load, { everyMs = 0, isImmediate = true, isWanted = () => true } = {}) {
  const data = shallowRef(null);
  const error = shallowRef(null);
  const loading = ref(false);
  let abort = null;
  let timer = null;
  let refusedKey = null;
  let askedAt = 0;

  async function reload() {
    abort?.abort();
    const mine = new AbortController();
    abort = mine;
    loading.value = true;
    askedAt = Date.now();
    try {
      const found = await load(mine.signal);
      if (abort === mine) [data.value, error.value, refusedKey] = [found, null, null];
    } catch (err) {
      if (abort === mine && err.name !== "AbortError") {
        error.value = err;
        refusedKey = err.status === 401 ? session.key : null;
      }
    } finally {
      if (abort === mine) loading.value = false;
    }
  }

  if (isImmediate) reload();
  const refresh = () => document.hidden || loading.value || refusedKey === session.key || !isWanted() || reload();
  // Whoever comes back to the page sees the present, not what was there when they left.
  const look = () => Date.now() - askedAt < everyMs || refresh();

  if (everyMs) {
    timer = setInterval(refresh, everyMs);
    document.addEventListener("visibilitychange", look);
  }
  onScopeDispose(() => {
    document.removeEventListener("visibilitychange", look);
    clearInterval(timer);
    abort?.abort();
    abort = null;
  });
  return { data, error, loading, reload };
}

// What a page shows comes from the service: loading, there, or failed; asked again while somebody looks.
import { onScopeDispose, ref, shallowRef } from "vue";

/**
 * Calls `load(signal)` at once, and every `everyMs` while the page is visible.
 * error: an ApiError; data stays what it was, so that a failed refresh does not empty the page.
 */
export function useLoad(load, { everyMs = 0, isImmediate = true } = {}) {
  const data = shallowRef(null);
  const error = shallowRef(null);
  const loading = ref(false);
  let abort = null;
  let timer = null;

  async function reload() {
    abort?.abort();
    const mine = new AbortController();
    abort = mine;
    loading.value = true;
    try {
      const found = await load(mine.signal);
      if (abort === mine) [data.value, error.value] = [found, null];
    } catch (err) {
      if (abort === mine && err.name !== "AbortError") error.value = err;
    } finally {
      if (abort === mine) loading.value = false;
    }
  }

  if (isImmediate) reload();
  if (everyMs) timer = setInterval(() => document.hidden || loading.value || reload(), everyMs);
  onScopeDispose(() => {
    clearInterval(timer);
    abort?.abort();
    abort = null;
  });
  return { data, error, loading, reload };
}

// Short news in a corner, read out by screen readers; bad ones stay until they are closed.
import { reactive } from "vue";

const SHOWN_MS = 6_000;
let count = 0;

export const toasts = reactive([]);

export function closeToast(id) {
  const at = toasts.findIndex((each) => each.id === id);
  if (at >= 0) toasts.splice(at, 1);
}

/** What went wrong on one page is no news on the next. */
export const closeBadToasts = () => toasts.filter((each) => each.kind === "bad").forEach((each) => closeToast(each.id));

export function toast(text, kind = "good") {
  const id = ++count;
  toasts.push({ id, text, kind });
  if (kind !== "bad") setTimeout(() => closeToast(id), SHOWN_MS);
}

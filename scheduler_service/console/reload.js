// During a rolling upgrade, a replica of another version may answer for a file of this page: load the page again.
const RELOADS = "reloads";
const MAX_RELOADS = 5;

/** Soon, and a few times at most; app.js sets the number back. Without storage not at all: it could not be counted. */
function reloadSoon() {
  let n;
  try {
    n = Number(sessionStorage.getItem(RELOADS));
    if (n >= MAX_RELOADS) return;
    sessionStorage.setItem(RELOADS, n + 1);
  } catch {
    return;
  }
  setTimeout(() => location.reload(), 500 * 2 ** n);
}

addEventListener("error", (event) => event.target.type === "module" && reloadSoon(), true);

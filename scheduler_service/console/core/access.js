// Whether a key is any good is asked of the service, before anything says that it is.
import { noteDate } from "./clock.js";
import { noteAccess, session } from "./session.js";

/** GET /access with `key`: {status, told}; status 0: the service could not be reached. */
async function ask(key) {
  try {
    const headers = key ? { Authorization: `Bearer ${key}` } : {};
    const answer = await fetch(new URL("access", document.baseURI), { headers });
    noteDate(answer.headers.get("Date"));
    return { status: answer.status, told: await answer.json().catch(() => null) };
  } catch {
    return { status: 0, told: null };
  }
}

/** What the service says of `key`, "" for none: {isKnown, told}, or {isKnown: false, detail} with its reason. */
export async function tryKey(key) {
  const { status, told } = await ask(key);
  if (status === 200) return { isKnown: true, told };
  return { isKnown: false, isRefused: status === 401, status, detail: told?.detail ?? "", retryAfterS: told?.retry_after_s };
}

/** Looks at the key that was remembered, or at what can be done without one; the head shows what came of it. */
export async function checkAccess() {
  const found = await tryKey(session.key);
  if (found.isKnown) noteAccess(found.told);
  else session.state = found.isRefused ? "refused" : "unreachable";
}

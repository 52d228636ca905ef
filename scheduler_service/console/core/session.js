// The API key and the name of who works here: entered once, for this tab or, when wanted, for this browser.
import { reactive } from "vue";

const KEY = "scheduler.api_key";
const ACTOR = "scheduler.actor";

const read = (name) => {
  try {
    return sessionStorage.getItem(name) ?? localStorage.getItem(name) ?? "";
  } catch {
    return ""; // storage is forbidden here: the key then lasts as long as the page
  }
};

const write = (name, value, isKept) => {
  try {
    sessionStorage.removeItem(name);
    localStorage.removeItem(name);
    if (value) (isKept ? localStorage : sessionStorage).setItem(name, value);
  } catch {
    // As above.
  }
};

/**
 * What is known of the key:
 * untried (not asked yet), accepted, refused, unreachable (the service did not say); and without one:
 * needless (none counts here), open (some things need none), missing (everything needs one).
 */
export const session = reactive({
  state: "untried",
  name: "", // of the key, as the service calls it
  scopes: null, // what may be done, as the service last told: a list, or null for everything
  key: read(KEY),
  actor: read(ACTOR),
  wanted: null, // a question to the user: {detail, resolve}, shown by parts/key_dialog.js
});

/** From the header X-API-Scopes, which is absent where nobody needs a key. What only admins may do is hidden by style. */
export function noteScopes(told) {
  if (told === null || told === session.scopes?.join(" ")) return;
  session.scopes = told.split(" ").filter(Boolean);
  document.documentElement.dataset.may = told;
}

export function rememberKey(key, isKept) {
  session.key = key.trim();
  write(KEY, session.key, isKept);
}

export function rememberActor(name) {
  session.actor = name.trim();
  write(ACTOR, session.actor, true);
}

let question = null;

/** What the service said of a key, or of none: GET /access. */
export function noteAccess({ key, scopes, without_key: without, needs_key: needsKey }) {
  session.name = key ?? "";
  if (key) session.state = "accepted";
  else if (!needsKey) session.state = "needless";
  else session.state = without.length ? "open" : "missing";
  if (needsKey || key) noteScopes(scopes.join(" "));
}

/** After a 401: the key that was sent is no good, or one is wanted. */
export function noteRefusedKey() {
  session.state = session.key ? "refused" : session.state === "open" ? "open" : "missing";
}

/** True once the user has entered another key; false when they would rather not. Asked once at a time. */
export function askForKey(detail) {
  question ??= new Promise((resolve) => {
    session.wanted = {
      detail,
      resolve: (isEntered) => {
        session.wanted = null;
        question = null;
        resolve(isEntered);
      },
    };
  });
  return question;
}

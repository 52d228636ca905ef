// The one way to the service: JSON or a file in, JSON out, problem+json as ApiError.
import { noteDate } from "./clock.js";
import { askForKey, noteRefusedKey, noteScopes, session } from "./session.js";
import { i18n } from "./i18n.js";

export class ApiError extends Error {
  /** status 0: the service could not be reached. errors: [{loc: [...], msg}]. */
  constructor(status, detail, { errors = [], retryAfterS = null, body = null } = {}) {
    super(detail);
    Object.assign(this, { name: "ApiError", status, detail, errors, retryAfterS, body });
  }

  /** What kind of problem it is, as in "missing-scope"; "" for one of no kind. */
  get kind() {
    return this.body?.type?.split("#")[1] ?? "";
  }

  /** What is wrong, as a code of the catalogue with its parameters; "" where the service gives none. */
  get code() {
    return this.body?.code ?? "";
  }

  get params() {
    return this.body?.params ?? {};
  }

  /** The message for a field of the body, by its path: "duration_days", "rollout.stages". */
  of(path) {
    return this.errors.find((each) => each.loc.join(".") === path || each.loc.join(".").startsWith(`${path}.`))?.msg ?? "";
  }
}

const address = (path, query) => {
  const url = new URL(path.replace(/^\//, ""), document.baseURI);
  url.hash = "";
  for (const [name, value] of Object.entries(query ?? {})) {
    if (value !== null && value !== undefined && value !== "") url.searchParams.set(name, value);
  }
  return url;
};

const authorization = () => (session.key ? { Authorization: `Bearer ${session.key}` } : {});

const problemOf = (status, retryAfter, body) =>
  new ApiError(status, body?.detail ?? `HTTP ${status}`, {
    errors: body?.errors ?? [],
    retryAfterS: retryAfter === null ? null : Number(retryAfter),
    body,
  });

/** A file (Blob) goes as what its type says, all else as JSON. */
const contentOf = (body) =>
  body instanceof Blob ? { type: body.type, body } : { type: "application/json", body: JSON.stringify(body) };

async function send(method, path, { query, body, signal, as = "json" } = {}) {
  const content = body === undefined ? null : contentOf(body);
  let answer;
  try {
    answer = await fetch(address(path, query), {
      method,
      signal,
      headers: { ...authorization(), ...(content ? { "Content-Type": content.type } : {}) },
      body: content?.body,
    });
  } catch (err) {
    if (err.name === "AbortError") throw err;
    throw new ApiError(0, i18n.global.t("shell.unreachable"));
  }
  noteDate(answer.headers.get("Date"));
  noteScopes(answer.headers.get("X-API-Scopes"));
  if (answer.ok) return as === "json" ? answer.json() : answer[as]();
  const problem = problemOf(answer.status, answer.headers.get("Retry-After"), await answer.json().catch(() => null));
  if (answer.status === 401) noteRefusedKey();
  if (answer.status === 401 && (await askForKey(problem.detail))) return send(method, path, { query, body, signal, as });
  throw problem;
}

/** multipart/form-data; `onProgress(share)` with 0..1 while it is sent. */
function upload(path, form, { onProgress, signal } = {}) {
  return new Promise((resolve, reject) => {
    const request = new XMLHttpRequest();
    request.open("POST", address(path));
    for (const [name, value] of Object.entries(authorization())) request.setRequestHeader(name, value);
    request.upload.onprogress = (event) => event.lengthComputable && onProgress?.(event.loaded / event.total);
    request.onerror = () => reject(new ApiError(0, i18n.global.t("shell.unreachable")));
    request.onabort = () => reject(new DOMException("aborted", "AbortError"));
    request.onload = async () => {
      let body = null;
      try {
        body = JSON.parse(request.responseText);
      } catch {
        // Not JSON: told by its status.
      }
      if (request.status >= 200 && request.status < 300) return resolve(body);
      const problem = problemOf(request.status, request.getResponseHeader("Retry-After"), body);
      if (request.status === 401) noteRefusedKey();
      if (request.status === 401 && (await askForKey(problem.detail))) {
        return upload(path, form, { onProgress, signal }).then(resolve, reject);
      }
      return reject(problem);
    };
    signal?.addEventListener("abort", () => request.abort());
    request.send(form);
  });
}

export const api = {
  get: (path, query, more) => send("GET", path, { query, ...more }),
  post: (path, body, more) => send("POST", path, { body, ...more }),
  put: (path, body, more) => send("PUT", path, { body, ...more }),
  delete: (path, body, more) => send("DELETE", path, { body, ...more }),
  upload,
};

// What the service may refuse on any page, in the reader's language; what is particular to a page is told there.
import { i18n } from "./i18n.js";

const { t, te } = i18n.global;

const scopes = (text) => text.split("+").map((each) => t(`refusal.scope.${each}`)).join(t("refusal.and"));

/** What the sentences of a kind take from the service's own words. */
const FIGURES = {
  "missing-scope": ({ detail }) => {
    const [, wanted, held] = /lacks the scope (\w+); it has (\S+)/.exec(detail) ?? [];
    return wanted ? { wanted: scopes(wanted), held: scopes(held) } : null;
  },
};

/** A sentence about an ApiError that every page may meet, with the time to wait; "" for one that only its page knows. */
export function commonRefusal(err) {
  const kind = err.body?.type?.split("#")[1] ?? "";
  const key = [kind, `status_${err.status}`].map((each) => `refusal.${each}`).find((each) => te(each));
  const figures = FIGURES[kind]?.(err) ?? {};
  if (!key || figures === null) return "";
  const wait = err.retryAfterS ? ` ${t("refusal.retry_after", { seconds: err.retryAfterS })}` : "";
  return t(key, { detail: err.detail, ...figures }) + wait;
}

/** An error as people read it: in their language where the service's words are known, else as the service said it. */
export const refusalText = (err) => commonRefusal(err) || (err.detail ?? err.message);

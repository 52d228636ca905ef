// What the service may refuse on any page, in the reader's language; what is particular to a page is told there.
import { i18n } from "./i18n.js";
import { worded } from "./words.js";

const { t, te } = i18n.global;

/** ["read", "run"] as people read it. */
export const scopesText = (scopes) => scopes.map((each) => t(`refusal.scope.${each}`)).join(t("refusal.and"));

/** An error as people read it, with the time to wait: in their language where any page may meet it, else as the service said it. */
export function refusalText(err) {
  const key = [err.kind, `status_${err.status}`].map((each) => `refusal.${each}`).find((each) => te(each));
  const own = err.errors?.length > 1 ? "" : worded(err.code, err.params);
  const text = own ? own : key ? t(key, { detail: err.detail }) : (err.detail ?? err.message);
  return err.retryAfterS ? `${text} ${t("refusal.retry_after", { seconds: err.retryAfterS })}` : text;
}

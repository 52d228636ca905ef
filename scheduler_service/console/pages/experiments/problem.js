// What the service refused, in the reader's language where it is a usual refusal; else in the service's own words.
import { i18n } from "../../core/i18n.js";
import { refusalText } from "../../core/refusals.js";

const { t, te } = i18n.global;

/** A sentence about an ApiError; `named` fills in what the sentence of its kind takes. */
export function problemText(err, named = {}) {
  const key = `experiments.problem.${err.kind}`;
  return te(key) ? t(key, { detail: err.message, ...named }) : refusalText(err);
}

/** What is wrong at a place of the form: our own words where there are any, the service's otherwise. */
export function mistakeAt(err, path) {
  const told = err?.of?.(path);
  if (!told) return "";
  const keys = [path.replaceAll(".", "_"), path.split(".")[0]].map((each) => `experiments.form.wrong_at.${each}`);
  const key = keys.find((each) => te(each));
  return key ? t(key) : told;
}

// Which field of the registration form a refusal belongs to.
import { refusalText } from "../../core/refusals.js";
import { said } from "../../core/words.js";

const OF_VERSION = ["version_taken", "versions_exhausted"];

/** {field: message} of the registration form, and the rest under "". A file that is no model belongs to the file. */
export function byField(err) {
  const found = {};
  const put = (field, text) => (found[field] = found[field] ? `${found[field]}; ${text}` : text);
  if (err.status === 413 || err.kind === "invalid-model") put("file", refusalText(err));
  else if (OF_VERSION.includes(err.code)) put("version", refusalText(err));
  else if (err.errors.some(({ loc }) => loc.length)) {
    for (const { loc, ...mistake } of err.errors) put(loc[0] ?? "", [...loc.slice(1, 2).map(() => loc.slice(1).join(".")), said(mistake)].join(": "));
  } else put("", refusalText(err));
  return found;
}

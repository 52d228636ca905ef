// What the service says about models, in the reader's language.
import { i18n } from "../../core/i18n.js";
import { bytes } from "../../core/format.js";
import { refusalText, translated } from "../../core/refusals.js";
import { shortName } from "./records.js";

const { t } = i18n.global;
const statuses = (text) => text.split(" or ").map((each) => t(`status.model.${each}`)).join(t("models.or"));
const percentOf = (text) => text.replace("%", " %");

function userOf(text) {
  const [, name] = /experiment '(.*)'$/.exec(text) ?? [];
  if (text.startsWith("the way back")) return t("models.user.way_back", { name });
  return name ? t("models.user.experiment", { name }) : t("models.user.default");
}

/** [what the service says, key of ours, its figures] */
const KNOWN = [
  [/not a PyTorch zip archive/, "not_zip"],
  [/damaged or truncated zip|PytorchStreamReader|claims more bytes/, "damaged"],
  [/archive is compressed/, "compressed"],
  [/ is empty$/, "empty"],
  [/is larger than (\d+) bytes, the limit for /, "too_large", ([, size]) => ({ size: bytes(Number(size)) })],
  [/archive has \d+ members/, "members"],
  [/reading them took more than|crashed the reader/, "limits"],
  [/fails on the validation set: (.*)/s, "fails", ([, reason]) => ({ reason })],
  [/the file is not JSON; (\w+) needs/, "page_wanted", ([, algorithm]) => ({ algorithm })],
  [/usable (\w+) model: the file must hold exactly/, "page_fields", ([, algorithm]) => ({ algorithm })],
  [/the file describes '(.*)', not '(\w+)'/s, "page_of_other", ([, told, algorithm]) => ({ told, algorithm })],
  [/GA takes no parameters; got (.*)/s, "page_extra", ([, names]) => ({ algorithm: "GA", names })],
  [/CPSAT takes time_limit_s and workers, not (.*)/s, "page_extra", ([, names]) => ({ algorithm: "CPSAT", names })],
  [/(time_limit_s) is .*; it must be over 0 and at most (\d+) seconds/s, "page_seconds", ([, name, most]) => ({ name, most })],
  [/(workers) is .*; it must be a whole number from 1 to (\d+)/s, "page_whole", ([, name, most]) => ({ name, most })],
  [/not a usable (\w+) model: (.*)/s, "unusable", ([, algorithm, reason]) => ({ algorithm, reason })],
  [/^version (\S+) exists already, or did once; the highest is (\S+)/, "version_taken", ([, version, highest]) => ({ version, highest })],
  [/registered already, as (\S+)/, "same_weights", ([, key]) => ({ key })],
  [/is not of the form major\.minor\.patch/, "version_form"],
  [/either version or bump/, "both"],
  [/is (\w+); it may become (.+), not \w+$/, "wrong_move", ([, status, allowed]) => ({ status: t(`status.model.${status}`), allowed: statuses(allowed) })],
  [/was never measured/, "unmeasured"],
  [/bears the tag 'stable'; deploy another/, "is_stable"],
  [/bears the tag stable; it cannot be deleted/, "is_stable"],
  [/bears the tag (.+); it cannot be deleted/, "has_tags", ([, tags]) => ({ tags })],
  [/is deployed; it cannot be deleted/, "is_deployed"],
  [/is used by (.+); it cannot be deleted/, "in_use", ([, user]) => ({ user: userOf(user) })],
  [/is (\w+) already$/, "already", ([, status]) => ({ status: t(`status.model.${status}`) })],
  [/weights of \S+ have changed/, "changed"],
  [/weights of \S+ cannot be read/, "unreadable"],
  [/a decision takes ([\d.]+) s, the limit is ([\d.]+) s/, "slow", ([, took, limit]) => ({ took, limit })],
  [/on average ([\d.]+%) above the lower bound, the plain (\w+) rule's ([\d.]+%)/, "weak", ([, gap, rule, baseline]) => ({ gap: percentOf(gap), rule, baseline: percentOf(baseline) })],
  [/no earlier stable version of (\S+) than/, "no_earlier", ([, algorithm]) => ({ algorithm })],
  [/no model bears the tag '(\w+):stable'/, "no_stable", ([, algorithm]) => ({ algorithm })],
  [/the models in use are unknown/, "unknown_use"],
  [/is for deployed models/, "stable_only"],
  [/no model is called '(.+?)'/, "gone", ([, name]) => ({ name: shortName(name) })],
  [/^performance drop: over (\d+) runs \((\d+) failed\) the mean gap is ([\d.]+%), ([\d.]+%) above/, "drop", ([, runs, failed, gap, excess]) => ({ runs, failed, gap: percentOf(gap), excess: percentOf(excess) })],
  [/^shipped with the project$/, "shipped"],
  [/^(registered|retired) for more than (\d+) days$/, "expired", ([, status, days]) => ({ status: t(`status.model.${status}`), days })],
  [/is not JSON: (.*)/s, "not_json", ([, reason]) => ({ reason })],
  [/^not an object$|is not an object/, "not_object"],
  [/cannot be loaded; known are (.+)$/, "unknown_algorithm", ([, known]) => ({ known })],
];

/** A text of the service as people read it. */
export const explained = (text) => translated(text, KNOWN, "models.problem");

/** An ApiError as people read it. */
export function explain(err) {
  const text = err.detail ?? err.message;
  const own = explained(text);
  return own === text ? refusalText(err) : own;
}

/** {field: message} of the registration form, and the rest under "". A file that is no model belongs to the file. */
export function byField(err) {
  const found = {};
  const put = (field, text) => (found[field] = found[field] ? `${found[field]} ${text}` : text);
  if (err.status === 413 || err.kind === "invalid-model") put("file", explain(err));
  else if (/^version |version '/.test(err.detail)) put("version", explain(err));
  else if (err.errors.some(({ loc }) => loc.length)) {
    for (const { loc, msg } of err.errors) put(loc[0] ?? "", explained(loc.length > 1 ? `${loc.slice(1).join(".")}: ${msg}` : msg));
  } else put("", explain(err));
  return found;
}


// What a move will do, in sentences, from the model, its outlook (GET /models/<key>/outlook) and the list. Pure.
import { i18n } from "../../core/i18n.js";
import { ago } from "../../core/format.js";
import { LATEST, STABLE, shortName } from "./records.js";

const t = (key, figures) => i18n.global.t(`models.${key}`, figures ?? {});
const say = (key, figures) => t(`happens.${key}`, figures);

const userName = ({ role, experiment }) => t(`user.${role}`, { name: experiment });
export const usersOf = (users) => [...new Set(users.map(userName))].join(i18n.global.locale.value === "zh" ? "、" : ", ");
const andOthers = (users) => (users.length ? t("users_more", { users: usersOf(users) }) : "");
const isDefault = ({ role }) => role === "default";

/** Who answers by default, after stable has moved to `after`. */
function defaultAfter(outlook, after) {
  const { name, model_key: key } = outlook.default_model;
  const figures = { name, before: shortName(key), default: shortName(key), after: shortName(after) };
  if (outlook.follows_stable.some(isDefault)) return say("default_follows", figures);
  return say(key === after ? "default_is_it" : "default_stays", figures);
}

function stableMoves(model, outlook, after) {
  const figures = { algorithm: model.algorithm, before: shortName(outlook.stable), after: shortName(after) };
  return [
    say(outlook.stable ? "stable_moves" : "stable_first", figures),
    say("followers", { ...figures, others: andOthers(outlook.follows_stable.filter((user) => !isDefault(user))) }),
    defaultAfter(outlook, after),
  ];
}

const unchanged = (outlook) =>
  say("nobody_notices", {
    stable: outlook.stable ? shortName(outlook.stable) : t("no_stable"),
    default: shortName(outlook.default_model.model_key) || outlook.default_model.name,
  });

const SENTENCES = {
  validated: (model, outlook) => [
    say("measure"),
    say("measure_bar"),
    say("measure_pass", { before: i18n.global.t(`status.model.${model.status}`) }),
    unchanged(outlook),
  ],
  deployed: (model, outlook) => [
    ...stableMoves(model, outlook, model.model_key),
    say("checks", { time: ago(model.validation.measured_at) }),
    ...(outlook.stable ? [say("old_stays", { before: shortName(outlook.stable) }), say("undo_deploy")] : []),
  ],
  default: (model, outlook) => {
    const figures = { before: shortName(outlook.default_model.model_key) || outlook.default_model.name, after: shortName(model.model_key) };
    const held = outlook.held_by_default;
    return [
      say("default_from", figures),
      say("default_experiments", figures),
      ...(held.length ? [say("default_held", { ...figures, names: held.join(", ") })] : []),
      ...(outlook.stable ? [say("default_stable", { stable: shortName(outlook.stable) })] : []),
      say("default_undo", figures),
    ];
  },
  rollback: (model, outlook) => [
    ...stableMoves(model, outlook, outlook.rollback_to),
    say("rollback_left", { before: shortName(outlook.stable) }),
    say("rollback_taken", { after: shortName(outlook.rollback_to) }),
    say("rollback_note"),
    say("rollback_undo", { before: shortName(outlook.stable) }),
  ],
  retired: (model, outlook) => [
    say("retire_meaning"),
    outlook.used_by.length ? say("retire_still", { users: usersOf(outlook.used_by) }) : say("retire_unused"),
    say("retire_expiry"),
    say("retire_undo"),
  ],
  deleted: (model, outlook, models) => {
    const next = models
      .filter((each) => each.algorithm === model.algorithm && each.model_key !== model.model_key)
      .sort((a, b) => b.created_at.localeCompare(a.created_at))[0];
    const latest = next ? say("delete_latest", { name: shortName(next.model_key) }) : say("delete_latest_none", model);
    return [
      say("delete_gone", { name: shortName(model.model_key) }),
      say("delete_trash"),
      say("delete_version", model),
      ...(model.tags.includes(LATEST) ? [latest] : []),
      say("delete_nobody"),
    ];
  },
};

/** The sentences of a move: validated, deployed, default, rollback, retired, deleted. */
export const happens = (move, model, outlook, models) => SENTENCES[move](model, outlook, models);

/** Of giving `tag` to `model`; `users`: who calls its present bearer by that tag. */
export function tagHappens(tag, model, bearer, users) {
  const full = `${model.algorithm}:${tag}`;
  const figures = { tag, full, name: shortName(model.model_key), algorithm: model.algorithm, before: shortName(bearer?.model_key) };
  return [
    say(bearer ? "tag_moves" : "tag_first", figures),
    say("tag_followers", { ...figures, others: andOthers(users) }),
    ...(tag === STABLE ? [say("tag_stable", figures)] : []),
    ...(tag === LATEST ? [say("tag_latest")] : []),
    ...(bearer ? [say("tag_undo")] : []),
  ];
}

/** Of taking `tag` away. */
export const untagHappens = (tag, model, users) => [
  say("untag", { full: `${model.algorithm}:${tag}` }),
  ...(users.length ? [say("untag_users", { users: usersOf(users) })] : []),
];

/** Those of `used_by` who call the model by `tag`. */
export const byTag = (users, algorithm, tag) => users.filter(({ named }) => named === tag || named === `${algorithm}:${tag}`);

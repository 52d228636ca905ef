// Which moves an experiment allows (scheduler_service/experiments/lifecycle.py), and what each does to the traffic.
import { time } from "../../core/format.js";
import { candidateShare, shareOfCandidates } from "./list.js";
import { isOpenEnded, letter, level, runningCandidates, shortModel } from "./wording.js";

export const MOVES = {
  start: { from: ["paused"] },
  pause: { from: ["scheduled", "active"] },
  advance: { from: ["active"] },
  promote: { from: ["scheduled", "active", "paused", "stopped", "completed"] },
  conclude: { from: ["active", "paused", "stopped", "completed"] },
  stop_arm: { from: ["scheduled", "active", "paused"], isGrave: true },
  stop: { from: ["scheduled", "active", "paused"], isGrave: true },
  revert: { from: ["concluded"], isGrave: true },
  archive: { from: ["stopped", "completed", "concluded"] },
};

export function possibleMoves(experiment, defaultModel) {
  if (experiment.archived_at) return [];
  const isPromoted = experiment.promotion && !experiment.promotion.is_reverted;
  const isWayBack = isPromoted && experiment.promotion.model === defaultModel;
  return Object.keys(MOVES).filter(
    (name) =>
      MOVES[name].from.includes(experiment.status) && (name !== "advance" || experiment.rollout) && (name !== "revert" || isPromoted) && (name !== "archive" || !isWayBack) && (name !== "stop_arm" || runningCandidates(experiment).length > 1),
  );
}

/** What the verdict calls for comes first; a promotion that it does not call for last. */
export function inOrder(names, advised) {
  const rank = (name) => (name === advised ? 0 : name === "promote" ? 2 : 1);
  return [...names].sort((one, other) => rank(one) - rank(other));
}

/** The arm whose promotion the move is; null where it is none. */
export function promotedBy(name, { rollout }, arm) {
  if (name === "promote") return arm;
  return name === "advance" && rollout.stage >= rollout.stages.length - 2 ? "model_b" : null;
}

/** Sentences on what the move does to the traffic and to the default model. */
export function happensOf(name, { experiment, defaultModel, results }, { of }, arm) {
  const model = shortModel(defaultModel);
  const share = level(candidateShare(experiment));
  const candidate = shortModel(experiment[name === "promote" ? arm : "model_b"]);
  const promotion = () => [of("act.promote_default", { before: model, model: candidate }), of("act.promote_tag"), of("act.promote_ends")];
  const whole = level(candidateShare({ ...experiment, status: "active" }));
  const toDefault = experiment.status === "active" ? [of("act.to_default", { model, share })] : [];
  const { stages, stage } = experiment.rollout ?? { stages: [], stage: 0 };
  const isLast = stage >= stages.length - 2;
  const promoted = experiment.promotion;
  return {
    start: () => [of("act.start_back", { share: whole, candidate }), ...(isOpenEnded(experiment) ? [] : [of("act.start_ends", { time: time(results.end_time) })]), of("act.default_stays", { model })],
    pause: () => [...toDefault, of("act.pause_keeps"), of("act.default_stays", { model })],
    stop: () => [...toDefault, of("act.stop_final"), of("act.default_stays", { model })],
    stop_arm: () => [of("act.stop_arm_users", { arm: letter(arm), model, share: level(shareOfCandidates(experiment, [arm])) }), of("act.stop_arm_others"), of("act.stop_arm_final"), of("act.default_stays", { model })],
    conclude: () => [of("act.conclude_final", { model }), of("act.conclude_keeps")],
    archive: () => [of("act.archive_list"), of("act.archive_keeps"), of("act.archive_final")],
    advance: () =>
      isLast
        ? [of("act.advance_promotes"), ...promotion()]
        : [of("act.advance_to", { candidate, from: level(stages[stage]), to: level(stages[stage + 1]) }), of("act.advance_skips"), of("act.default_stays", { model })],
    promote: promotion,
    revert: () => [of("act.revert_default", { model, before: shortModel(promoted?.previous_default) }), of("act.revert_tag")],
  }[name]();
}

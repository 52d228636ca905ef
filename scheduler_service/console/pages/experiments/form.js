// What the form of a new experiment holds, and the body of POST /experiments that it stands for.
import { definitions } from "../../core/words.js";

export const LETTERS = ["a", "b", "c", "d", "e", "f", "g", "h"];

/** Percentages where people read them; null where a field is empty. */
export const emptyForm = () => ({
  name: "",
  about: { title: "", hypothesis: "", owner: "" },
  models: ["", ""],
  mode: "split",
  shares: [50, 50],
  metric: "makespan",
  days: 7,
  rollout_days: null, // open-ended
  minimum: 2,
  alpha: 5,
  margin: 5,
  min_samples: 100,
  coverage: 100,
  guardrails: Object.fromEntries(definitions.guardrails.map((each) => [each.name, each.default === null ? null : 100 * each.default])),
  shadow: null, // the service chooses; 0: none
  rollout: { stages: "10, 30, 50, 100", min_samples: 100, min_hours: 24, auto: true, promote_on: "better" },
});

const share = (percentage) => (percentage === null ? null : Math.round(percentage * 1e6) / 1e8);
const given = (entries) => Object.fromEntries(Object.entries(entries).filter(([, value]) => value !== null && value !== ""));

export const evenShares = (count) => Array.from({ length: count }, (_, at) => (at ? Math.floor(100 / count) : 100 - Math.floor(100 / count) * (count - 1)));

/** The shares of the text "10, 30, 50, 100"; NaN for what is no number, which the service refuses by its place. */
export const stagesOf = (text) => text.split(/[\s,;，；、→%]+/).filter(Boolean).map((each) => share(Number(each)));

/** The places of models that an earlier arm has already: an experiment compares different ones. */
export const repeatedModels = (form) => form.models.flatMap((model, at) => (model && form.models.indexOf(model) < at ? [at] : []));

/** The places that are empty and must not be: the service would fill in what the form does not say. */
export function emptyPlaces(form) {
  const { stages, min_hours, min_samples } = form.rollout;
  const needed = {
    experiment_name: form.name.trim(),
    ...Object.fromEntries(form.models.map((model, at) => [`model_${LETTERS[at]}`, model])),
    ...(form.mode === "rollout" ? {} : { duration_days: form.days }),
    alpha: form.alpha,
    margin: form.margin,
    min_samples: form.min_samples,
    ...(form.mode === "rollout" ? { "rollout.stages": stages.trim(), "rollout.min_hours": min_hours, "rollout.min_samples": min_samples } : { coverage: form.coverage }),
  };
  return Object.keys(needed).filter((place) => needed[place] === "" || needed[place] === null);
}

export function bodyOf(form) {
  const isRollout = form.mode === "rollout";
  return given({
    experiment_name: form.name.trim(),
    ...Object.fromEntries(Object.entries(form.about).map(([name, text]) => [name, text.trim()])),
    ...Object.fromEntries(form.models.map((model, at) => [`model_${LETTERS[at]}`, model])),
    traffic_split: isRollout ? null : Object.fromEntries(form.shares.map((each, at) => [`model_${LETTERS[at]}`, share(each ?? 0)])),
    success_metric: form.metric,
    duration_days: isRollout ? form.rollout_days : form.days,
    min_samples: form.min_samples,
    alpha: share(form.alpha),
    margin: share(form.margin),
    coverage: isRollout ? null : share(form.coverage),
    guardrails: Object.fromEntries(Object.entries(form.guardrails).map(([name, margin]) => [name, share(margin)])),
    shadow: share(form.shadow),
    rollout: isRollout ? given({ ...form.rollout, stages: stagesOf(form.rollout.stages) }) : null,
  });
}

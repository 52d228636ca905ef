// Which two models a comparison is of, whatever names they were chosen by.
import { api } from "../../core/api.js";

const keyOf = async (name) => (await api.get(`/models/${encodeURIComponent(name)}`)).model.model_key;
const usual = async () => (await api.get("/models")).default_model.model_key;

/** {keys: of the chosen model and of the one beside it, mistakes: [{loc, msg}]}: one that is gone, or one with itself. */
export async function opponents({ model, compare }, { algorithm }) {
  const chosen = model || (algorithm && `${algorithm}:stable`);
  const mistakes = [];
  const missing = (field) => (err) => {
    if (err.status !== 404) throw err;
    mistakes.push({ loc: [field], msg: err.detail, code: err.code, params: err.params });
  };
  const first = chosen ? keyOf(chosen) : usual();
  const keys = await Promise.all([first.catch(missing("model")), keyOf(compare).catch(missing("compare"))]);
  if (keys[0] && keys[0] === keys[1]) mistakes.push({ loc: ["compare"], code: "compared_with_itself", params: { model: keys[0] } });
  return { keys, mistakes };
}

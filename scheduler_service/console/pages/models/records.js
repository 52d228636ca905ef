// What is known of models, put in order. Pure: plain values in, plain values out.

export const STATUSES = ["deployed", "validated", "registered", "retired"];
export const STABLE = "stable";
export const LATEST = "latest";

/** The figures that a claim and a measurement have in common; lower: whether less is better. */
export const METRICS = [
  { name: "makespan", lower: true },
  { name: "gap", lower: true },
  { name: "resource_utilization", lower: false },
  { name: "execution_time", lower: true },
];

const asNumber = (value) => (typeof value === "number" && Number.isFinite(value) ? value : null);

export const claimed = (model, metric) => asNumber(model.performance?.[metric]);
export const measured = (model, metric) => asNumber(model.verified_metrics?.[metric]);
export const flagOf = (model, metric) => (model.flags ?? []).find((each) => each.metric === metric) ?? null;

/** {algorithm, hash, version} of a model key; null if it is none. */
export function partsOf(key) {
  const found = /^(.+)_([0-9a-f]{8})_v(\d+\.\d+\.\d+)$/.exec(key ?? "");
  return found && { algorithm: found[1], hash: found[2], version: found[3] };
}

/** "DDQN v2.0.0"; the key itself if it is none of ours. */
export const shortName = (key) => {
  const parts = partsOf(key);
  return parts ? `${parts.algorithm} v${parts.version}` : (key ?? "");
};

export const versionNumber = (version) =>
  version.split(".").reduce((number, part) => number * 1_000_000 + Number(part), 0);

const SORTS = {
  model: (each) => `${each.algorithm} ${String(versionNumber(each.version)).padStart(20, "0")}`,
  status: (each) => STATUSES.indexOf(each.status),
  created: (each) => each.created_at,
  ...Object.fromEntries(METRICS.map(({ name }) => [name, (each) => measured(each, name) ?? claimed(each, name)])),
};
export const SORT_NAMES = Object.keys(SORTS);
const DESCENDING_FIRST = ["created", "resource_utilization", "model"];

/** The direction in which people want to see a column first: 1 rising, -1 falling. */
export const firstDirection = (name) => (DESCENDING_FIRST.includes(name) ? -1 : 1);

/** The models that fit all that is asked for, in order; what has no figure comes last either way. */
export function select(models, { algorithm, status, tag, text, sort, direction }) {
  const words = (text ?? "").toLowerCase().split(/\s+/).filter(Boolean);
  const fits = (each) => {
    if (algorithm && each.algorithm !== algorithm) return false;
    if (status && each.status !== status) return false;
    if (tag && !each.tags.includes(tag)) return false;
    const told = `${each.model_key} v${each.version} ${each.description} ${each.created_by} ${each.tags.join(" ")}`.toLowerCase();
    return words.every((word) => told.includes(word));
  };
  const by = SORTS[sort] ?? SORTS.created;
  return models.filter(fits).sort((a, b) => {
    const [x, y] = [by(a), by(b)];
    if (x === null || y === null) return (x === null) - (y === null);
    return x === y ? 0 : (x < y ? -1 : 1) * direction;
  });
}

/** [{algorithm, stable, count}] of the models that there are. */
export function algorithmsOf(models) {
  const found = new Map();
  for (const each of models) {
    const entry = found.get(each.algorithm) ?? { algorithm: each.algorithm, stable: null, count: 0 };
    entry.count += 1;
    if (each.tags.includes(STABLE)) entry.stable = each;
    found.set(each.algorithm, entry);
  }
  return [...found.values()].sort((a, b) => a.algorithm.localeCompare(b.algorithm));
}

export const tagsOf = (models) => [...new Set(models.flatMap((each) => each.tags))].sort();

/** A parameter of the address, which may stand there several times. */
export const one = (value) => (Array.isArray(value) ? value.at(-1) : value) ?? "";

/** Whether a text may be a tag: the registry's rule. */
export const isTag = (text) => /^[A-Za-z][A-Za-z0-9_.-]{0,63}$/.test(text) && !/^.+_v\d+(\.\d+){0,2}$/.test(text);

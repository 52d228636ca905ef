// Two models on the same input: which runs, and what their makespans say. Pure.

/** Random seeds of each model's runs. Were the models alike, all runs of one would be the shorter ones once in 35 times. */
export const N_SEEDS = 4;
export const BUDGET_MS = 1_000; // of each run where the page says nothing: what models take by default differs
const NEAR_H = 1e-6;

/** The first schedule is the same one every time. */
export const seedsFor = (budgetMs) => (budgetMs === 0 ? 1 : N_SEEDS);

/** [model 0 or 1, seed] in the order of the runs: who begins changes with each seed. */
export const turns = (seeds) => Array.from({ length: seeds }, (_, seed) => (seed % 2 ? [1, 0] : [0, 1]).map((model) => [model, seed])).flat();

const isProved = (run) => run.gap !== null && run.gap < 1e-9;

/** What is kept of an answer. */
export const runOf = ({ result }) => ({ makespan: result.makespan, gap: result.gap, isCutShort: result.search_cut_short });

/** Whether further seeds could not change anything: both have the shortest schedule that there is. */
export const isSettled = (runs) => runs.every((each) => each.length > 0 && isProved(each.at(-1)));

/** {n, least, mean, most} of a model's makespans, in hours. */
export function spread(runs) {
  const hours = runs.map((run) => run.makespan);
  return { n: hours.length, least: Math.min(...hours), mean: hours.reduce((sum, each) => sum + each, 0) / hours.length, most: Math.max(...hours) };
}

/**
 * What the runs of two models say: {kind, difference_h}, the mean of the second less that of the first.
 * kind: "proved" (both optimal), "fixed" (no search, so no noise), "same", "few" (stopped before the noise is known),
 * "differs" (every run of one is shorter than every run of the other), "noise" (they overlap).
 */
export function verdict([first, second], budgetMs) {
  const [a, b] = [spread(first), spread(second)];
  const difference_h = b.mean - a.mean;
  const isSame = Math.max(a.most, b.most) - Math.min(a.least, b.least) < NEAR_H;
  const isApart = a.most < b.least - NEAR_H || b.most < a.least - NEAR_H;
  if (isSettled([first, second])) return { kind: "proved", difference_h };
  if (budgetMs === 0) return { kind: isSame ? "same" : "fixed", difference_h };
  if (Math.min(a.n, b.n) < N_SEEDS) return { kind: "few", difference_h };
  if (isSame) return { kind: "same", difference_h };
  return { kind: isApart ? "differs" : "noise", difference_h };
}

/** The key that a model goes by, as far as the list of models tells: a key, `ALGORITHM:tag`, or the default for "". */
export function keyIn({ models, default_model: usual }, name) {
  if (!name) return usual.model_key;
  return models.find(({ model_key, algorithm, tags }) => model_key === name || tags.some((tag) => `${algorithm}:${tag}` === name))?.model_key ?? name;
}

// What is being typed, kept in this browser, so that a reload loses nothing; and as a request.
import { reactive, watch } from "vue";
import { editable, given, newWorkpoint, workpointsOf } from "./exchange.js";
import { SAMPLE, TEAMS } from "./standard.js";

const DRAFT = "scheduler.draft";
const KEPT_AFTER_MS = 400;

const fresh = () => ({
  mode: "params",
  params: [...SAMPLE],
  workpoints: [newWorkpoint("1"), newWorkpoint("2")],
  headcounts: {}, // team of the default plant -> people
  teams: null, // by name, what a file or an earlier request brought beyond that
  isLinear: false,
  options: { model: "", compare: "", budgetMs: null, experiment: "", userId: "" },
  more: {}, // of a file, what this page has no field for
});

function kept() {
  try {
    const read = JSON.parse(localStorage.getItem(DRAFT));
    return read?.params?.length === SAMPLE.length && Array.isArray(read.workpoints) && !Array.isArray(read.teams) ? read : {};
  } catch {
    return {};
  }
}

const PLANT = new Set(TEAMS.map((team) => team.name));
const isHeadcount = ([name, team]) => PLANT.has(name) && Object.keys(team).join() === "headcount";
const withoutAny = (teams, names) => Object.fromEntries(Object.entries(teams ?? {}).filter(([name]) => !names.has(name)));
const nullIfEmpty = (teams) => (Object.keys(teams).length ? teams : null);

export function useDraft() {
  const draft = reactive({ ...fresh(), ...kept() });
  let timer = null;
  watch(draft, () => {
    clearTimeout(timer);
    timer = setTimeout(() => {
      try {
        localStorage.setItem(DRAFT, JSON.stringify(draft));
      } catch {
        // Forbidden or full: it then lasts as long as the page.
      }
    }, KEPT_AFTER_MS);
  });

  function takeTeams(teams) {
    const entries = Object.entries(teams);
    draft.headcounts = Object.fromEntries(entries.filter(isHeadcount).map(([name, { headcount }]) => [name, headcount]));
    draft.teams = nullIfEmpty(Object.fromEntries(entries.filter((entry) => !isHeadcount(entry))));
  }

  /** The steps of a file tell these teams' sizes, and no longer this page. */
  function forgetTeams(workpoints) {
    const sized = workpoints.flatMap(({ steps = [] }) => steps.filter((step) => step.team_size != null).map((step) => step.team));
    const names = new Set(sized);
    Object.assign(draft, { headcounts: withoutAny(draft.headcounts, names), teams: nullIfEmpty(withoutAny(draft.teams, names)) });
  }

  /** Takes over a request as the service read it. What a file does not speak of stays; an earlier run's `isWhole`. */
  function take(request, { isWhole = false } = {}) {
    const { params, workpoints, teams, crew_efficiency, model, experiment, user_id, time_budget_ms, ...more } = request;
    Object.assign(draft, workpoints ? { mode: "workpoints", workpoints: editable(workpoints) } : { mode: "params", params });
    if (teams || isWhole) takeTeams(teams ?? {});
    else forgetTeams(workpoints ?? []);
    if (crew_efficiency || isWhole) draft.isLinear = crew_efficiency === "linear";
    if (Object.keys(more).length) draft.more = more;
    if (experiment && !model) draft.options.model = ""; // which would go before the experiment
    Object.assign(draft.options, given({ model, experiment, userId: user_id == null ? "" : String(user_id), budgetMs: time_budget_ms }));
  }

  /** All that is asked for, in the words of POST /run_algorithm. */
  function request() {
    const { model, experiment, budgetMs, userId } = draft.options;
    const teams = { ...draft.teams };
    for (const [name, headcount] of Object.entries(draft.headcounts)) teams[name] = { ...teams[name], headcount };
    return {
      ...(draft.mode === "params" ? { params: draft.params } : { workpoints: workpointsOf(draft.workpoints) }),
      ...(nullIfEmpty(teams) ? { teams } : {}),
      ...(draft.isLinear ? { crew_efficiency: "linear" } : {}),
      ...given({ model, experiment, time_budget_ms: budgetMs, user_id: userId }),
      ...draft.more,
    };
  }

  /** The body for POST /run_algorithm, answered by `model` if one is given. This page draws its own charts. */
  function body(model) {
    const { charts: _, chart_format: __, experiment, ...asked } = request();
    return { ...asked, ...given(model ? { model } : { experiment }) };
  }

  return { draft, take, request, body };
}

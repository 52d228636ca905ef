// What is being typed, kept in this browser, so that a reload loses nothing; and as the body of a request.
import { reactive, watch } from "vue";
import { fromRequest, newWorkpoint, workpointsOf } from "./exchange.js";
import { SAMPLE } from "./standard.js";

const DRAFT = "scheduler.draft";
const KEPT_AFTER_MS = 400;

const fresh = () => ({
  mode: "params",
  params: [...SAMPLE],
  workpoints: [newWorkpoint("1"), newWorkpoint("2")],
  headcounts: {}, // team -> people, where they differ from the default plant
  teams: null, // as a file or an earlier request brought them
  isLinear: false,
  options: { model: "", compare: "", budgetMs: null, experiment: "", userId: "" },
});

function kept() {
  try {
    const read = JSON.parse(localStorage.getItem(DRAFT));
    return read?.params?.length === SAMPLE.length && Array.isArray(read.workpoints) ? read : {};
  } catch {
    return {};
  }
}

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

  /** Takes over what an earlier request or a file asked for. */
  function take(request) {
    const { params, workpoints, teams, crew_efficiency } = "teams" in request && "crew_efficiency" in request ? request : fromRequest(request);
    const isSimple = teams !== null && !Array.isArray(teams) && Object.values(teams).every((team) => Object.keys(team).join() === "headcount");
    Object.assign(draft, {
      mode: params && !workpoints.length ? "params" : "workpoints",
      ...(params ? { params } : {}),
      ...(workpoints.length ? { workpoints } : {}),
      headcounts: isSimple ? Object.fromEntries(Object.entries(teams).map(([name, { headcount }]) => [name, headcount])) : {},
      teams: isSimple ? null : teams,
      isLinear: crew_efficiency === "linear",
    });
  }

  /** The body for POST /run_algorithm. */
  function body(model) {
    const { options } = draft;
    const changed = Object.fromEntries(Object.entries(draft.headcounts).map(([name, headcount]) => [name, { headcount }]));
    const listed = Array.isArray(draft.teams)
      ? [...draft.teams.filter((team) => !(team.name in changed)), ...Object.entries(changed).map(([name, team]) => ({ name, ...draft.teams.find((each) => each.name === name), ...team }))]
      : { ...draft.teams, ...Object.fromEntries(Object.entries(changed).map(([name, team]) => [name, { ...draft.teams?.[name], ...team }])) };
    return {
      ...(draft.mode === "params" ? { params: draft.params } : { workpoints: workpointsOf(draft.workpoints) }),
      ...(Object.keys(listed).length ? { teams: listed } : {}),
      ...(draft.isLinear ? { crew_efficiency: "linear" } : {}),
      ...(model ? { model } : options.experiment ? { experiment: options.experiment } : {}),
      ...(options.budgetMs === null ? {} : { time_budget_ms: options.budgetMs }),
      ...(options.userId ? { user_id: options.userId } : {}),
    };
  }

  return { draft, take, body };
}

// What the service says about a problem it was given, in the reader's language.
import { i18n } from "../../core/i18n.js";
import { refusalText, translated } from "../../core/refusals.js";

const { t } = i18n.global;
const teamName = (name) => t(`schedule.teams.${name}`, name);

const kindName = (kind) => t(`schedule.kind.${kind.split(" ").at(-1)}`);
const OWNERS = { step: "step", "work point": "workpoint", team: "team" };

/** [what the service says, key of ours, its figures] */
const KNOWN = [
  [/^not a number$/, "no_number"],
  [/^the work point has no steps$/, "no_steps"],
  [/^(\S+) is the chosen model itself: /, "itself", ([, key]) => ({ key })],
  [/^the step has no duration$| wanted is a number of hours$/, "hours"],
  [/ (\S+) is not within (\d+)\.\.(\d+)$/, "range", ([, value, least, most]) => ({ value, least, most })],
  [/ is (.+); wanted is a whole number$/s, "whole", ([, value]) => ({ value })],
  [/ is (.+); wanted is true or false$/s, "yes_or_no", ([, value]) => ({ value })],
  [/_crew (\d+) of step .* is over the headcount of '(.+)', (\d+)$/s, "crew_over", ([, people, team, headcount]) => ({ people, team: teamName(team), headcount })],
  [/^max_crew (\d+) of step .* is below its least crew, (\d+) /s, "crew_below", ([, most, least]) => ({ most, least })],
  [/ takes the whole of '(.+)' \((\d+), dedicated\), more than its max_crew (\d+)$/s, "crew_whole", ([, team, headcount, most]) => ({ team: teamName(team), headcount, most })],
  [/ needs the team '(.*)'; known teams are (.+) \(/s, "no_team", ([, team, known]) => ({ team, known: known.split(", ").map(teamName).join(t("schedule.list_mark")) })],
  [/^the new team '(.+)' has no headcount$/s, "no_headcount", ([, team]) => ({ team })],
  [/^the work point id '(.*)' is used twice$/s, "workpoint_twice", ([, id]) => ({ id })],
  [/^the step id '(.*)' is used twice /s, "step_twice", ([, id]) => ({ id })],
  [/^the predecessor '(.*)' is neither /s, "no_predecessor", ([, name]) => ({ name })],
  [/^the predecessor '(.*)' fits several steps: (.+)$/s, "several_predecessors", ([, name, known]) => ({ name, known })],
  [/ has neither order nor predecessors, /, "no_order"],
  [/ has team_size (\d+) here and (?:headcount )?(\d+) (?:at|in) /, "team_sizes", ([, here, there]) => ({ here, there })],
  [/^the precedence has a cycle: (.+)$/s, "cycle", ([, way]) => ({ way })],
  [/ work points are more than the limit of (\d+)$/, "many_workpoints", ([, limit]) => ({ limit })],
  [/ steps of one work point are more than the limit of (\d+)$/, "many_steps_of_one", ([, limit]) => ({ limit })],
  [/ steps (?:are more )?than the limit of (\d+)$/, "many_steps", ([, limit]) => ({ limit })],
  [/ predecessors are more than the limit of (\d+)$/, "many_predecessors", ([, limit]) => ({ limit })],
  [/ teams are more than the limit of (\d+)$/, "many_teams", ([, limit]) => ({ limit })],
  [/^the steps have more than (\d+) possible crews /, "many_crews", ([, limit]) => ({ limit })],
  [/^must be at most (\d+)$/, "at_most", ([, limit]) => ({ limit })],
  [/ is not greater than 0 and at most /, "hours"],
  [/ is not a text of 1 to (\d+) printable characters$/, "not_printable", ([, most]) => ({ most })],
  [/^a (step|work point|team) has no '(.+)'; it may have /s, "unknown_field", ([, owner, name]) => ({ owner: t(`schedule.${OWNERS[owner]}`), name })],
  [/^is no field here/, "unknown_member"],
  [/^Input should be |^must be a JSON object$/, "bad_value"],
  [/(?:^| )is (null|a boolean|a number|a text|an object|a list); wanted is an? (list|object|text|number)/s, "other_kind", ([, found, wanted]) => ({ found: kindName(found), wanted: kindName(wanted) })],
  [/^no step needs the team '(.*)'; is '(.*)' meant\?$/s, "misnamed_team", ([, name, meant]) => ({ name, meant })],
  [/^params has (\d+) numbers; the standard cycle has (\d+) steps$/, "params_count", ([, n, wanted]) => ({ n, wanted })],
  [/^give either params or workpoints/, "either"],
  [/^workpoints is empty/, "nothing"],
  [/^work point '(.*)' has both steps and params/s, "steps_and_params"],
  [/^the (?:work point|team) under '(.*)' says that its (?:id|name) is '(.*)'$/s, "other_name", ([, key, name]) => ({ key, name })],
  [/^the team '(.*)' is declared twice$/s, "team_twice", ([, name]) => ({ name: teamName(name) })],
  [/^team '(.*)' is dedicated, /s, "dedicated_team", ([, name]) => ({ name: teamName(name) })],
  [/^crew_efficiency is /, "curve"],
  [/^the body is not JSON: .*line (\d+) column (\d+)/s, "not_json", ([, line, column]) => ({ line, column })],
  [/^the body is empty; wanted is a file$/, "no_file"],
  [/stands twice(?: in one object)?$/, "twice"],
  [/^must be a finite number$/, "finite"],
  [/^the (?:step|team) has no \w+$/, "missing"],
  [/^no model is called '(.+?)'/, "no_model", ([, name]) => ({ name })],
];

/** A text of the service as people read it. */
export const explained = (text) => translated(text, KNOWN, "schedule.problem");

/** An ApiError as people read it. */
export function explain(err) {
  const own = explained(err.detail);
  return own === (err.detail ?? "") ? refusalText(err) : own;
}

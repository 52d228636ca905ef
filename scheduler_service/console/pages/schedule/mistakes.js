// What the service finds wrong with a problem, in the reader's language: it says so in English. Whatever it may say of
// what this page can send has a sentence in `texts`; anything else, and an English reader, gets it as it was said.
import { i18n } from "../../core/i18n.js";

const { t, te } = i18n.global;
const text = (group) => `['"](?<${group}>.*)['"]`; // as Python quotes it
const count = (group) => `(?<${group}>-?\\d+)`;
const FIELD = "(?<field>\\w+)";

const SAID = Object.entries({
  workpoint_twice: `the work point id ${text("id")} is used twice`,
  step_twice: `the step id ${text("id")} is used twice in work point .*`,
  no_order: "step .* has neither order nor predecessors.*",
  absent: `the step has no ${FIELD}`,
  duration: `(duration .* of step .*|the duration) is not greater than 0 and at most ${count("limit")} h`,
  text: `${FIELD} is not a text of 1 to ${count("limit")} printable characters`,
  whole: `${FIELD} is .*; wanted is a whole number`,
  range: `(team .*: )?${FIELD} ${count("n")} is not within 1\\.\\.${count("limit")}`,
  team_sizes: `team ${text("team")} has team_size ${count("n")} here and (headcount )?${count("other")} (at|in) .*`,
  team_unknown: `step .* needs the team ${text("team")}; known teams are (?<known>.*) \\(give .*`,
  crew_over: `${FIELD} ${count("n")} of step .* is over the headcount of ${text("team")}, ${count("limit")}`,
  crew_whole: `step .* takes the whole of ${text("team")} \\(${count("n")}, dedicated\\), more than its max_crew ${count("limit")}`,
  crew_order: `max_crew ${count("n")} of step .* is below its least crew, ${count("limit")} .*`,
  predecessor_unknown: `the predecessor ${text("name")} is neither .*`,
  predecessor_several: `the predecessor ${text("name")} fits several steps: (?<known>.*)`,
  cycle: "the precedence has a cycle: (?<known>.*)",
  too_many_workpoints: `\\d+ work points are more than the limit of ${count("limit")}`,
  too_many_steps: `(\\d+ steps( of one work point)? are|there are more steps) .*the limit of ${count("limit")}`,
  too_many_predecessors: `\\d+ predecessors are more than the limit of ${count("limit")}`,
  too_many_teams: `\\d+ teams are more than the limit of ${count("limit")}`,
  too_many_crews: `the steps have more than ${count("limit")} possible crews in all.*`,
  at_most: `must be at most ${count("limit")}`,
}).map(([name, pattern]) => [`schedule.mistakes.${name}`, new RegExp(`^(?:${pattern})$`, "s")]);

export function mistakeText(said) {
  for (const [key, pattern] of SAID) {
    const found = te(key) && pattern.exec(said);
    if (found) return t(key, { ...found.groups, field: t(`schedule.fields.${found.groups?.field ?? "name"}`) });
  }
  return said;
}

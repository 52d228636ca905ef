// The colours of the teams, the same in every chart of a schedule.
import { TEAMS } from "./standard.js";

/** Told apart by colour-blind readers (Okabe & Ito 2008); the same as in the service's own pictures. */
export const COLOURS = ["#0072B2", "#E69F00", "#009E73", "#CC79A7", "#56B4E9", "#D55E00", "#F0E442", "#999999"];
export const ON_COLOUR = ["#fff", "#1b2733", "#fff", "#1b2733", "#1b2733", "#fff", "#1b2733", "#1b2733"];

/** team -> its place in COLOURS. */
export function teamColours(result) {
  const known = TEAMS.map((team) => team.name);
  const others = Object.keys(result.team_utilization).filter((name) => !known.includes(name));
  return new Map([...known, ...others].map((name, at) => [name, at % COLOURS.length]));
}

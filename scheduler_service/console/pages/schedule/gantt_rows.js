// Where the bars of a Gantt chart go, in three views: rows of steps, of work points in lanes, of people by team.
const NEAR_H = 1e-6;
const MOST_OF_A_NAME = 10; // signs; a long name leaves room for what stands beside it
const MOST_OF_AN_ID = 16;

const byStart = (a, b) => a.start - b.start || a.end - b.end;

/** For each step (by start) the lowest lane that is free while it lasts. */
function inLanes(steps) {
  const free = [];
  return steps.toSorted(byStart).map((step) => {
    let lane = free.findIndex((until) => until <= step.start + NEAR_H);
    if (lane < 0) lane = free.push(0) - 1;
    free[lane] = step.end;
    return { step, lane };
  });
}

/** For each step (by start) runs of people who do it: [first, how many], in one run where a gap is wide enough. */
function inSeats(steps, headcount) {
  const freeFrom = Array(headcount).fill(0);
  return steps.toSorted(byStart).map((step) => {
    const free = freeFrom.flatMap((hour, person) => (hour <= step.start + NEAR_H ? [person] : []));
    const runs = runsOf(free);
    const fitting = runs.filter(([, people]) => people >= step.workers).sort((a, b) => a[1] - b[1]);
    const seats = fitting.length ? [[fitting[0][0], step.workers]] : runsOf(free.slice(0, step.workers));
    for (const [first, people] of seats) freeFrom.fill(step.end, first, first + people);
    return { step, seats };
  });
}

const runsOf = (numbers) =>
  numbers.reduce((runs, number) => {
    const last = runs.at(-1);
    if (last && last[0] + last[1] === number) last[1] += 1;
    else runs.push([number, 1]);
    return runs;
  }, []);

const cut = (text, most) => ([...text].length > most ? `${[...text].slice(0, most - 1).join("")}…` : text);

const isWord = (sign) => /[0-9a-z]/i.test(sign ?? "");

/** Whether a work point's name tells its number already, as in "工作点1". */
function tellsId(name, id) {
  const at = name.indexOf(id);
  return at >= 0 && !isWord(name[at - 1]) && !isWord(name[at + id.length]);
}

/** The number of a work point, by which people know the equipment, and its name. */
export function placeOf({ workpoint_id: id, workpoint_name: name }) {
  if (tellsId(name, id)) return cut(name, MOST_OF_A_NAME + MOST_OF_AN_ID);
  return `${cut(id, MOST_OF_AN_ID)} ${cut(name, MOST_OF_A_NAME)}`;
}

/** Where there is little room: the number, or the name that tells it. */
const shortPlaceOf = (step) => (tellsId(step.workpoint_name, step.workpoint_id) ? cut(step.workpoint_name, MOST_OF_A_NAME) : cut(step.workpoint_id, MOST_OF_AN_ID));

/** Steps by work point or by team, in the order in which these are answered. */
function grouped(steps, view) {
  const groups = new Map();
  for (const step of steps) {
    const key = view === "team" ? step.team : step.workpoint_id;
    if (!groups.has(key)) groups.set(key, []);
    groups.get(key).push(step);
  }
  return groups;
}

/** What each view makes of the steps of a group: {rows, text or texts, bars: [{row, rows, step, text, uncut}]}, rows from 0 on; `uncut` begins the text. */
const GROUPS = {
  process(steps, { words, several, isNarrow }) {
    const inOrder = steps.toSorted(byStart);
    const named = (step) => `${isNarrow ? shortPlaceOf(step) : placeOf(step)} ${words.step(step.name)}`;
    return {
      rows: steps.length,
      texts: inOrder.map((step) => (several ? named(step) : words.step(step.name))),
      bars: inOrder.map((step, row) => ({ row, rows: 1, step, text: words.crew(step.workers) })),
    };
  },
  workpoint(steps, { words }) {
    const placed = inLanes(steps);
    return {
      rows: Math.max(...placed.map(({ lane }) => lane)) + 1,
      text: placeOf(steps[0]),
      bars: placed.map(({ step, lane }) => ({ row: lane, rows: 1, step, text: `${words.step(step.name)} ${words.crew(step.workers)}` })),
    };
  },
  team(steps, { words, several, headcounts }) {
    const [{ team }] = steps;
    const people = Math.max(headcounts[team] ?? 0, ...steps.map((step) => step.workers));
    const bars = inSeats(steps, people).flatMap(({ step, seats }) => {
      const widest = seats.toSorted((a, b) => b[1] - a[1])[0];
      const text = `${several ? `${shortPlaceOf(step)} ` : ""}${words.step(step.name)} ${words.crew(step.workers)}`;
      const uncut = several ? shortPlaceOf(step) : ""; // half a number is another one's
      return seats.map((seat) => ({ row: seat[0], rows: seat[1], step, uncut, text: seat === widest ? text : "" }));
    });
    return { rows: people, text: words.team(team, people), bars };
  },
};

/** {rows: how many, groups: [{top, bottom, text or texts}], bars: [{row, rows, step, text}]}. */
export function layout(result, view, words, isNarrow) {
  const steps = result.schedule_details;
  const several = new Set(steps.map((step) => step.workpoint_id)).size > 1;
  const groups = [];
  const bars = [];
  let top = 0;
  for (const mine of grouped(steps, view).values()) {
    const { rows, bars: own, ...named } = GROUPS[view](mine, { words, several, isNarrow, headcounts: result.team_headcount });
    groups.push({ top, bottom: top + rows - 1, ...named });
    for (const bar of own) bars.push({ ...bar, row: top + bar.row });
    top += rows;
  }
  return { rows: top, groups, bars };
}

/** What stands beside a row while the rows first..last are seen: a group's name in the middle of what is seen of it. */
export function rowLabel(groups, row, { first, last }) {
  const { top, bottom, text, texts } = groups.find((group) => row <= group.bottom);
  if (texts) return texts[row - top];
  return row === (Math.max(top, first) + Math.min(bottom, last)) >> 1 ? text : "";
}

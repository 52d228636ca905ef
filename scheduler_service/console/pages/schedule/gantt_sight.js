// Which hours and rows of a Gantt chart are in sight. Pure.
const LEAST_H = 0.5; // in sight at the closest
const STEP = 1.6; // of a press on + or -
const DOUBLING_PX = 240; // of the wheel
const PAN = 0.2; // of what is in sight, at a press on an arrow
const LINE_PX = 16;

export const STEPS = { in: 1 / STEP, out: STEP };

/** The span {from, to} (hours within 0..endH) made `factor` times as long; the hour `around` stays where it is. */
export function zoomed({ from, to }, factor, endH, around = (from + to) / 2) {
  const length = Math.min(endH, Math.max(Math.min(LEAST_H, endH), (to - from) * factor));
  const share = (around - from) / (to - from);
  const begin = Math.min(Math.max(0, around - share * length), endH - length);
  return { from: begin, to: begin + length };
}

/** The span moved by a part of itself, earlier (-1) or later (1), as far as there are hours. */
export function panned({ from, to }, direction, endH) {
  const move = Math.min(Math.max(-from, direction * PAN * (to - from)), endH - to);
  return { from: from + move, to: to + move };
}

/** How much longer the span becomes by a turn of the wheel. */
export const wheelFactor = ({ deltaY, deltaMode }) => 2 ** ((deltaMode ? LINE_PX * deltaY : deltaY) / DOUBLING_PX);

/** How many of `rows` are seen at once where the window has so many pixels. */
export const rowsSeen = (rows, rowPx, roomPx) => Math.min(rows, Math.max(8, Math.floor(roomPx / rowPx)));

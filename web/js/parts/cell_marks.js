/** What is wrong with a cell is told by more than a colour: a cross, or a stroke. */

/** @typedef {{x: number, y: number, width: number, height: number}} Box in pixels */

/** Pixels below which a mark in a cell is only noise. */
const LEAST = 6;
/** Strokes in a cell. @type {Record<string, number>} */
const MARKS = { failed: 2, away: 2, retrying: 1, blocked: 1 };

/** Where the mark of a cell with a name goes. @param {Box} box @returns {Box} */
export const cornerOf = ({ x, y, width, height }) => ({ x: x + width - 14, y: y + height - 13, width: 8, height: 8 });

/** @param {CanvasRenderingContext2D} paper @param {Box} box @param {string} state @param {string} colour */
export function paintMark(paper, { x, y, width, height }, state, colour) {
  if (!MARKS[state] || height < LEAST) return;
  paper.strokeStyle = colour;
  paper.lineWidth = 1.5;
  paper.beginPath();
  paper.moveTo(x, y + height);
  paper.lineTo(x + width, y);
  if (MARKS[state] > 1) {
    paper.moveTo(x, y);
    paper.lineTo(x + width, y + height);
  }
  paper.stroke();
}

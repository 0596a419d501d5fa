/** Names that fit into a cell: they differ at their ends, so that the middle goes. */

/** @param {CanvasRenderingContext2D} paper @param {string} text @param {number} width */
export function fitted(paper, text, width) {
  if (paper.measureText(text).width <= width) return text;
  let kept = text.length - 1;
  while (kept > 1 && paper.measureText(withoutMiddle(text, kept)).width > width) kept -= 1;
  return withoutMiddle(text, kept);
}

/** @param {string} text @param {number} kept */
const withoutMiddle = (text, kept) => `${text.slice(0, Math.ceil(kept / 2))}…${text.slice(text.length - Math.floor(kept / 2))}`;

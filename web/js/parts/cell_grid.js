/** How large the cells of a map are, for so many items in so much room. */

/** Few nodes: cells with names, and fewer still, with a second line of what is to be said. */
const NAMED = { width: 150, height: 34, gap: 4, most: 60 };
const NOTED = { width: 158, height: 50, gap: 5, most: 24 };
const SMALLEST = 4;
export const LARGEST = 32;
/** Pixels that the whole map may be high before cells shrink. */
const HEIGHT = 360;

/** @typedef {{width: number, height: number, gap: number, most: number}} NamedCells */

/**
 * The largest cells with which so many items are not higher than the map may be.
 * @param {number} count
 * @param {number} width
 */
export function gridFor(count, width) {
  if (count <= NOTED.most) return { ...namedGrid(width, NOTED), noted: true };
  if (count <= NAMED.most) return namedGrid(width, NAMED);
  const ideal = Math.floor(Math.sqrt((width * HEIGHT) / count));
  const side = Math.max(SMALLEST, Math.min(ideal, LARGEST));
  const gap = 1 + Number(side >= 8) + Number(side >= 14);
  const columns = Math.max(1, Math.floor(width / side));
  return { columns, width: width / columns, height: side, gap, named: false, noted: false };
}

/** @param {number} width @param {NamedCells} cells */
function namedGrid(width, { width: least, height, gap }) {
  const columns = Math.max(1, Math.floor(width / least));
  return { columns, width: width / columns, height, gap, named: true, noted: false };
}

/**
 * What becomes of one node of a task when news of it comes: by the list, a live frame or an event.
 * They overtake one another; the attempt, and whether it is over, tell which is the older.
 */

/** @typedef {{state: string, attempt: number}} Moment */

const ENDED = new Set(["succeeded", "failed", "retrying", "cancelled"]);
const SETTLED = new Set(["succeeded", "failed", "cancelled"]);

/** @param {{state: string}} node @returns {boolean} whether nothing happens to it any more */
export const isSettled = (node) => SETTLED.has(node.state);

/** @param {Moment} seen @param {Moment} known @returns {boolean} whether `seen` must not take the place of `known` */
export function isOlderNode(seen, known) {
  if (isSettled(known)) return !isSettled(seen);
  if (seen.attempt !== known.attempt) return seen.attempt < known.attempt;
  return ENDED.has(known.state) && !ENDED.has(seen.state);
}

/**
 * A node as `/nodes` and `node.…` events show it, in place of what was known.
 * @param {Api.TaskNode | undefined} known
 * @param {Api.TaskNode} record
 */
export function withRecord(known, record) {
  if (known !== undefined && isOlderNode(record, known)) return known;
  // Shown nowhere, and 71 characters for every image of 10,000 nodes.
  for (const image of record.images) image.digest = undefined;
  return record;
}

/**
 * A node with a live frame's news; what a frame leaves out stays while nothing else changes.
 * @param {Api.TaskNode} known @param {Api.LiveNode} frame
 * @param {string} time of the frame: when a pull began, as far as it was seen from here
 */
export function withFrame(known, frame, time) {
  if (isOlderNode(frame, known)) return known;
  const images = frame.images.map((image) => withImage(known, image));
  if (frame.attempt === known.attempt && frame.state === known.state) {
    return { ...known, ...frame, images };
  }
  const { batch } = known;
  const startedAt = frame.attempt === known.attempt ? known.startedAt : undefined;
  const begun = frame.state === "pulling" ? (startedAt ?? time) : startedAt;
  return { batch, startedAt: begun, ...frame, images };
}

/** @param {Api.TaskNode} known @param {Api.LiveImage} image @returns {Api.NodeImage} */
function withImage(known, image) {
  const before = known.images.find((one) => one.image === image.image);
  return before?.state === image.state ? { ...before, ...image } : image;
}

/**
 * How much of a node's images is there, from 0 to 1; whole images count where bytes are unknown.
 * @param {Api.TaskNode} node
 */
export function shareDone(node) {
  if (node.state === "succeeded") return 1;
  let done = 0;
  for (const image of node.images) {
    if (image.state === "pulled" || image.state === "present") done += 1;
    else if (image.bytes && image.totalBytes) done += Math.min(image.bytes / image.totalBytes, 1);
  }
  return node.images.length ? done / node.images.length : 0;
}

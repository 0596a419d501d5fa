/**
 * Which of two states of one task is the older. Lists come by GET and events by the stream, so an
 * event may arrive after an answer that already knew more. Nothing of that is ever shown: what only
 * grows in a task's life tells which state came first.
 */

/** @type {Record<string, number>} */
const RANK = { pending: 0, running: 1, completed: 2, failed: 2, cancelled: 2 };

/** @param {{status: string}} task */
export const isOver = (task) => RANK[task.status] === 2;

/**
 * @param {Api.Task} seen a task as REST and events show it
 * @param {Api.Task} known the same task, as shown now
 * @returns {boolean} whether `seen` must not take the place of `known`
 */
export function isOlder(seen, known) {
  if (RANK[seen.status] !== RANK[known.status]) return RANK[seen.status] < RANK[known.status];
  if (known.status !== "running") return false;
  const [before, after] = [marks(seen), marks(known)];
  const differing = before.findIndex((mark, index) => mark !== after[index]);
  if (differing >= 0) return before.some((mark, index) => mark < after[index]);
  // As many nodes failed and wait for a retry: then bytes have not been thrown away either.
  const sameRetries = seen.progress.retryingNodes === known.progress.retryingNodes;
  return sameRetries && (seen.progress.bytes ?? 0) < (known.progress.bytes ?? 0);
}

/** @param {Api.Task} task */
const marks = ({ retryCount, progress }) => [
  progress.completedNodes,
  progress.failedNodes,
  progress.currentBatch,
  retryCount,
];

/**
 * The newer of two states; details that a summary leaves out are kept.
 * @param {Api.Task | undefined} known @param {Api.Task} seen
 */
export function newer(known, seen) {
  if (known === undefined) return seen;
  if (isOlder(seen, known)) return known;
  const { failedNodeDetails, queuePlace } = known;
  return { ...(failedNodeDetails && { failedNodeDetails }), ...(queuePlace && { queuePlace }), ...seen };
}

/** The status as people are told it: also that a task is held back, and that not all of it is well. @param {Api.Task} task */
export function standing({ status, paused, progress }) {
  if (status === "running" && paused) return "paused";
  return status === "completed" && progress.failedNodes > 0 ? "partly" : status;
}

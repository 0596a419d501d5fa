/**
 * How many nodes of a task are in which state, so that everything on its page says the same: the
 * task's own numbers come once a second, its nodes' states as they happen.
 */

import { isOver } from "./task_order.js";

/** @param {{state: string}[]} nodes @returns {Record<string, number>} states that occur */
export function countStates(nodes) {
  /** @type {Record<string, number>} */
  const counts = {};
  for (const { state } of nodes) counts[state] = (counts[state] ?? 0) + 1;
  return counts;
}

/**
 * A running task's progress by its nodes, once they are all known; otherwise as the task tells it.
 * @param {Api.Task} task @param {{nodes: Api.TaskNode[], loading: number | null}} watch
 */
export function progressSeen(task, { nodes, loading }) {
  if (isOver(task) || loading !== null || nodes.length === 0) return task.progress;
  const counts = countStates(nodes);
  const of = (/** @type {string} */ state) => counts[state] ?? 0;
  return {
    ...task.progress,
    totalNodes: nodes.length,
    completedNodes: of("succeeded"),
    failedNodes: of("failed"),
    pullingNodes: of("pulling"),
    assignedNodes: of("assigned"),
    retryingNodes: of("retrying"),
    waitingNodes: of("waiting"),
    percentage: Math.round((1_000 * of("succeeded")) / nodes.length) / 10,
  };
}

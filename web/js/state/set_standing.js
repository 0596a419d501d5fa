/** How a warm set is as a whole, in one word, and what keeps it from being warm. */

import { number } from "../format.js";
import { t } from "../language.js";

/** States of a set's node, the one that matters most last. */
export const NODE_STATES = ["warm", "pulling", "waiting", "blocked", "failed"];

/** @param {Api.WarmSet} set @param {string} type */
export const conditionOf = (set, type) => set.conditions.find((one) => one.type === type);

/** @param {Api.WarmSet} set @returns {"paused" | "degraded" | "progressing" | "ready"} */
export function standingOf(set) {
  if (set.paused) return "paused";
  if (conditionOf(set, "Degraded")?.status) return "degraded";
  return conditionOf(set, "Ready")?.status ? "ready" : "progressing";
}

/** `3 Cordoned, 1 DiskFull`: the most frequent first. @param {Api.WarmSet} set */
export function reasonsOf(set) {
  const sorted = Object.entries(set.reasons).sort(([, one], [, other]) => other - one);
  return sorted.map(([reason, n]) => `${number(n)} ${reason}`).join(t("list.separator"));
}

/**
 * @typedef {{reason: string, nodes: Api.WarmSetNode[]}} ReasonGroup
 */

/**
 * Nodes that are blocked or failed by their reason, the most frequent first.
 * @param {Api.WarmSetNode[]} nodes
 * @returns {ReasonGroup[]}
 */
export function byReason(nodes) {
  /** @type {Map<string, Api.WarmSetNode[]>} */
  const groups = new Map();
  for (const node of nodes) {
    if (node.reason) groups.set(node.reason, [...(groups.get(node.reason) ?? []), node]);
  }
  const found = [...groups].map(([reason, own]) => ({ reason, nodes: own }));
  return found.sort((one, other) => other.nodes.length - one.nodes.length);
}

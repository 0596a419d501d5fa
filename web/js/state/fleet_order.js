/** Nodes in the order that a viewer wants, and found by words: what 10,000 names cost is paid once, not at each key. */

import { CONDITIONS, condition } from "./fleet.js";

const collator = new Intl.Collator("en", { numeric: true });

/** What is known of a node before anything is sorted. @typedef {{node: Api.Node, state: string, words: string}} Entry */

/** What a column is sorted by. @type {Record<string, (entry: Entry) => string | number>} */
const VALUES = {
  node: () => 0,
  state: ({ state }) => CONDITIONS.indexOf(state),
  pulling: ({ node }) => -node.pulling.length,
  disk: ({ node }) => node.imageDisk?.freeBytes ?? Number.POSITIVE_INFINITY,
  runtime: ({ node }) => node.runtime ?? "",
  agent: ({ node }) => node.agentVersion ?? "",
  seen: ({ node }) => (node.connected ? "~" : (node.lastSeen ?? "")),
};

export class FleetOrder {
  /** @type {Map<string, number>} the place of each name among all */
  #ranks = new Map();
  /** @type {WeakMap<Api.Node, Entry>} */
  #entries = new WeakMap();

  /** @param {Map<string, Api.Node>} nodes @returns {Entry[]} by name, numbers in it as numbers */
  byName(nodes) {
    const names = [...nodes.keys()];
    if (names.length !== this.#ranks.size || names.some((name) => !this.#ranks.has(name))) {
      names.sort(collator.compare);
      this.#ranks = new Map(names.map((name, rank) => [name, rank]));
    }
    const entries = Array.from(nodes.values(), (node) => this.#entry(node));
    return entries.sort((one, other) => this.#rank(one) - this.#rank(other));
  }

  /**
   * What is equal stays in the order that it had.
   * @param {Entry[]} entries by name
   * @param {string} sort a column or a label's key (`label:zone`); `-` before it turns it round
   */
  sorted(entries, sort) {
    const key = sort.replace("-", "");
    const value = VALUES[key] ?? (({ node }) => node.labels[key.replace("label:", "")] ?? "\uffff");
    const turn = sort.startsWith("-") ? -1 : 1;
    const keyed = entries.map((entry, place) => ({ entry, place, value: value(entry) }));
    keyed.sort((one, other) => turn * (compare(one.value, other.value) || one.place - other.place));
    return keyed.map(({ entry }) => entry);
  }

  /** @param {Entry} entry */
  #rank = ({ node }) => this.#ranks.get(node.name) ?? 0;

  /** @param {Api.Node} node */
  #entry(node) {
    const known = this.#entries.get(node);
    if (known) return known;
    const labels = Object.entries(node.labels).map(([key, value]) => `${key}=${value}`);
    const entry = { node, state: condition(node), words: [node.name, ...labels].join(" ").toLowerCase() };
    this.#entries.set(node, entry);
    return entry;
  }
}

/** @param {string | number} one @param {string | number} other */
function compare(one, other) {
  if (one === other) return 0;
  return typeof one === "number" ? one - Number(other) : collator.compare(one, String(other));
}

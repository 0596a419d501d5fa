/**
 * All nodes of a warm set. They are asked for once; after that only those that are not warm, which
 * are few: whoever is not among them has become warm.
 */

import { everyPage } from "../parts/export.js";
import { get } from "../server.js";
import { NODE_STATES } from "./set_standing.js";

const PAGE = 1_000;
const COLD = NODE_STATES.filter((state) => state !== "warm").join(",");

export class SetNodes {
  /** @type {Api.WarmSetNode[]} by name */
  all = [];

  /** @param {string} path of the set @param {AbortSignal} signal */
  constructor(path, signal) {
    this.path = path;
    this.signal = signal;
  }

  /** @param {Api.WarmSet} set as it is now */
  async load(set) {
    const { total, warm } = set.nodes;
    const isMostlyKnown = this.all.length === total && warm * 2 >= total;
    if (isMostlyKnown && this.#takes(await this.#ask(COLD))) return;
    this.all = await this.#ask("");
  }

  /** Takes these as all that are not warm, unless one of them is new. @param {Api.WarmSetNode[]} cold */
  #takes(cold) {
    const byName = new Map(cold.map((node) => [node.nodeName, node]));
    const known = this.all.filter(({ nodeName }) => byName.has(nodeName));
    if (known.length !== cold.length) return false;
    this.all = this.all.map((node) => byName.get(node.nodeName) ?? asWarm(node));
    return true;
  }

  /** @param {string} state */
  #ask(state) {
    return everyPage(async (offset) => {
      const query = new URLSearchParams({ state, limit: String(PAGE), offset: String(offset) });
      const page = /** @type {Api.WarmSetNodeList} */ (await get(`${this.path}/nodes?${query}`, this.signal));
      return { items: page.nodes, total: page.total };
    });
  }
}

/** @param {Api.WarmSetNode} node @returns {Api.WarmSetNode} */
const asWarm = (node) => (node.state === "warm" ? node : { nodeName: node.nodeName, state: "warm", images: node.images.map((one) => ({ ...one, present: true })) });

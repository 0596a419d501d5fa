/**
 * All nodes of the fleet, loaded once and kept new by live frames.
 */

import { EventStream, stateAfter } from "../event_stream.js";
import { get } from "../server.js";

const PAGE = 1_000;
/** A smaller free share of the image disk than this is worth a look: the kubelet cleans up at 15 %. */
const NEARLY_FULL = 0.15;

export const CONDITIONS = ["away", "blocked", "full", "busy", "idle"];

/**
 * What a viewer needs to know of a node in one word; the worst comes first.
 * @param {Api.Node} node
 */
export function condition(node) {
  if (!node.schedulable || node.message) return "blocked";
  if (!node.connected) return "away";
  const disk = node.imageDisk;
  if (disk && disk.totalBytes > 0 && disk.freeBytes / disk.totalBytes < NEARLY_FULL) return "full";
  return node.pulling.length > 0 ? "busy" : "idle";
}

export class Fleet {
  /** @type {Map<string, Api.Node>} */
  nodes = new Map();
  /** @type {number | null} how many are being loaded, 0 while nobody knows; null when all are there */
  loading = 0;
  #clock = 0;
  /** @type {Map<string, number>} */
  #touched = new Map();
  #asked = 0;
  #stream;

  /**
   * @param {import("../event_stream.js").Watcher} listener
   */
  constructor(listener) {
    this.listener = listener;
    this.#stream = new EventStream("/events", {
      onEvent: (type, data) => type === "agents" && this.#take(JSON.parse(data)),
      onOpen: () => this.#load(),
      onState: (state) => listener.onState(state),
      ask: () => this.#load(),
    });
  }

  start() {
    this.#stream.start();
  }

  stop() {
    this.#asked = -1;
    this.#stream.stop();
  }

  /** @param {Api.LiveAgents} frame */
  #take({ nodes, gone }) {
    this.#clock += 1;
    for (const node of nodes) {
      this.nodes.set(node.name, node);
      this.#touched.set(node.name, this.#clock);
    }
    for (const name of gone) {
      this.nodes.delete(name);
      this.#touched.set(name, this.#clock);
    }
    this.listener.onChange();
  }

  /** @returns {Promise<import("../event_stream.js").AskedState>} */
  async #load() {
    if (this.#asked < 0) return "over";
    const asked = ++this.#asked;
    try {
      await this.#loadPages(() => asked !== this.#asked);
      return "slow";
    } catch (problem) {
      if (asked === this.#asked) this.listener.onProblem(problem);
      return stateAfter(problem);
    }
  }

  /** @param {() => boolean} isStale */
  async #loadPages(isStale) {
    const began = this.#clock;
    /** @type {Set<string>} */
    const names = new Set();
    for (let offset = 0, total = 1; offset < total; offset += PAGE) {
      const before = this.#clock;
      /** @type {Api.NodeList} */
      const page = await get(`/nodes?limit=${PAGE}&offset=${offset}`);
      if (isStale()) return;
      total = page.total;
      for (const node of page.nodes) {
        names.add(node.name);
        if (!this.#isTouchedSince(node.name, before)) this.nodes.set(node.name, node);
      }
      this.loading = total;
      this.listener.onChange();
    }
    this.#dropAllBut(names, began);
    this.loading = null;
    this.listener.onChange();
  }

  /** @param {string} name @param {number} clock */
  #isTouchedSince = (name, clock) => (this.#touched.get(name) ?? 0) > clock;

  /** @param {Set<string>} names @param {number} began */
  #dropAllBut(names, began) {
    for (const name of this.nodes.keys()) {
      if (!names.has(name) && !this.#isTouchedSince(name, began)) this.nodes.delete(name);
    }
    this.#touched.clear();
  }
}

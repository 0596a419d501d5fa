/** The nodes of a task as a map. */

import { number, percent, speed } from "../format.js";
import { t } from "../language.js";
import { shareDone } from "../state/node_order.js";
import { isOver } from "../state/task_order.js";
import { wordOf } from "./chips.js";
import { NodeDetails } from "./node_details.js";
import { NodeMap } from "./node_map.js";

const STATES = ["succeeded", "pulling", "assigned", "retrying", "failed", "waiting", "cancelled"];

/** @type {import("./heat_map.js").Nature<Api.TaskNode>} */
const NATURE = {
  name: (node) => node.nodeName,
  state: (node) => node.state,
  note: noteOfNode,
  share: shareDone,
  states: STATES,
};

/** What is to be said of a node in three words: how far, or why not. @param {Api.TaskNode} node */
function noteOfNode(node) {
  if (node.state === "failed" || node.state === "retrying") return node.reason ?? "";
  if (node.state !== "pulling") return wordOf("state", node.state);
  const rate = node.images.reduce((sum, image) => sum + (image.bytesPerSecond ?? 0), 0);
  const share = percent(Math.floor(100 * shareDone(node)));
  return rate > 0 ? `${share} · ${speed(rate)}` : share;
}

export class TaskMap {
  #details = new NodeDetails(() => this.#map.release());
  /** @type {NodeMap<Api.TaskNode>} */
  #map;

  /** @param {import("../app.js").Shell} shell @param {import("../router.js").Address} address */
  constructor(shell, address) {
    this.#map = new NodeMap(shell, {
      words: "state",
      nature: NATURE,
      hint: t("map.hint"),
      details: this.#details.element,
      address,
      onChoose: (node, isPinned) => this.#details.show(node, isPinned),
    });
    this.element = this.#map.element;
  }

  start() {
    this.#map.start();
  }

  stop() {
    this.#map.stop();
  }

  /** Leads to a node. @param {string} name */
  lead(name) {
    this.#map.lead(name);
  }

  /** @param {Api.Task} task @param {import("../state/task_watch.js").TaskWatch} watch */
  update(task, watch) {
    const { nodes, loading } = watch;
    const none = t(isOver(task) && loading === null ? "map.nothing" : "map.none");
    this.#map.show(nodes, { note: noteOf(nodes.length, loading), none, changed: watch.takeChanged() });
  }
}

/** @param {number} count @param {number | null} loading */
function noteOf(count, loading) {
  if (loading !== null) return t("map.loading", { n: count, total: loading });
  return count ? number(count) : "";
}

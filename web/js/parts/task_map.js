/** The nodes of a task as a map, with its legend and the node that is pointed at. */

import { h, setText } from "../dom.js";
import { number, percent, speed } from "../format.js";
import { t } from "../language.js";
import { countStates } from "../state/node_counts.js";
import { shareDone } from "../state/node_order.js";
import { isOver } from "../state/task_order.js";
import { wordOf } from "./chips.js";
import { HeatMap } from "./heat_map.js";
import { Legend } from "./legend.js";
import { NodeDetails } from "./node_details.js";
import { SearchBox } from "./search_box.js";

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
  #note = h("span", { class: "count" });
  #none = h("p", { class: "hint" });
  #details = new NodeDetails(() => this.#map.release());
  #map = new HeatMap(NATURE, (node, byKey) => this.#choose(node, byKey));
  #legend = new Legend("state", STATES, (state) => this.#map.only(state));
  #find = new SearchBox(t("map.find"), (text) => this.#map.find(text));
  #body = h("div", { class: "map-body" }, h("div", { class: "map-side" }, this.#map.element), this.#details.element);
  element = h(
    "section",
    { class: "card map-card", "aria-labelledby": "map-title" },
    h("header", {}, h("h2", { id: "map-title" }, t("map.title"), this.#note), this.#find.element, this.#legend.element),
    this.#none,
    this.#body,
    h("p", { class: "hint keys-hint" }, t("map.hint")),
  );

  /** @param {import("../app.js").Shell} shell */
  constructor(shell) {
    this.shell = shell;
  }

  start() {
    this.#map.start();
  }

  stop() {
    this.#find.stop();
    this.#map.stop();
  }

  /** @param {Api.Task} task @param {import("../state/task_watch.js").TaskWatch} watch */
  update(task, watch) {
    const { nodes, loading } = watch;
    const counts = countStates(nodes);
    this.element.classList.toggle("without", nodes.length === 0);
    setText(this.#none, this.#whyNone(task, nodes, loading));
    setText(this.#note, noteOf(nodes.length, loading));
    this.#legend.update(counts);
    this.#map.label(labelOf(nodes.length, counts));
    this.#map.show(nodes, watch.takeChanged());
  }

  /** @param {Api.Task} task @param {Api.TaskNode[]} nodes @param {number | null} loading */
  #whyNone(task, nodes, loading) {
    if (nodes.length > 0) return "";
    if (isOver(task) && loading === null) return t("map.nothing");
    return t("map.none");
  }

  /** @param {Api.TaskNode | null} node @param {boolean} byKey */
  #choose(node, byKey) {
    this.#details.show(node, this.#map.isPinned);
    if (node === null || !byKey) return;
    const words = t("map.node", { name: node.nodeName, state: wordOf("state", node.state) });
    this.shell.announce(node.reason ? `${words}, ${node.reason}` : words);
  }
}

/** @param {number} count @param {number | null} loading */
function noteOf(count, loading) {
  if (loading !== null) return t("map.loading", { n: count, total: loading });
  return count ? number(count) : "";
}

/** @param {number} count @param {Record<string, number>} counts */
function labelOf(count, counts) {
  const parts = STATES.filter((state) => counts[state]).map(
    (state) => `${wordOf("state", state)} ${number(counts[state])}`,
  );
  return t("map.label", { n: count, parts: parts.join(t("list.separator")) });
}

/** The nodes of a warm set as a map, with its legend and the node that is pointed at. */

import { h, replace, setText } from "../dom.js";
import { number, timeElement } from "../format.js";
import { t } from "../language.js";
import { worded } from "../messages.js";
import { NODE_STATES } from "../state/set_standing.js";
import { iconButton } from "./buttons.js";
import { chip, wordOf } from "./chips.js";
import { HeatMap } from "./heat_map.js";
import { Legend } from "./legend.js";
import { digestName, imageName, nodeName, taskName } from "./places.js";
import { SearchBox } from "./search_box.js";

/** @type {import("./heat_map.js").Nature<Api.WarmSetNode>} */
const NATURE = {
  name: (node) => node.nodeName,
  state: (node) => node.state,
  note: (node) => node.reason ?? wordOf("set", node.state),
  share: (node) => node.images.filter(({ present }) => present).length / (node.images.length || 1),
  states: NODE_STATES,
};

export class SetMap {
  #count = h("span", { class: "count" });
  #none = h("p", { class: "hint" });
  #details = h("div", { class: "details" });
  #map = new HeatMap(NATURE, (node, byKey) => this.#choose(node, byKey));
  #legend = new Legend("set", NODE_STATES, (state) => this.#map.only(state));
  #find = new SearchBox(t("map.find"), (text) => this.#map.find(text));
  element = h(
    "section",
    { class: "card map-card", "aria-labelledby": "map-title" },
    h("header", {}, h("h2", { id: "map-title" }, t("map.title"), this.#count), this.#find.element, this.#legend.element),
    this.#none,
    h("div", { class: "map-body" }, h("div", { class: "map-side" }, this.#map.element), this.#details),
    h("p", { class: "hint keys-hint" }, t("sets.map.hint")),
  );

  /** @param {import("../app.js").Shell} shell */
  constructor(shell) {
    this.shell = shell;
    this.#choose(null, false);
  }

  start() {
    this.#map.start();
  }

  stop() {
    this.#find.stop();
    this.#map.stop();
  }

  /** @param {Api.WarmSetNode[]} nodes */
  update(nodes) {
    /** @type {Record<string, number>} */
    const counts = {};
    for (const { state } of nodes) counts[state] = (counts[state] ?? 0) + 1;
    this.element.classList.toggle("without", nodes.length === 0);
    setText(this.#none, nodes.length ? "" : t("sets.no.nodes"));
    setText(this.#count, number(nodes.length));
    this.#legend.update(counts);
    const parts = NODE_STATES.filter((state) => counts[state]).map((state) => `${wordOf("set", state)} ${number(counts[state])}`);
    this.#map.label(t("map.label", { n: nodes.length, parts: parts.join(t("list.separator")) }));
    this.#map.show(nodes, null);
  }

  /** @param {Api.WarmSetNode | null} node @param {boolean} byKey */
  #choose(node, byKey) {
    const isPinned = this.#map?.isPinned ?? false;
    this.#details.classList.toggle("pinned", isPinned);
    if (node === null) return replace(this.#details, h("p", { class: "hint" }, t("map.choose")));
    const close = isPinned && iconButton({ icon: "close", label: t("map.close"), onclick: () => this.#map.release() });
    const head = h("header", {}, h("h3", {}, nodeName(node.nodeName)), chip("set", node.state), close);
    replace(this.#details, head, why(node), images(node));
    if (!byKey) return;
    const words = t("map.node", { name: node.nodeName, state: wordOf("set", node.state) });
    this.shell.announce(node.reason ? `${words}, ${node.reason}` : words);
  }
}

/** @param {Api.WarmSetNode} node */
function why(node) {
  const said = worded(node);
  return [
    (node.reason || said) && h("div", { class: "why" }, h("p", {}, h("strong", {}, node.reason), " ", said)),
    node.nextTryAt && h("p", { class: "facts" }, t("sets.next.try"), timeElement(node.nextTryAt)),
    node.task && h("p", { class: "facts" }, taskName(node.task)),
  ];
}

/** @param {Api.WarmSetNode} node */
function images(node) {
  const line = (/** @type {Api.WarmSetImage} */ image) => {
    const words = { true: "place.present", false: "place.absent" };
    const state = image.present === undefined ? "place.unknown" : words[/** @type {"true" | "false"} */ (String(image.present))];
    return h("li", {}, imageName(image.image), h("span", { class: "hint" }, t(state)), digestName(image.digest));
  };
  return h("ul", { class: "image-states" }, node.images.map(line));
}

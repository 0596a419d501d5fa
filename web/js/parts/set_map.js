/** The nodes of a warm set as a map, and what is known of the one that is pointed at. */

import { h, replace } from "../dom.js";
import { number, timeElement } from "../format.js";
import { t } from "../language.js";
import { worded } from "../messages.js";
import { NODE_STATES } from "../state/set_standing.js";
import { iconButton } from "./buttons.js";
import { chip, wordOf } from "./chips.js";
import { NodeMap } from "./node_map.js";
import { digestName, imageName, nodeName, taskName } from "./places.js";

/** @type {import("./heat_map.js").Nature<Api.WarmSetNode>} */
const NATURE = {
  name: (node) => node.nodeName,
  state: (node) => node.state,
  note: (node) => node.reason ?? wordOf("set", node.state),
  share: (node) => node.images.filter(({ present }) => present).length / (node.images.length || 1),
  states: NODE_STATES,
};

export class SetMap {
  #details = h("div", { class: "details" });
  /** @type {NodeMap<Api.WarmSetNode>} */
  #map;

  /** @param {import("../app.js").Shell} shell @param {import("../router.js").Address} address */
  constructor(shell, address) {
    this.#map = new NodeMap(shell, {
      words: "set",
      nature: NATURE,
      hint: t("sets.map.hint"),
      details: this.#details,
      address,
      onChoose: (node, isPinned) => this.#show(node, isPinned),
    });
    this.element = this.#map.element;
    this.#show(null, false);
  }

  start() {
    this.#map.start();
  }

  stop() {
    this.#map.stop();
  }

  /** @param {Api.WarmSetNode[]} nodes */
  update(nodes) {
    this.#map.show(nodes, { note: number(nodes.length), none: t("sets.no.nodes"), changed: null });
  }

  /** @param {Api.WarmSetNode | null} node @param {boolean} isPinned */
  #show(node, isPinned) {
    this.#details.classList.toggle("pinned", isPinned);
    if (node === null) return replace(this.#details, h("p", { class: "hint" }, t("map.choose")));
    const close = isPinned && iconButton({ icon: "close", label: t("map.close"), onclick: () => this.#map.release() });
    const head = h("header", {}, h("h3", {}, nodeName(node.nodeName)), chip("set", node.state), close);
    replace(this.#details, head, why(node), images(node));
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

/** Nodes as a map, with its legend, a search, and the node that is pointed at beside it. */

import { h, setText } from "../dom.js";
import { number } from "../format.js";
import { t } from "../language.js";
import { countStates } from "../state/node_counts.js";
import { wordOf } from "./chips.js";
import { HeatMap } from "./heat_map.js";
import { Legend } from "./legend.js";
import { SearchBox } from "./search_box.js";

/**
 * @template {{state: string, reason?: string}} Item
 * @typedef {object} Kind
 * @property {"state" | "set"} words which words states have
 * @property {import("./heat_map.js").Nature<Item>} nature
 * @property {string} hint below the map
 * @property {HTMLElement} details of the node that is pointed at
 * @property {(item: Item | null, isPinned: boolean) => void} onChoose shows it there; `isPinned`: whether it stays when left
 */

/** @template {{state: string, reason?: string}} Item */
export class NodeMap {
  #count = h("span", { class: "count" });
  #none = h("p", { class: "hint" });
  /** @type {HeatMap<Item>} */
  #map;
  #legend;
  #find = new SearchBox(t("map.find"), (text) => this.#map.find(text));

  /** @param {import("../app.js").Shell} shell @param {Kind<Item>} kind */
  constructor(shell, kind) {
    this.shell = shell;
    this.kind = kind;
    this.#map = new HeatMap(kind.nature, (item, byKey) => this.#choose(item, byKey));
    this.#legend = new Legend(kind.words, kind.nature.states, (state) => this.#map.only(state));
    this.element = h(
      "section",
      { class: "card map-card", "aria-labelledby": "map-title" },
      h("header", {}, h("h2", { id: "map-title" }, t("map.title"), this.#count), this.#find.element, this.#legend.element),
      this.#none,
      h("div", { class: "map-body" }, h("div", { class: "map-side" }, this.#map.element), kind.details),
      h("p", { class: "hint keys-hint" }, kind.hint),
    );
  }

  start() {
    this.#map.start();
  }

  stop() {
    this.#find.stop();
    this.#map.stop();
  }

  /** Lets go of a node that was kept. */
  release() {
    this.#map.release();
  }

  /**
   * @param {Item[]} items
   * @param {{note: string, none: string, changed: Set<number> | null}} about what is said of their
   *   number, and where there is none; places that changed, null for all
   */
  show(items, { note, none, changed }) {
    const counts = countStates(items);
    this.element.classList.toggle("without", items.length === 0);
    setText(this.#none, items.length ? "" : none);
    setText(this.#count, note);
    this.#legend.update(counts);
    const { words, nature } = this.kind;
    const parts = nature.states.filter((state) => counts[state]).map((state) => `${wordOf(words, state)} ${number(counts[state])}`);
    this.#map.label(t("map.label", { n: items.length, parts: parts.join(t("list.separator")) }));
    this.#map.show(items, changed);
  }

  /** @param {Item | null} item @param {boolean} byKey */
  #choose(item, byKey) {
    this.kind.onChoose(item, this.#map.isPinned);
    if (item === null || !byKey) return;
    const { words, nature } = this.kind;
    const said = t("map.node", { name: nature.name(item), state: wordOf(words, nature.state(item)) });
    this.shell.announce(item.reason ? `${said}, ${item.reason}` : said);
  }
}

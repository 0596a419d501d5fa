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
 * @property {import("../router.js").Address} address holds what is looked for
 */

/** @template {{state: string, reason?: string}} Item */
export class NodeMap {
  #count = h("span", { class: "count" });
  #none = h("p", { class: "hint" });
  /** @type {HeatMap<Item>} */
  #map;
  #legend;
  #find = new SearchBox(t("map.find"), (text) => this.#seek(text));
  /** The name that the address wants kept, until its node has come. */
  #wanted;

  /** @param {import("../app.js").Shell} shell @param {Kind<Item>} kind */
  constructor(shell, kind) {
    this.shell = shell;
    this.kind = kind;
    this.#wanted = kind.address.get("node");
    this.#map = new HeatMap(kind.nature, (item, byKey) => this.#choose(item, byKey));
    this.#legend = new Legend(kind.words, kind.nature.states, (state) => this.#only(state));
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
    const { address } = this.kind;
    this.#map.start();
    this.#find.show(address.get("q"));
    this.#map.find(address.get("q"));
    this.#map.release(); // the node that was kept is in the address too, and none is where it was let go
    if (this.kind.nature.states.includes(address.get("state"))) this.#legend.choose(address.get("state"));
  }

  stop() {
    this.#find.stop();
    this.#map.stop();
  }

  /** Lets go of a node that was kept. */
  release() {
    this.#map.release();
  }

  /** Keeps a node, and leads there. @param {string} name */
  lead(name) {
    this.#map.pin(name);
    this.#map.focus();
  }

  /** @param {string} text */
  #seek(text) {
    this.kind.address.put({ q: text });
    this.#map.find(text);
  }

  /** @param {string} state */
  #only(state) {
    this.kind.address.put({ state });
    this.#map.only(state);
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
    if (this.#wanted && this.#map.pin(this.#wanted)) this.#wanted = "";
  }

  /** @param {Item | null} item @param {boolean} byKey */
  #choose(item, byKey) {
    const { isPinned } = this.#map;
    this.kind.onChoose(item, isPinned);
    const kept = isPinned && item ? this.kind.nature.name(item) : "";
    if (!this.#wanted && kept !== this.kind.address.get("node")) this.kind.address.put({ node: kept });
    if (item === null || !byKey) return;
    const { words, nature } = this.kind;
    const said = t("map.node", { name: nature.name(item), state: wordOf(words, nature.state(item)) });
    this.shell.announce(item.reason ? `${said}, ${item.reason}` : said);
  }
}

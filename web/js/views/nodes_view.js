/** The fleet: a map of all nodes, and a table in which those in trouble come first. */

import { h, replace, setAttribute, setText } from "../dom.js";
import { number } from "../format.js";
import { t } from "../language.js";
import { worded } from "../messages.js";
import { Painter } from "../painter.js";
import { HeatMap } from "../parts/heat_map.js";
import { Legend } from "../parts/legend.js";
import { exportButtons } from "../parts/export.js";
import { nodeName } from "../parts/places.js";
import { NodeRow } from "../parts/node_row.js";
import { SearchBox } from "../parts/search_box.js";
import { VirtualRows } from "../parts/virtual_rows.js";
import { wordOf } from "../parts/chips.js";
import { iconButton } from "../parts/buttons.js";
import { Address } from "../router.js";
import { CONDITIONS, condition, Fleet } from "../state/fleet.js";
import { FleetOrder } from "../state/fleet_order.js";
import { countStates } from "../state/node_counts.js";

const REPAINT = 500;
/** Their own pages say what is not sorted by. */
const UNSORTED = new Set(["labels"]);
const COLUMN_WIDTH = 150;
const LABEL = "label:";
const COLUMNS = ["node", "state", "pulling", "labels", "disk", "runtime", "agent", "seen"];

/** @type {import("../parts/heat_map.js").Nature<Api.Node>} */
const NATURE = {
  name: (node) => node.name,
  state: condition,
  note: (node) => node.pulling.join(", ") || wordOf("nodes", condition(node)),
  share: () => 1,
  states: CONDITIONS,
};

/** @typedef {import("../state/fleet_order.js").Entry} Entry */

export class NodesView {
  #note = h("span", { class: "count" });
  #map = new HeatMap(NATURE, (node, byKey) => this.#choose(node, byKey));
  #legend = new Legend("nodes", [...CONDITIONS].reverse(), (state) => this.#only(state));
  #find = new SearchBox(t("nodes.find"), () => this.#sought());
  #empty = h("div", { class: "empty" });
  #hits = h("span", { class: "hint", role: "status" });
  /** @type {VirtualRows<Api.Node>} */
  #rows;
  #fleet;
  #address;
  #order = new FleetOrder();
  /** @type {Entry[] | null} as they are to be shown, by name and sorted, before anything is searched for; null: to be made */
  #sorted = null;
  /** @type {Entry[]} */
  #named = [];
  #keys = h("select", { "aria-label": t("nodes.columns"), onchange: () => this.#column(this.#keys.value, true) });
  /** @type {Api.Node[]} */
  #shown = [];
  #chosen = h("p", { class: "hint chosen" }, t("map.choose"));
  #painter = new Painter(() => this.#draw(), REPAINT);

  /** @param {import("../router.js").Route} route @param {import("../app.js").Shell} shell */
  constructor(route, shell) {
    this.shell = shell;
    this.#address = new Address("nodes", route.query);
    this.#fleet = new Fleet({
      onChange: () => this.#changed(),
      onState: (state) => shell.connection(state),
      onProblem: (problem) => problem.status !== 0 && shell.complain(problem),
    });
    this.#rows = new VirtualRows("nodes-table", t("nodes.title"));
    this.element = h(
      "div",
      { class: "view nodes-view" },
      h("h1", { tabindex: -1 }, t("nodes.title"), " ", this.#note),
      h("section", { class: "card map-card", "aria-label": t("nodes.title") }, this.#legend.element, this.#map.element, this.#chosen),
      h("div", { class: "card table-card" }, this.#tools(), this.#rows.element, this.#empty),
    );
  }

  start() {
    this.shell.title(t("nodes.title"));
    this.#map.start();
    this.#rows.start();
    this.#fleet.start();
    this.#find.show(this.#address.get("q"));
    this.#drawHeads();
    const state = this.#address.get("state");
    if (CONDITIONS.includes(state)) this.#legend.choose(state);
    else this.#draw();
  }

  stop() {
    this.#painter.stop();
    this.#find.stop();
    this.#map.stop();
    this.#rows.stop();
    this.#fleet.stop();
  }

  #tools = () =>
    h("div", { class: "tools" }, this.#find.element, this.#hits, this.#keys, exportButtons("nodes", () => exported(this.#shown)));

  #changed() {
    this.shell.heard();
    this.#sorted = null;
    this.#painter.request();
  }

  /** @param {string} state */
  #only(state) {
    this.#address.put({ state });
    this.#map.only(state);
    this.#sought();
  }

  #sought() {
    this.#address.put({ q: this.#find.text.trim() });
    this.#draw();
  }

  /** The keys of labels that have a column. */
  get #columns() {
    return this.#address.get("columns").split(",").filter(Boolean);
  }

  /** @param {string} key of a label @param {boolean} isShown */
  #column(key, isShown) {
    const others = this.#columns.filter((one) => one !== key);
    this.#address.put({ columns: [...others, ...(isShown ? [key] : [])].join(",") });
    this.#sorted = null;
    this.#drawHeads();
    this.#draw();
  }

  /** Down, up, and as it was. @param {string} key */
  #sort(key) {
    const next = { [key]: `-${key}`, [`-${key}`]: "" };
    this.#address.put({ sort: next[this.#address.get("sort")] ?? key });
    this.#sorted = null;
    this.#drawHeads();
    this.#draw();
  }

  #drawHeads() {
    const columns = this.#columns;
    const heads = [...COLUMNS.map((key) => this.#head(key, t(`nodes.${key}`))), ...columns.map((key) => this.#labelHead(key))];
    this.#rows.columns(heads, () => new NodeRow(columns));
    this.#rows.element.style.setProperty("--more", `${columns.length * COLUMN_WIDTH}px`);
  }

  /** @param {string} key @param {string} text */
  #head(key, text) {
    const sort = this.#address.get("sort");
    const head = h("th", { scope: "col", role: "columnheader" });
    if (UNSORTED.has(key)) head.append(text);
    else head.append(h("button", { type: "button", class: "sorter", onclick: () => this.#sort(key) }, text));
    const order = sort === key ? "ascending" : "descending";
    setAttribute(head, "aria-sort", sort.replace("-", "") === key && order);
    return head;
  }

  /** @param {string} key of a label */
  #labelHead(key) {
    const head = this.#head(`${LABEL}${key}`, key);
    head.append(iconButton({ icon: "close", label: t("nodes.columns.remove", { key }), onclick: () => this.#column(key, false) }));
    return head;
  }

  /** What could have a column. @param {Entry[]} entries */
  #drawKeys(entries) {
    const keys = [...new Set(entries.flatMap(({ node }) => Object.keys(node.labels)))].filter((key) => !this.#columns.includes(key)).sort();
    this.#keys.hidden = keys.length === 0;
    if (this.#keys.dataset.keys === keys.join()) return;
    this.#keys.dataset.keys = keys.join();
    replace(this.#keys, h("option", { value: "" }, t("nodes.columns")), keys.map((key) => h("option", { value: key }, key)));
  }

  /** @param {Api.Node | null} node @param {boolean} byKey */
  #choose(node, byKey) {
    const words = node ? t("map.node", { name: node.name, state: wordOf("nodes", condition(node)) }) : "";
    const more = node && [wordOf("nodes", condition(node)), worded(node), node.pulling.join(", ")].filter(Boolean).join(" · ");
    replace(this.#chosen, node ? [nodeName(node.name), " · ", more] : t("map.choose"));
    if (byKey) this.shell.announce(words);
  }

  #draw() {
    const { loading } = this.#fleet;
    // A live frame may come before the list: a few nodes that just moved are not the fleet.
    if (this.#sorted === null) {
      this.#named = loading === 0 ? [] : this.#order.byName(this.#fleet.nodes);
      this.#sorted = this.#order.sorted(this.#named, this.#address.get("sort") || "state");
      this.#drawKeys(this.#named);
    }
    const [nodes, named] = [this.#sorted, this.#named];
    const counts = countStates(nodes);
    setText(this.#note, noteOf(nodes.length, loading));
    this.#legend.update(counts);
    const words = this.#find.text.toLowerCase().split(/[\s,，、]+/).filter(Boolean);
    const isFound = (/** @type {Entry} */ entry) => words.every((word) => entry.words.includes(word));
    const wanted = this.#address.get("state");
    const shown = nodes.filter((entry) => isFound(entry) && (!wanted || entry.state === wanted)).map(({ node }) => node);
    this.#drawMap(words.length ? named.filter(isFound) : named, counts);
    this.#shown = shown;
    this.#rows.show(shown);
    const isSought = words.length > 0 || wanted !== "";
    setText(this.#hits, isSought ? t("nodes.hits", { n: shown.length }) : t("nodes.order"));
    this.#drawEmpty(nodes.length, shown.length);
  }

  /** @param {Entry[]} nodes @param {Record<string, number>} counts */
  #drawMap(nodes, counts) {
    const byName = nodes.map(({ node }) => node);
    const parts = CONDITIONS.filter((state) => counts[state]).map((state) => `${wordOf("nodes", state)} ${number(counts[state])}`);
    this.#map.label(t("nodes.map", { n: nodes.length, parts: parts.join(t("list.separator")) }));
    this.#map.show(byName, null);
  }

  /** @param {number} known @param {number} shown */
  #drawEmpty(known, shown) {
    this.#empty.hidden = shown > 0 || (known === 0 && this.#fleet.loading !== null);
    const words = known === 0 ? [t("nodes.none"), t("nodes.none.hint")] : [t("nodes.none.match")];
    this.#empty.replaceChildren(...words.map((text) => h("p", {}, text)));
  }
}

/** @param {Api.Node[]} nodes @returns {import("../parts/export.js").Exported} */
function exported(nodes) {
  const rows = nodes.map((node) => [
    node.name,
    wordOf("nodes", condition(node)),
    worded(node),
    node.pulling.join(" "),
    Object.entries(node.labels).map(([key, value]) => `${key}=${value}`).join(","),
    node.imageDisk?.freeBytes ?? "",
    node.runtime ?? "",
    node.agentVersion ?? "",
    node.lastSeen ?? "",
  ]);
  const head = ["node", "state", "reason", "pulling", "labels", "disk", "runtime", "agent", "seen"];
  return { head: head.map((key) => t(key === "reason" ? "places.reason" : `nodes.${key}`)), rows, items: nodes };
}

/** @param {number} count @param {number | null} loading */
function noteOf(count, loading) {
  if (loading === null) return number(count);
  return loading === 0 ? t("tasks.loading") : t("nodes.loading", { n: count, total: loading });
}

/** The fleet: a map of all nodes, and a table in which those in trouble come first. */

import { h, replace, setText } from "../dom.js";
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
import { link } from "../router.js";
import { CONDITIONS, condition, Fleet } from "../state/fleet.js";
import { countStates } from "../state/node_counts.js";

const REPAINT = 500;
const COLUMNS = ["node", "state", "pulling", "labels", "disk", "runtime", "agent", "seen"];

/** @type {import("../parts/heat_map.js").Nature<Api.Node>} */
const NATURE = {
  name: (node) => node.name,
  state: condition,
  note: (node) => node.pulling.join(", ") || wordOf("nodes", condition(node)),
  share: () => 1,
  states: CONDITIONS,
};

/** @typedef {{node: Api.Node, state: string}} Entry */

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
  #wanted = "";
  /** @type {Api.Node[]} */
  #shown = [];
  #chosen = h("p", { class: "hint chosen" }, t("map.choose"));
  #painter = new Painter(() => this.#draw(), REPAINT);

  /** @param {import("../router.js").Route} route @param {import("../app.js").Shell} shell */
  constructor(route, shell) {
    this.shell = shell;
    this.query = route.query;
    this.#fleet = new Fleet({
      onChange: () => this.#changed(),
      onState: (state) => shell.connection(state),
      onProblem: (problem) => problem.status !== 0 && shell.complain(problem),
    });
    const heads = COLUMNS.map((key) => t(`nodes.${key}`));
    this.#rows = new VirtualRows("nodes-table", t("nodes.title"), heads, () => new NodeRow());
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
    this.#find.show(this.query.get("q") ?? "");
    const state = this.query.get("state") ?? "";
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
    h("div", { class: "tools" }, this.#find.element, this.#hits, exportButtons("nodes", () => exported(this.#shown)));

  #changed() {
    this.shell.heard();
    this.#painter.request();
  }

  /** @param {string} state */
  #only(state) {
    this.#wanted = state;
    this.#map.only(state);
    this.#sought();
  }

  /** What is looked for stands in the address, to be shared and come back to. */
  #sought() {
    history.replaceState(null, "", link("nodes", { state: this.#wanted, q: this.#find.text.trim() }));
    this.#draw();
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
    const nodes = loading === 0 ? [] : inOrder(this.#fleet.nodes.values());
    const counts = countStates(nodes);
    setText(this.#note, noteOf(nodes.length, loading));
    this.#legend.update(counts);
    const words = this.#find.text.toLowerCase().split(/[\s,，、]+/).filter(Boolean);
    const found = nodes.filter((entry) => words.every((word) => searchable(entry.node).includes(word)));
    const shown = found.filter(({ state }) => !this.#wanted || state === this.#wanted).map(({ node }) => node);
    this.#drawMap(words.length ? found : nodes, counts);
    this.#shown = shown;
    this.#rows.show(shown);
    const isSought = words.length > 0 || this.#wanted !== "";
    setText(this.#hits, isSought ? t("nodes.hits", { n: shown.length }) : t("nodes.order"));
    this.#drawEmpty(nodes.length, shown.length);
  }

  /** @param {Entry[]} nodes @param {Record<string, number>} counts */
  #drawMap(nodes, counts) {
    const byName = nodes.map(({ node }) => node).sort(byNameOf);
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

/** @param {Api.Node} node */
const searchable = ({ name, labels }) =>
  `${name} ${Object.entries(labels).map(([key, value]) => `${key}=${value}`).join(" ")}`.toLowerCase();

const collator = new Intl.Collator("en", { numeric: true });
/** @param {Api.Node} one @param {Api.Node} other */
const byNameOf = (one, other) => collator.compare(one.name, other.name);

/**
 * Trouble first; within one condition by name, numbers in it as numbers.
 * @param {Iterable<Api.Node>} nodes
 */
function inOrder(nodes) {
  const entries = Array.from(nodes, (node) => ({ node, state: condition(node) }));
  return entries.sort(
    (one, other) =>
      CONDITIONS.indexOf(one.state) - CONDITIONS.indexOf(other.state) || byNameOf(one.node, other.node),
  );
}

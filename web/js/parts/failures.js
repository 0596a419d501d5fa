/** What went wrong, grouped by reason: how many nodes, the cause in words, and every raw message. */

import { h, KeyedList, replace, setText } from "../dom.js";
import { timeElement } from "../format.js";
import { t } from "../language.js";
import { worded } from "../messages.js";
import { adviceFor, reasonInWords } from "./reasons.js";
import { exportButtons } from "./export.js";
import { iconButton } from "./buttons.js";
import { icon } from "./icons.js";
import { imageName, nodeName } from "./places.js";

/**
 * @typedef {{node: Api.TaskNode, image?: string, reason: string, message: string}} Entry
 * @typedef {{reason: string, entries: Entry[]}} Reason
 */

const SHOWN = 20;

export class Failures {
  #count = h("span", { class: "count" });
  /** @type {Entry[]} */
  #shown = [];
  #groups = h("div", { class: "groups" });
  /** @type {KeyedList<Reason>} */
  #list;
  element = h(
    "section",
    { class: "card failures", hidden: true, "aria-labelledby": "why-title" },
    h("h2", { id: "why-title" }, icon("warning"), t("why.title"), this.#count),
    exportButtons("failures", () => exported(this.#shown)),
    this.#groups,
  );

  /** @param {import("../router.js").Address} address holds the reason that is open @param {(name: string) => void} onLead to a node's cell */
  constructor(address, onLead) {
    this.#list = new KeyedList(this.#groups, ({ reason }) => reason, ({ reason }) => new Group(reason, address, onLead));
  }

  /** @param {Api.TaskNode[]} nodes of the task, as far as they have come @param {number | null} loading how many there are, until all have come */
  update(nodes, loading) {
    const groups = groupByReason(nodes);
    this.element.hidden = groups.length === 0;
    const counted = t("why.nodes", { n: countNodes(groups) });
    setText(this.#count, loading === null ? counted : `${counted} · ${t("map.loading", { n: nodes.length, total: loading })}`);
    this.#list.show(groups);
    this.#shown = groups.flatMap(({ entries }) => entries);
  }
}

/** @param {Entry[]} entries @returns {import("./export.js").Exported} */
function exported(entries) {
  const rows = entries.map(({ node, image = "", reason, message }) => [node.nodeName, image, reason, node.attempt, message, node.finishedAt ?? ""]);
  const head = ["node", "image", "reason", "attempt", "message", "when"];
  const items = entries.map(({ node, image, reason, message }) => ({ nodeName: node.nodeName, image, reason, attempt: node.attempt, message, finishedAt: node.finishedAt }));
  return { head: head.map((key) => t(key === "reason" ? "places.reason" : `why.${key}`)), rows, items };
}

/** @param {Reason[]} groups */
const countNodes = (groups) =>
  new Set(groups.flatMap(({ entries }) => entries.map(({ node }) => node.nodeName))).size;

/**
 * One entry for each failed image of each node in trouble; the most frequent reason first.
 * @param {Api.TaskNode[]} nodes
 */
function groupByReason(nodes) {
  /** @type {Map<string, Reason>} */
  const groups = new Map();
  for (const node of nodes) {
    if (node.state !== "failed" && node.state !== "retrying") continue;
    for (const entry of entriesOf(node)) {
      const group = groups.get(entry.reason) ?? { reason: entry.reason, entries: [] };
      group.entries.push(entry);
      groups.set(entry.reason, group);
    }
  }
  return [...groups.values()].sort((one, other) => other.entries.length - one.entries.length);
}

/** @param {Api.TaskNode} node @returns {Entry[]} */
function entriesOf(node) {
  const failed = node.images.filter(({ state, reason }) => state === "failed" && reason);
  if (failed.length === 0) {
    return [{ node, reason: node.reason ?? "Unknown", message: worded(node) }];
  }
  return failed.map((image) => ({ node, image: image.image, reason: image.reason ?? "", message: worded(image) }));
}

class Group {
  #title = h("span", { class: "title" });
  #numbers = h("span", { class: "numbers" });
  #sample = h("span", { class: "raw sample" });
  #rows = h("tbody");
  /** @type {KeyedList<Entry>} */
  #list;
  #more = h("button", { type: "button", class: "button quiet", onclick: () => this.#showMore() });
  #shown = SHOWN;
  /** @type {Entry[]} */
  #entries = [];

  /** @param {string} reason @param {import("../router.js").Address} address @param {(name: string) => void} onLead */
  constructor(reason, address, onLead) {
    this.#list = new KeyedList(this.#rows, keyOf, () => new Row(onLead));
    setText(this.#title, reasonInWords(reason) || reason);
    const summary = h(
      "summary",
      {},
      h("code", {}, reason),
      this.#title,
      this.#numbers,
      this.#sample,
    );
    const advice = h("p", { class: "hint" }, adviceFor(reason));
    const own = exportButtons(`failures-${reason}`, () => exported(this.#entries));
    const open = address.get("reason") === reason;
    const toggled = () => {
      if (this.element.open || address.get("reason") === reason) address.put({ reason: this.element.open ? reason : "" });
      this.#showRows();
    };
    this.element = h("details", { open, ontoggle: toggled }, summary, advice, own, this.#table(), this.#more);
  }

  #table() {
    const heads = ["why.node", "why.image", "why.attempt", "why.message", "why.when"];
    const head = h("thead", {}, h("tr", {}, heads.map((key) => h("th", { scope: "col" }, t(key)))));
    const table = h("table", { class: "raw-table" }, head, this.#rows);
    return h("div", { class: "scroll", tabindex: 0, role: "region", "aria-label": t("why.title") }, table);
  }

  /** @param {Reason} reason */
  update({ entries }) {
    this.#entries = entries;
    const nodes = [...new Set(entries.map(({ node }) => node))];
    const given = nodes.filter(({ state }) => state === "failed").length;
    const retrying = nodes.length - given;
    const words = [];
    if (given) words.push(t("why.given.up", { n: given }));
    if (retrying) words.push(t("why.retrying", { n: retrying }));
    setText(this.#numbers, words.join(" · "));
    setText(this.#sample, mostFrequent(entries.map(({ message }) => message)));
    this.#showRows();
  }

  #showRows() {
    if (!this.element.open) return;
    this.#list.show(this.#entries.slice(0, this.#shown));
    const left = this.#entries.length - this.#shown;
    this.#more.hidden = left <= 0;
    if (left > 0) setText(this.#more, t("why.more", { n: Math.min(left, 10 * SHOWN) }));
  }

  #showMore() {
    this.#shown += 10 * SHOWN;
    this.#showRows();
  }
}

/** @param {Entry} entry */
const keyOf = ({ node, image = "" }) => `${node.nodeName} ${image}`;

class Row {
  #node = h("th", { scope: "row" });
  #name = "";
  #image = h("td");
  #attempt = h("td");
  #message = h("td", { class: "raw" });
  #time = timeElement();
  element = h("tr", {}, this.#node, this.#image, this.#attempt, this.#message, h("td", {}, this.#time));

  /** @param {(name: string) => void} onLead */
  constructor(onLead) {
    this.onLead = onLead;
  }

  /** @param {Entry} entry */
  update({ node, image, message }) {
    const name = node.nodeName;
    if (this.#name !== name) {
      const lead = iconButton({ icon: "map", label: t("why.lead", { node: name }), onclick: () => this.onLead(name) });
      replace(this.#node, lead, nodeName(name));
    }
    this.#name = name;
    const about = image ?? t("why.agent");
    if (this.#image.textContent !== about) replace(this.#image, image ? imageName(image) : about);
    setText(this.#attempt, String(node.attempt));
    setText(this.#message, message);
    if (node.finishedAt) this.#time.show(node.finishedAt);
  }
}

/** @param {string[]} texts */
function mostFrequent(texts) {
  /** @type {Map<string, number>} */
  const counts = new Map();
  for (const text of texts) counts.set(text, (counts.get(text) ?? 0) + 1);
  return [...counts].reduce((best, one) => (one[1] > best[1] ? one : best), ["", 0])[0];
}

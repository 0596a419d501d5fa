/** When each batch ran, and what came of it. Many batches are drawn as groups of neighbours. */

import { h, KeyedList, setAttribute, setText } from "../dom.js";
import { duration } from "../format.js";
import { t } from "../language.js";
import { now } from "../server.js";

/**
 * @typedef {object} Sum of one batch, or of neighbours; times in milliseconds, Infinity: not yet
 * @property {number} from
 * @property {number} to
 * @property {number} total
 * @property {Record<string, number>} counts by state
 * @property {number} start
 * @property {number} end
 * @typedef {Sum & {scale: {start: number, length: number}}} Drawn
 */

const MOST_ROWS = 24;
const PARTS = ["succeeded", "pulling", "retrying", "failed", "cancelled"];

export class BatchTimeline {
  #none = h("p", { class: "hint", hidden: true }, t("batches.none"));
  #rows = h("ol", { class: "batches" });
  /** @type {KeyedList<Drawn>} */
  #list = new KeyedList(this.#rows, ({ from }) => String(from), () => new Row());
  element = h(
    "section",
    { class: "card", "aria-labelledby": "batches-title" },
    h("h2", { id: "batches-title" }, t("batches.title")),
    this.#none,
    this.#rows,
  );

  /** @param {Api.Task} task @param {Api.TaskNode[]} nodes @param {Map<number, number>} begun by batch */
  update(task, nodes, begun) {
    const { startedAt } = task;
    const hasBegun = startedAt !== undefined && nodes.length > 0;
    this.#none.hidden = hasBegun;
    if (!hasBegun) return this.#list.show([]);
    const start = Date.parse(startedAt);
    const end = task.finishedAt ? Date.parse(task.finishedAt) : now();
    const rows = grouped(summarize(nodes, begun, end), task.progress.totalBatches);
    // Times of tasks are whole seconds, those of nodes are not.
    const ends = rows.map((row) => row.end).filter(Number.isFinite);
    const length = Math.max(end, start + 1, ...ends) - start;
    this.#list.show(rows.map((row) => ({ ...row, scale: { start, length } })));
  }
}

/** @param {Api.TaskNode[]} nodes @param {Map<number, number>} begun @param {number} end */
function summarize(nodes, begun, end) {
  /** @type {Map<number, Sum>} */
  const batches = new Map();
  for (const node of nodes) {
    const sum = batches.get(node.batch) ?? blank(node.batch, begun.get(node.batch));
    batches.set(node.batch, sum);
    count(sum, node, end);
  }
  return [...batches.values()];
}

/** @param {number} batch @returns {Sum} */
const blank = (batch, start = Infinity) =>
  ({ from: batch, to: batch, total: 0, counts: {}, start, end: start });

/** @param {Sum} sum @param {Api.TaskNode} node @param {number} end */
function count(sum, node, end) {
  const state = node.state === "assigned" ? "pulling" : node.state;
  sum.total += 1;
  sum.counts[state] = (sum.counts[state] ?? 0) + 1;
  if (node.finishedAt) sum.end = last(sum.end, Date.parse(node.finishedAt));
  if (state === "pulling" || state === "retrying") sum.end = last(sum.end, end);
}

/**
 * The later of two times; a batch that has not begun has no end.
 * @param {number} one
 * @param {number} other
 */
const last = (one, other) => (one === Infinity ? other : Math.max(one, other));

/**
 * Neighbours put together until there are few enough rows.
 * @param {Sum[]} batches
 * @param {number} total
 */
function grouped(batches, total) {
  const size = Math.ceil(Math.max(total, batches.length) / MOST_ROWS);
  /** @type {Sum[]} */
  const groups = [];
  for (const batch of batches) {
    const group = groups.at(-1);
    if (group && batch.from < group.from + size) join(group, batch);
    else groups.push(batch);
  }
  return groups;
}

/** @param {Sum} group @param {Sum} batch */
function join(group, batch) {
  group.to = batch.to;
  group.total += batch.total;
  group.start = Math.min(group.start, batch.start);
  if (batch.end !== Infinity) group.end = last(group.end, batch.end);
  for (const [state, number] of Object.entries(batch.counts)) {
    group.counts[state] = (group.counts[state] ?? 0) + number;
  }
}

class Row {
  #name = h("span", { class: "name" });
  #parts = PARTS.map((state) => h("span", { class: "part", "data-state": state }));
  #bar = h("span", { class: "bar" }, this.#parts);
  #time = h("span", { class: "time" });
  element = h("li", {}, this.#name, h("span", { class: "lane" }, this.#bar), this.#time);

  /** @param {Drawn} row */
  update(row) {
    const hasBegun = Number.isFinite(row.start);
    const name = nameOf(row);
    const idle = row.counts.cancelled ? "status.cancelled" : "batches.waiting";
    const time = hasBegun ? duration((row.end - row.start) / 1000) : t(idle);
    setText(this.#name, name);
    setText(this.#time, time);
    this.#bar.hidden = !hasBegun;
    if (hasBegun) this.#place(row);
    PARTS.forEach((state, index) => {
      this.#parts[index].style.flexGrow = String(row.counts[state] ?? 0);
    });
    const { succeeded: done = 0, failed = 0 } = row.counts;
    setAttribute(this.element, "title", t("batches.label", { batch: name, done, failed, total: row.total, time }));
  }

  /** @param {Drawn} row */
  #place({ start, end, scale }) {
    const share = (/** @type {number} */ time) => Math.max(0, (100 * time) / scale.length);
    const left = Math.min(share(start - scale.start), 99);
    this.#bar.style.left = `${left}%`;
    this.#bar.style.width = `${Math.max(1, Math.min(share(end - start), 100 - left))}%`;
  }
}

/** @param {Sum} sum */
const nameOf = ({ from, to }) =>
  from === to ? t("batches.one", { n: from }) : t("batches.some", { from, to });

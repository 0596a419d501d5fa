/** Each image of a task over all its nodes: its size, how far it is, and who is slowest. */

import { h, KeyedList, replace, setText } from "../dom.js";
import { bytes, duration, number } from "../format.js";
import { t } from "../language.js";
import { imageName } from "./places.js";

/**
 * @typedef {object} Sum of one image over all nodes
 * @property {string} image
 * @property {number} size bytes
 * @property {number} total nodes
 * @property {number} done
 * @property {number} present
 * @property {number} failed
 * @property {number[]} seconds of each pull
 * @property {{name: string, seconds: number} | null} slowest
 */

export class ImageTable {
  #rows = h("tbody");
  /** @type {KeyedList<Sum>} */
  #list = new KeyedList(this.#rows, ({ image }) => image, () => new Row());
  element = h(
    "section",
    { class: "card", "aria-labelledby": "images-title" },
    h("h2", { id: "images-title" }, t("images.title")),
    h("div", { class: "scroll" }, h("table", { class: "images" }, head(), this.#rows)),
  );

  /** @param {string[]} images @param {Api.TaskNode[]} nodes */
  update(images, nodes) {
    this.#list.show(summarize(images, nodes));
  }
}

function head() {
  const keys = ["image", "size", "done", "typical", "slowest"];
  return h("thead", {}, h("tr", {}, keys.map((key) => h("th", { scope: "col" }, t(`images.${key}`)))));
}

class Row {
  #name = h("th", { scope: "row", class: "name" });
  #size = h("td", { class: "number" });
  #done = h("span");
  #part = h("span", { class: "part" });
  #failed = h("span", { class: "part" });
  #notes = h("span", { class: "notes" });
  #typical = h("td", { class: "number" });
  #slowest = h("td");

  constructor() {
    this.#part.dataset.state = "succeeded";
    this.#failed.dataset.state = "failed";
    const bar = h("div", { class: "bar small" }, this.#part, this.#failed);
    const done = h("td", { class: "done" }, bar, h("span", {}, this.#done, " ", this.#notes));
    this.element = h("tr", {}, this.#name, this.#size, done, this.#typical, this.#slowest);
  }

  /** @param {Sum} image */
  update(image) {
    if (this.#name.textContent !== image.image) replace(this.#name, imageName(image.image));
    setText(this.#size, image.size ? bytes(image.size) : "–");
    setText(this.#done, `${number(image.done)} / ${number(image.total)}`);
    setText(this.#notes, notesOf(image));
    showPart(this.#part, image.done, image.total);
    showPart(this.#failed, image.failed, image.total);
    setText(this.#typical, image.seconds.length ? duration(median(image.seconds)) : "–");
    const { slowest } = image;
    setText(this.#slowest, slowest ? `${slowest.name} · ${duration(slowest.seconds)}` : "–");
  }
}

/** @param {HTMLElement} part @param {number} done @param {number} total */
function showPart(part, done, total) {
  part.hidden = done === 0;
  part.style.width = `${(100 * done) / (total || 1)}%`;
}

/** @param {Sum} sum */
function notesOf({ present, failed }) {
  const words = [];
  if (present) words.push(t("images.present", { n: present }));
  if (failed) words.push(t("progress.failed", { n: failed }));
  return words.join(" · ");
}

/**
 * One pass over all nodes; names that differ only in spelling are one image of the task.
 * @param {string[]} images
 * @param {Api.TaskNode[]} nodes
 */
function summarize(images, nodes) {
  /** @type {Map<string, Sum>} */
  const found = new Map();
  for (const node of nodes) {
    for (const image of node.images) {
      const sum = found.get(image.image) ?? blank(image.image);
      found.set(image.image, sum);
      count(sum, image, node);
    }
  }
  const total = nodes.length;
  const named = found.size ? [...found.values()] : images.map(blank);
  return named.map((image) => ({ ...image, total }));
}

/** @param {string} image @returns {Sum} */
const blank = (image) =>
  ({ image, size: 0, total: 0, done: 0, present: 0, failed: 0, seconds: [], slowest: null });

/** @param {Sum} sum @param {Api.NodeImage} image @param {Api.TaskNode} node */
function count(sum, image, node) {
  sum.size = Math.max(sum.size, image.totalBytes ?? 0);
  if (image.state === "failed" && node.state === "failed") sum.failed += 1; // or it is tried again
  if (image.state === "present") sum.present += 1;
  if (image.state === "present" || image.state === "pulled") sum.done += 1;
  if (image.state !== "pulled" || image.seconds === undefined) return;
  sum.seconds.push(image.seconds);
  if (!sum.slowest || image.seconds > sum.slowest.seconds) {
    sum.slowest = { name: node.nodeName, seconds: image.seconds };
  }
}

/** @param {number[]} values */
function median(values) {
  values.sort((one, other) => one - other);
  return values[Math.floor(values.length / 2)];
}

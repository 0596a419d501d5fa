/** Each image of a task over all its nodes: its size, how far it is, and who is slowest. */

import { h, KeyedList, setText } from "../dom.js";
import { bytes, duration, number } from "../format.js";
import { t } from "../language.js";

export class ImageTable {
  #rows = h("tbody");
  #list = new KeyedList(this.#rows, ({ image }) => image, () => new Row());
  element = h(
    "section",
    { class: "card", "aria-labelledby": "images-title" },
    h("h2", { id: "images-title" }, t("images.title")),
    h("div", { class: "scroll" }, h("table", { class: "images" }, head(), this.#rows)),
  );

  /** @param {string[]} images @param {object[]} nodes */
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

  update(image) {
    setText(this.#name, image.image);
    setText(this.#size, image.size ? bytes(image.size) : "–");
    setText(this.#done, `${number(image.done)} / ${number(image.total)}`);
    setText(this.#notes, notesOf(image));
    showPart(this.#part, image.done, image.total);
    showPart(this.#failed, image.failed, image.total);
    setText(this.#typical, image.seconds.length ? duration(median(image.seconds)) : "–");
    const slowest = image.slowest;
    setText(this.#slowest, slowest ? `${slowest.name} · ${duration(slowest.seconds)}` : "–");
  }
}

function showPart(part, count, total) {
  part.hidden = count === 0;
  part.style.width = `${(100 * count) / (total || 1)}%`;
}

function notesOf({ present, failed }) {
  const words = [];
  if (present) words.push(t("images.present", { n: present }));
  if (failed) words.push(t("progress.failed", { n: failed }));
  return words.join(" · ");
}

/** One pass over all nodes; names that differ only in spelling are one image of the task. */
function summarize(images, nodes) {
  const found = new Map();
  for (const node of nodes) {
    for (const image of node.images) {
      if (!found.has(image.image)) found.set(image.image, blank(image.image));
      count(found.get(image.image), image, node);
    }
  }
  const total = nodes.length;
  const named = found.size ? [...found.values()] : images.map(blank);
  return named.map((image) => ({ ...image, total }));
}

const blank = (image) =>
  ({ image, size: 0, done: 0, present: 0, failed: 0, seconds: [], slowest: null });

function count(sum, image, node) {
  if (image.totalBytes > sum.size) sum.size = image.totalBytes;
  if (image.state === "failed" && node.state === "failed") sum.failed += 1; // or it is tried again
  if (image.state === "present") sum.present += 1;
  if (image.state === "present" || image.state === "pulled") sum.done += 1;
  if (image.state !== "pulled" || image.seconds === undefined) return;
  sum.seconds.push(image.seconds);
  if (!sum.slowest || image.seconds > sum.slowest.seconds) {
    sum.slowest = { name: node.nodeName, seconds: image.seconds };
  }
}

function median(values) {
  values.sort((one, other) => one - other);
  return values[values.length >> 1];
}

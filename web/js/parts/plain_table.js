/** A table of some ten rows, each a list of cells, and the words where there is none. */

import { h, replace } from "../dom.js";
import { t } from "../language.js";

/** @typedef {import("../dom.js").Child} Child */

export class PlainTable {
  #rows = h("tbody");
  #note = h("p", { class: "hint table-note", role: "status" }, t("tasks.loading"));
  #table;

  /** @param {string} label @param {string[]} heads */
  constructor(label, heads) {
    const head = h("tr", {}, heads.map((text) => h("th", { scope: "col" }, text)));
    this.#table = h("table", { class: "plain" }, h("thead", {}, head), this.#rows);
    this.#table.hidden = true;
    this.element = h(
      "div",
      { class: "wide-table", tabindex: 0, role: "group", "aria-label": label },
      this.#table,
      this.#note,
    );
  }

  /** @param {Child[][]} rows @param {string} none what is said where there is none */
  show(rows, none) {
    const cells = (/** @type {Child[]} */ row) => row.map((cell, at) => h(at ? "td" : "th", at ? {} : { scope: "row" }, cell));
    replace(this.#rows, rows.map((row) => h("tr", {}, cells(row))));
    this.#table.hidden = rows.length === 0;
    this.#say(rows.length === 0 && none);
  }

  /** What is said in place of rows. @param {...Child} words */
  say(...words) {
    this.show([], "");
    this.#say(words);
  }

  /** @param {Child} words */
  #say(words) {
    replace(this.#note, words);
    this.#note.hidden = !words;
  }
}

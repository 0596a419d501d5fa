/** A table of some ten rows, each a list of cells, and the words where there is none. */

import { h, KeyedList } from "../dom.js";
import { t } from "../language.js";

/** @typedef {import("../dom.js").Child} Child */
/** @typedef {{key: string, cells: HTMLTableCellElement[]}} Row */

const NOTE = { class: "hint table-note", role: "status" };

export class PlainTable {
  #rows = h("tbody");
  /** @type {KeyedList<Row>} */
  #list = new KeyedList(this.#rows, ({ key }) => key, newRow);
  #note = h("p", NOTE, t("tasks.loading"));
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

  /** @param {Child[][]} rows the first cell of each is its name @param {string} none what is said where there is none */
  show(rows, none) {
    this.#list.show(named(rows));
    this.#table.hidden = rows.length === 0;
    this.#say(rows.length === 0 && none);
  }

  /** What is said in place of rows. @param {...Child} words */
  say(...words) {
    this.#list.show([]);
    this.#table.hidden = true;
    this.#say(words);
  }

  /** What is said already stays: a button in it may have the focus. @param {Child} words */
  #say(words) {
    const said = h("p", { ...NOTE, hidden: !words }, words);
    this.#note.hidden = !words;
    if (!said.isEqualNode(this.#note)) this.#note.replaceChildren(...said.childNodes);
  }
}

/** Two rows of one name are two all the same. @param {Child[][]} rows @returns {Row[]} */
function named(rows) {
  /** @type {Map<string, number>} */
  const seen = new Map();
  return rows.map((row) => {
    const cells = row.map((cell, at) => (at ? h("td", {}, cell) : h("th", { scope: "row" }, cell)));
    const name = cells[0].textContent ?? "";
    const nth = seen.get(name) ?? 0;
    seen.set(name, nth + 1);
    return { key: `${nth} ${name}`, cells };
  });
}

/** Cells are put in place only where they differ: a link that is pressed or has the focus stays. */
function newRow() {
  const element = h("tr");
  const update = (/** @type {Row} */ { cells }) => {
    cells.forEach((cell, at) => {
      const shown = element.children[at];
      if (!shown) element.append(cell);
      else if (!shown.isEqualNode(cell)) shown.replaceWith(cell);
    });
  };
  return { element, update };
}

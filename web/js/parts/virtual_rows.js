/**
 * A table of which only the rows in view are in the document: ten thousand scroll like ten. Screen
 * readers are told the whole number of rows and the place of each.
 */

import { h, replace } from "../dom.js";

const ROW = 44;
const SPARE = 6;

/** @template Item */
export class VirtualRows {
  /** @type {Item[]} */
  #items = [];
  /** @type {{element: HTMLElement, update: (item: Item) => void}[]} */
  #rows = [];
  #top = h("tr", { "aria-hidden": "true", class: "spacer" }, h("td"));
  #bottom = h("tr", { "aria-hidden": "true", class: "spacer" }, h("td"));
  #body = h("tbody", { role: "rowgroup" }, this.#top, this.#bottom);
  #head = h("tr", { role: "row" });
  #table;
  #observer = new ResizeObserver(() => this.#draw());
  /** @type {(() => {element: HTMLElement, update: (item: Item) => void}) | undefined} */
  makeRow;

  /**
   * @param {string} name a class
   * @param {string} label
   */
  constructor(name, label) {
    this.#table = h(
      "table",
      { class: name, role: "table", "aria-label": label },
      h("thead", { role: "rowgroup" }, this.#head),
      this.#body,
    );
    this.element = h(
      "div",
      { class: "scroll virtual", tabindex: 0, role: "region", "aria-label": label, onscroll: () => this.#draw() },
      this.#table,
    );
  }

  /** Other columns, and with them other rows. @param {HTMLElement[]} heads @param {() => {element: HTMLElement, update: (item: Item) => void}} makeRow */
  columns(heads, makeRow) {
    replace(this.#head, heads);
    this.makeRow = makeRow;
    for (const { element } of this.#rows) element.remove();
    this.#rows = [];
    this.#draw();
  }

  start() {
    this.#observer.observe(this.element);
  }

  stop() {
    this.#observer.disconnect();
  }

  /** @param {Item[]} items */
  show(items) {
    this.#items = items;
    this.#table.setAttribute("aria-rowcount", String(items.length + 1));
    this.#draw();
  }

  #draw() {
    const inView = Math.ceil((this.element.clientHeight || 0) / ROW) + 2 * SPARE;
    const most = Math.max(0, this.#items.length - inView);
    const first = Math.min(most, Math.max(0, Math.floor(this.element.scrollTop / ROW) - SPARE));
    const shown = this.#items.slice(first, first + inView);
    while (this.#rows.length < shown.length) this.#addRow();
    for (const [index, row] of this.#rows.entries()) this.#fill(row, shown[index], first + index);
    this.#stretch(this.#top, first);
    this.#stretch(this.#bottom, this.#items.length - first - shown.length);
  }

  #addRow() {
    const row = /** @type {NonNullable<typeof this.makeRow>} */ (this.makeRow)();
    this.#rows.push(row);
    this.#bottom.before(row.element);
  }

  /**
   * @param {{element: HTMLElement, update: (item: Item) => void}} row
   * @param {Item | undefined} item
   * @param {number} place
   */
  #fill(row, item, place) {
    row.element.hidden = item === undefined;
    if (item === undefined) return;
    row.element.setAttribute("aria-rowindex", String(place + 2));
    row.update(item);
  }

  /** @param {HTMLTableRowElement} spacer @param {number} rows */
  #stretch(spacer, rows) {
    spacer.hidden = rows <= 0;
    spacer.cells[0].style.height = `${rows * ROW}px`;
  }
}

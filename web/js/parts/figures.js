/** A row of figures, each with its name. */

import { h, setText } from "../dom.js";

/** @typedef {[string, string, string | Node, string?]} Figure */

export class Figures {
  element = h("dl", { class: "figures" });
  /** @type {Map<string, {name: HTMLElement, value: HTMLElement, element: HTMLElement}>} */
  #rows = new Map();

  /**
   * @param {Figure[]} figures key, name, value, and a state for its
   *   colour. A value that is a node stays the one that was shown first.
   */
  show(figures) {
    const wanted = new Set(figures.map(([key]) => key));
    for (const [key, row] of this.#rows) {
      row.element.hidden = !wanted.has(key);
    }
    figures.forEach(([key, name, value, state = ""], index) => {
      const row = this.#row(key, value);
      row.element.style.order = String(index); // one that comes later need not stand last
      setText(row.name, name);
      if (typeof value === "string") setText(row.value, value);
      row.element.dataset.state = state;
    });
  }

  /** @param {string} key @param {string | Node} value */
  #row(key, value) {
    const known = this.#rows.get(key);
    if (known) return known;
    const title = h("dt");
    const shown = h("dd", {}, typeof value === "string" ? "" : value);
    const row = { name: title, value: shown, element: h("div", {}, title, shown) };
    this.#rows.set(key, row);
    this.element.append(row.element);
    return row;
  }
}

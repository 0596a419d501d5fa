/** Goes through the pages of a list. */

import { h, setText } from "../dom.js";
import { t } from "../language.js";
import { iconButton } from "./buttons.js";

export const SIZES = [20, 50, 100];

export class Pager {
  #range = h("span", { class: "range" });
  #sizes = h(
    "select",
    { "aria-label": t("page.size"), onchange: () => this.onSize(Number(this.#sizes.value)) },
    SIZES.map((size) => h("option", { value: size }, size)),
  );
  #previous = iconButton({ icon: "left", label: t("page.previous"), onclick: () => this.#go(-1) });
  #next = iconButton({ icon: "right", label: t("page.next"), onclick: () => this.#go(1) });
  #page = { limit: SIZES[0], offset: 0 };

  /** @param {(offset: number) => void} onPage @param {(size: number) => void} onSize */
  constructor(onPage, onSize) {
    this.onPage = onPage;
    this.onSize = onSize;
    this.element = h(
      "nav",
      { class: "pager", "aria-label": t("page.navigation") },
      this.#range,
      this.#sizes,
      this.#previous,
      this.#next,
    );
  }

  /** @param {{limit: number, offset: number}} page @param {number} total */
  update(page, total) {
    this.#page = page;
    const to = Math.min(page.offset + page.limit, total);
    const from = Math.min(page.offset + 1, total);
    setText(this.#range, t("page.range", { from, to, total }));
    this.#sizes.value = String(page.limit);
    this.#previous.disabled = page.offset === 0;
    this.#next.disabled = to >= total;
    this.element.hidden = total <= SIZES[0] && page.offset === 0;
  }

  /** @param {number} direction */
  #go(direction) {
    this.onPage(Math.max(0, this.#page.offset + direction * this.#page.limit));
  }
}

/** What the colours of a map mean, how many cells have each, and a press shows only those. */

import { h, setAttribute, setText } from "../dom.js";
import { number } from "../format.js";
import { t } from "../language.js";
import { wordOf } from "./chips.js";

export class Legend {
  /** @type {Map<string, {element: HTMLElement, count: HTMLElement}>} */
  #buttons = new Map();
  #chosen = "";

  /**
   * @param {"state" | "nodes" | "set"} kind which words
   * @param {string[]} states in their order
   * @param {(state: string) => void} onChoose "" for all
   */
  constructor(kind, states, onChoose) {
    this.onChoose = onChoose;
    this.element = h("div", { class: "legend", role: "group", "aria-label": t("map.legend") });
    for (const state of states) this.#add(kind, state);
  }

  /** @param {string} kind @param {string} state */
  #add(kind, state) {
    const count = h("b");
    const mark = h("span", { class: "mark", "aria-hidden": "true" });
    const attributes = { type: "button", "aria-pressed": "false", onclick: () => this.#press(state) };
    const element = h("button", attributes, mark, count, h("span", {}, wordOf(kind, state)));
    element.dataset.state = state;
    this.#buttons.set(state, { element, count });
    this.element.append(element);
  }

  /** @param {Record<string, number>} counts states without any are not shown */
  update(counts) {
    for (const [state, { element, count }] of this.#buttons) {
      setText(count, number(counts[state] ?? 0));
      element.hidden = !counts[state] && this.#chosen !== state;
    }
  }

  /** @param {string} state */
  #press(state) {
    this.choose(this.#chosen === state ? "" : state);
  }

  /** @param {string} state "" for all */
  choose(state) {
    this.#chosen = state;
    for (const [name, { element }] of this.#buttons) {
      setAttribute(element, "aria-pressed", String(name === this.#chosen));
    }
    this.onChoose(this.#chosen);
  }
}

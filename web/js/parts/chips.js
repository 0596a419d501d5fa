/** A word for a state, with its colour and a shape that says the same without colour. */

import { h, setText } from "../dom.js";
import { hasWords, t } from "../language.js";

/**
 * The word of a state; one that is newer than this page is shown as it is.
 * @param {string} kind
 * @param {string} state
 */
export const wordOf = (kind, state) => (hasWords(`${kind}.${state}`) ? t(`${kind}.${state}`) : state);

/**
 * @param {"status" | "state" | "image" | "nodes" | "place" | "set"} kind which words
 * @param {string} [state]
 */
export function chip(kind, state) {
  const word = h("span");
  const element = h("span", { class: "chip" }, h("span", { class: "mark", "aria-hidden": "true" }), word);
  const show = (/** @type {string} */ shown) => {
    element.dataset.state = shown;
    setText(word, wordOf(kind, shown));
  };
  if (state !== undefined) show(state);
  return Object.assign(element, { show });
}

/** A field that a list is searched with; what is typed is told when the typing pauses. */

import { h } from "../dom.js";
import { icon } from "./icons.js";

const PAUSE = 300;

export class SearchBox {
  #input;
  #timer = 0;

  /** @param {string} label @param {(text: string) => void} onSearch */
  constructor(label, onSearch) {
    const tell = () => onSearch(this.#input.value.trim());
    this.#input = h("input", {
      type: "search",
      "aria-label": label,
      placeholder: label,
      maxlength: 512,
      oninput: () => {
        clearTimeout(this.#timer);
        this.#timer = setTimeout(tell, PAUSE);
      },
    });
    this.element = h("label", { class: "find" }, icon("find"), this.#input);
  }

  /** @param {string} text what is searched for now */
  show(text) {
    this.#input.value = text;
  }

  get text() {
    return this.#input.value;
  }

  stop() {
    clearTimeout(this.#timer);
  }
}

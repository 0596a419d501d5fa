/** One labelled field of a form, with its hint and its faults where screen readers find them. */

import { h, setAttribute, setText } from "../dom.js";
import { NUMBERS } from "../create_draft.js";

/**
 * @typedef {{name: string, label: string, value: string, hint: string, lines?: number,
 *            choices?: [string, string][], isWide?: boolean,
 *            onInput: (value: string) => void}} FieldOptions
 */

export class Field {
  #hint;
  #faults;
  #input;

  /**
   * @param {FieldOptions} options
   */
  constructor(options) {
    const { name, label, hint, isWide } = options;
    this.#hint = h("p", { class: "hint", id: `${name}-hint` }, hint);
    this.#faults = h("p", { class: "fault", id: `${name}-fault`, hidden: true });
    this.#input = inputFor(options);
    this.#input.addEventListener("input", () => options.onInput(this.#input.value));
    this.element = h(
      "div",
      { class: isWide ? "field wide" : "field" },
      h("label", { for: name }, label),
      this.#input,
      this.#faults,
      hint && this.#hint,
    );
    setAttribute(this.#input, "aria-describedby", describedBy(name, hint));
  }

  /** @param {string} value */
  show(value) {
    this.#input.value = value;
  }

  /** @param {{text: string}[]} faults */
  complain(faults) {
    setText(this.#faults, faults.map(({ text }) => text).join(" "));
    this.#faults.hidden = faults.length === 0;
    this.#hint.hidden = faults.length > 0; // it says the same
    setAttribute(this.#input, "aria-invalid", faults.length > 0 ? "true" : null);
  }

  /** @param {boolean} rests it means nothing now */
  rest(rests) {
    this.#input.disabled = rests;
  }

  focus() {
    this.#input.focus();
  }
}

/** @param {string} name @param {string} hint */
const describedBy = (name, hint) => (hint ? `${name}-fault ${name}-hint` : `${name}-fault`);

/** @param {FieldOptions} options */
function inputFor({ name, value, choices, lines }) {
  const common = { id: name, name, autocomplete: "off", spellcheck: "false" };
  if (choices) {
    const options = choices.map(([key, text]) => h("option", { value: key }, text));
    return withValue(h("select", { id: name, name }, options), value);
  }
  if (lines) return withValue(h("textarea", { ...common, rows: lines }), value);
  const [min, max] = NUMBERS[name] ?? [];
  const type = NUMBERS[name] ? "number" : "text";
  return withValue(h("input", { ...common, type, min, max, step: NUMBERS[name] && 1 }), value);
}

/**
 * @template {HTMLInputElement | HTMLSelectElement | HTMLTextAreaElement} Input
 * @param {Input} input @param {string} value
 */
function withValue(input, value) {
  input.value = value;
  return input;
}

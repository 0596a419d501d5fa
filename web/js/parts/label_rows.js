/** Rows of label requirements: a key, a condition, a value. */

import { label, OPERATORS, takesValue } from "../create_draft.js";
import { h, setAttribute, setText } from "../dom.js";
import { t } from "../language.js";
import { button, iconButton } from "./buttons.js";

/** @type {Record<string, string>} */
const SYMBOLS = { is: "=", Gt: ">", Lt: "<" };

/** @typedef {import("../create_draft.js").LabelRow} LabelRow */

export class LabelRows {
  #rows = h("div", { class: "label-rows" });
  #fault = h("p", { class: "fault", id: "labels-fault", hidden: true });
  #add = button({ text: t("form.labels.add"), icon: "plus", onclick: () => this.#addRow() });

  /** @param {import("../create_draft.js").Draft} draft @param {() => void} onInput */
  constructor(draft, onInput) {
    this.draft = draft;
    this.onInput = onInput;
    this.element = h(
      "div",
      { class: "field", role: "group", "aria-labelledby": "labels-label", "aria-describedby": "labels-fault labels-hint" },
      h("span", { class: "label-title", id: "labels-label" }, t("form.labels")),
      this.#rows,
      this.#fault,
      h("div", {}, this.#add),
      h("p", { class: "hint", id: "labels-hint" }, t("form.labels.hint")),
    );
    this.#draw();
  }

  show() {
    this.#draw();
  }

  /** @param {{row?: number, text: string}[]} faults */
  complain(faults) {
    const said = (/** @type {number | undefined} */ row) => faults.filter((fault) => fault.row === row).map(({ text }) => text).join(" ");
    setText(this.#fault, said(undefined));
    this.#fault.hidden = !said(undefined);
    [...this.#rows.children].forEach((row, index) => {
      setText(/** @type {Element} */ (row.querySelector(".fault")), said(index));
      setAttribute(/** @type {Element} */ (row.querySelector("input")), "aria-invalid", said(index) ? "true" : null);
    });
  }

  focus(row = 0) {
    (this.#rows.children[row]?.querySelector("input") ?? this.#add).focus();
  }

  #addRow() {
    this.draft.labels.push(label());
    this.#draw();
    this.onInput();
    this.focus(this.draft.labels.length - 1);
  }

  /** @param {LabelRow} row */
  #removeRow(row) {
    const index = this.draft.labels.indexOf(row);
    this.draft.labels.splice(index, 1);
    this.#draw();
    this.onInput();
    this.#add.focus();
  }

  #draw() {
    this.#rows.replaceChildren(...this.draft.labels.map((row) => this.#row(row)));
  }

  /** @param {LabelRow} row */
  #row(row) {
    const value = this.#input(row, "value", valueName(row));
    const operator = h(
      "select",
      { "aria-label": t("form.labels.operator"), onchange: () => this.#choose(row, operator, value) },
      OPERATORS.map((name) => h("option", { value: name }, inWords(name))),
    );
    operator.value = row.operator;
    value.hidden = !takesValue(row);
    const remove = iconButton({ icon: "close", label: t("form.labels.remove"), onclick: () => this.#removeRow(row) });
    const fault = h("p", { class: "fault", id: `labels-fault-${this.draft.labels.indexOf(row)}` });
    const key = this.#input(row, "key", t("form.labels.key"));
    key.setAttribute("aria-describedby", fault.id);
    return h("div", { class: "label-row" }, key, operator, value, remove, fault);
  }

  /** @param {LabelRow} row @param {"key" | "value"} field @param {string} name */
  #input(row, field, name) {
    const input = h("input", {
      type: "text",
      "aria-label": name,
      placeholder: name,
      spellcheck: "false",
      autocomplete: "off",
      autocapitalize: "off",
      oninput: () => {
        row[field] = input.value;
        this.onInput();
      },
    });
    input.value = row[field];
    return input;
  }

  /** @param {LabelRow} row @param {HTMLSelectElement} operator @param {HTMLInputElement} value */
  #choose(row, operator, value) {
    row.operator = operator.value;
    value.hidden = !takesValue(row);
    value.placeholder = valueName(row);
    value.setAttribute("aria-label", valueName(row));
    this.onInput();
  }
}

/** @param {LabelRow} row */
const valueName = ({ operator }) =>
  t(operator === "In" || operator === "NotIn" ? "form.labels.values" : "form.labels.value");

/** @param {string} name */
const inWords = (name) => SYMBOLS[name] ?? t(`form.labels.${name}`);

/** Images, one a line, each checked while it is typed: what it means in full, or what is wrong. */

import { readLines } from "../create_draft.js";
import { h, setAttribute, setText } from "../dom.js";
import { t } from "../language.js";

const LEAST_LINES = 3;
const MOST_LINES = 12;

/** @typedef {import("../create_draft.js").ImageLine} ImageLine */

export class ImageLines {
  #input;
  #verdicts = h("ol", { class: "verdicts", id: "images-verdicts" });
  #count = h("p", { class: "hint" });
  #fault = h("p", { class: "fault", id: "images-fault", hidden: true });
  /** @type {Map<number, string>} what the server said of a line */
  #told = new Map();

  /** @param {import("../create_draft.js").Draft} draft @param {() => void} onInput */
  constructor(draft, onInput) {
    this.draft = draft;
    this.#input = h("textarea", {
      id: "images",
      name: "images",
      spellcheck: "false",
      autocapitalize: "off",
      wrap: "off",
      placeholder: "nginx:1.27\nregistry.example.com/team/app@sha256:…",
      "aria-describedby": "images-fault images-hint images-verdicts",
      oninput: () => this.#typed(onInput),
    });
    this.#input.value = draft.images;
    this.element = h(
      "div",
      { class: "field images-field" },
      h("label", { for: "images", class: "unseen" }, t("form.images")),
      this.#input,
      this.#count,
      this.#verdicts,
      this.#fault,
      h("p", { class: "hint", id: "images-hint" }, t("form.images.hint")),
    );
    this.#judge();
  }

  /** @param {() => void} onInput */
  #typed(onInput) {
    this.draft.images = this.#input.value;
    this.#told.clear();
    this.#judge();
    onInput();
  }

  /** @param {string} value */
  show(value) {
    this.#input.value = value;
    this.#told.clear();
    this.#judge();
  }

  /** @param {{row?: number, text: string}[]} faults */
  complain(faults) {
    const general = faults.filter(({ row }) => row === undefined);
    setText(this.#fault, general.map(({ text }) => text).join(" "));
    this.#fault.hidden = general.length === 0;
    this.#told = new Map(faults.flatMap(({ row, text }) => (row === undefined ? [] : [[row, text]])));
    setAttribute(this.#input, "aria-invalid", faults.length > 0 ? "true" : null);
    this.#judge();
  }

  focus(row = 0) {
    const { start, text } = readLines(this.draft)[row];
    this.#input.focus();
    this.#input.setSelectionRange(start, start + text.length);
  }

  #judge() {
    const lines = readLines(this.draft);
    this.#input.rows = Math.max(LEAST_LINES, Math.min(lines[lines.length - 1].line, MOST_LINES));
    const shown = lines.flatMap((line, index) => (line.text ? [this.#verdict(line, index)] : []));
    shown.sort((one, other) => Number(other.dataset.state === "failed") - Number(one.dataset.state === "failed"));
    setText(this.#count, shown.length ? t("form.images.n", { n: shown.length }) : "");
    this.#verdicts.replaceChildren(...shown);
    this.#verdicts.hidden = shown.length === 0;
  }

  /** @param {ImageLine} line @param {number} index */
  #verdict(line, index) {
    const [state, text] = this.#judgement(line, index);
    const number = h("span", { class: "line" }, line.line);
    const mark = h("span", { class: "mark", "aria-hidden": "true" });
    const about = state === "succeeded" ? text : `${line.text}: ${text}`;
    const item = h("li", {}, number, mark, h("span", {}, about));
    item.dataset.state = state;
    return item;
  }

  /** @param {ImageLine} line @param {number} index @returns {[string, string]} */
  #judgement({ canonical, fault, values, sameAs }, index) {
    if (fault) return ["failed", t(`reference.${fault}`, values)];
    if (this.#told.has(index)) return ["failed", this.#told.get(index) ?? ""];
    if (sameAs !== undefined) return ["waiting", t("form.images.double", { n: sameAs })];
    return ["succeeded", canonical ?? ""];
  }
}

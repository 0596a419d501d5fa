/** The form of what is to be pulled where, and how: of a task or of a warm set. The draft is its owner's. */

import { draftFaults, pauses, placeOf } from "../create_draft.js";
import { h, setText } from "../dom.js";
import { duration } from "../format.js";
import { t } from "../language.js";
import { worded } from "../messages.js";
import { newKey } from "../server.js";
import { button } from "./buttons.js";
import { copyText } from "./clipboard.js";
import { Field } from "./field.js";
import { ImageLines } from "./image_lines.js";
import { LabelRows } from "./label_rows.js";
import { NodePreview } from "./node_preview.js";

/** @type {Record<string, string[]>} */
const CHOICES = {
  retryStrategy: ["linear", "exponential"],
  rollout: ["batch", "rolling"],
  imagePullPolicy: ["IfNotPresent", "Always"],
  paused: ["false", "true"],
  "schedule.joins": ["window", "always"],
  "pin.wanted": ["false", "true"],
  "gate.condition": ["false", "true"],
};
const HINTED = new Set([
  "name",
  "names",
  "batchSize",
  "priority",
  "maxRetries",
  "retryDelay",
  "maxFailedNodes",
  "pullTimeoutSeconds",
  "webhookUrl",
  "credentials",
  "pullSecrets",
  "schedule.cron",
  "schedule.timeZone",
  "schedule.window",
  "refresh.tags",
  "pin.until",
  "gate.taint",
  "gate.openAfter",
]);
const WIDE = new Set(["webhookUrl"]);

/**
 * @typedef {import("../create_draft.js").Draft & Record<string, any>} Draft
 * @typedef {{field: string, row?: number, text: string}} FieldFault
 * @typedef {object} FormField
 * @property {HTMLElement} element
 * @property {(value: any) => void} show what the draft has
 * @property {(faults: FieldFault[]) => void} complain
 * @property {(row?: number) => void} focus
 * @property {(rests: boolean) => void} [rest] whether it means nothing now
 * @typedef {[card: string, rows: string[][]][]} Layout cards by the key of their title, each with its rows of fields
 * @typedef {object} Purpose
 * @property {Layout} layout
 * @property {() => Draft} blank what the form is cleared to
 * @property {(draft: Draft) => import("../create_draft.js").DraftFault[]} faults what only it demands
 * @property {(draft: Draft) => string} command the same as a command for a shell
 * @property {(draft: Draft, matching: number) => Promise<boolean>} isMeant asks where many nodes match
 * @property {(draft: Draft, key: string) => Promise<void>} send
 * @property {() => void} onClear
 * @property {{send: string, sending: string}} words
 * @property {Record<string, string>} [hints] of fields that mean another thing here
 */

/** Enter in a field creates nothing: by default every node is meant. @param {KeyboardEvent} event */
function keepTyping(event) {
  if (event.key === "Enter" && event.target instanceof HTMLInputElement) event.preventDefault();
}

export class DraftForm {
  /** @type {Map<string, FormField>} */
  #fields = new Map();
  #preview = new NodePreview();
  #command = h("pre", { tabindex: 0, "aria-label": t("form.curl") });
  #retries = h("p", { class: "hint" });
  #summary = h("div", { class: "summary bad", role: "alert", hidden: true });
  #submit;
  #tried = false;
  /** One key for one draft: sent twice, by a double click or a lost answer, it makes one task. */
  #key = newKey();

  /** @param {import("../app.js").Shell} shell @param {Draft} draft @param {Purpose} purpose */
  constructor(shell, draft, purpose) {
    this.shell = shell;
    this.draft = draft;
    this.purpose = purpose;
    this.#submit = button({ text: purpose.words.send, kind: "primary", type: "submit" });
    this.element = h(
      "form",
      { class: "form-columns", novalidate: true, onsubmit: (event) => this.#send(event), onkeydown: keepTyping },
      h("div", { class: "form-main" }, purpose.layout.map(([card, rows]) => this.#card(card, rows))),
      this.#side(),
    );
  }

  start() {
    this.#changed();
  }

  stop() {
    this.#preview.stop();
  }

  /** Shows what the draft has by now. */
  show() {
    for (const [name, field] of this.#fields) field.show(this.draft[name]);
    this.#changed();
  }

  // ── the frame ──

  /** @param {string} key @param {string[][]} rows */
  #card(key, rows) {
    const children = rows.map((names) => {
      const fields = names.map((name) => this.#field(name));
      const line = names.length > 1 ? h("div", { class: "fields" }, fields) : fields;
      return names.includes("maxRetries") ? [line, this.#retries] : line;
    });
    return h("fieldset", { class: "card" }, h("legend", {}, t(`form.${key}`)), children);
  }

  /** @param {string} name */
  #field(name) {
    const field = this.#made(name);
    this.#fields.set(name, field);
    return field.element;
  }

  /** @param {string} name @returns {FormField} */
  #made(name) {
    const onInput = () => this.#changed();
    if (name === "images") return new ImageLines(this.draft, onInput);
    if (name === "labels") return new LabelRows(this.draft, onInput);
    return new Field({
      name,
      choices: CHOICES[name]?.map((value) => [value, t(`form.${name}.${value}`)]),
      hint: this.purpose.hints?.[name] ?? (HINTED.has(name) ? t(`form.${name}.hint`) : ""),
      label: t(`form.${name}`),
      value: this.draft[name],
      lines: name === "names" ? 2 : undefined,
      isWide: WIDE.has(name),
      onInput: (value) => {
        this.draft[name] = value;
        this.#changed();
      },
    });
  }

  #side() {
    const copy = button({ text: t("form.curl.copy"), icon: "copy", kind: "quiet", onclick: () => this.#copy() });
    return h(
      "div",
      { class: "form-side" },
      this.#preview.element,
      h("section", { class: "card command" }, h("header", {}, h("h2", {}, t("form.curl")), copy), this.#command),
      this.#summary,
      this.#submit,
      button({ text: t("form.clear"), kind: "quiet", onclick: () => this.#clear() }),
    );
  }

  #copy() {
    copyText(this.#command.textContent ?? "");
    this.shell.tell(t("action.copied"));
  }

  #clear() {
    Object.assign(this.draft, this.purpose.blank());
    this.purpose.onClear();
    this.#tried = false;
    this.#showFaults([]);
    this.show();
  }

  // ── typing ──

  #changed() {
    this.#key = newKey();
    setText(this.#command, this.purpose.command(this.draft));
    const times = pauses(this.draft).map(duration).join(t("list.separator"));
    setText(this.#retries, times ? t("form.retries.preview", { times }) : t("form.retries.none"));
    const has = new Set(this.#ownFaults().map(({ field }) => field));
    for (const name of ["retryStrategy", "retryDelay"]) this.#fields.get(name)?.rest?.(this.draft.maxRetries === "0" && !has.has(name));
    this.#preview.ask(this.draft);
    // Who has not finished typing is not told off; who tried to send is.
    if (this.#tried) this.#showFaults(this.#ownFaults());
  }

  #ownFaults() {
    const found = [...this.purpose.faults(this.draft), ...draftFaults(this.draft)];
    return found.map(({ field, row, key, values }) => ({ field, row, text: t(key, values) }));
  }

  // ── sending ──

  /** @param {SubmitEvent} event */
  async #send(event) {
    event.preventDefault();
    this.#tried = true;
    const own = this.#ownFaults();
    this.#showFaults(own);
    if (own.length) return this.#focusFirst(own);
    if (!(await this.purpose.isMeant(this.draft, await this.#preview.counted()))) return;
    this.#busy(true);
    try {
      await this.purpose.send(this.draft, this.#key);
    } catch (problem) {
      this.#refused(problem);
    } finally {
      this.#busy(false);
    }
  }

  /** @param {boolean} isBusy */
  #busy(isBusy) {
    this.#submit.disabled = isBusy;
    setText(this.#submit.children[0], isBusy ? this.purpose.words.sending : this.purpose.words.send);
  }

  /** @param {import("../server.js").Problem} problem */
  #refused(problem) {
    if (!problem.errors?.length) return this.shell.complain(problem);
    const found = problem.errors.map((fault) => ({
      ...this.#placeOf(fault.field),
      text: worded(fault),
    }));
    this.#showFaults(found);
    this.#focusFirst(found);
  }

  /** Where a fault belongs that the server names by a JSON pointer. @param {string} pointer */
  #placeOf(pointer) {
    const path = pointer.slice(1).replaceAll("/", ".");
    const nested = [...this.#fields.keys()].filter((name) => name.includes("."));
    const field = nested.find((name) => name === path || name.startsWith(`${path}.`));
    return field === undefined ? placeOf(this.draft, pointer) : { field };
  }

  /** @param {FieldFault[]} found */
  #showFaults(found) {
    for (const [name, field] of this.#fields) {
      field.complain(found.filter((fault) => fault.field === name));
    }
    const homeless = found.filter(({ field }) => !this.#fields.has(field));
    const lines = [t("form.faults", { n: found.length }), ...homeless.map(({ text }) => text)];
    this.#summary.replaceChildren(...(found.length ? lines.map((line) => h("p", {}, line)) : []));
    this.#summary.hidden = found.length === 0;
  }

  /** @param {FieldFault[]} found */
  #focusFirst(found) {
    const order = [...this.#fields.keys()];
    const names = found.map(({ field }) => field).filter((name) => this.#fields.has(name));
    names.sort((one, other) => order.indexOf(one) - order.indexOf(other));
    const first = found.find(({ field }) => field === names[0]);
    this.#fields.get(names[0])?.focus(first?.row);
  }
}

/** The form of a new task. What is typed lives in a draft that outlives the view. */

import {
  body,
  curl,
  FIELDS,
  draftOf,
  faults,
  images,
  newDraft,
  pauses,
  placeOf,
} from "../create_draft.js";
import { h, setText } from "../dom.js";
import { duration, imagesInShort } from "../format.js";
import { t } from "../language.js";
import { worded } from "../messages.js";
import { button } from "../parts/buttons.js";
import { copyText } from "../parts/clipboard.js";
import { askToRun, MANY_NODES } from "../parts/dialogs.js";
import { Field } from "../parts/field.js";
import { ImageLines } from "../parts/image_lines.js";
import { LabelRows } from "../parts/label_rows.js";
import { NodePreview } from "../parts/node_preview.js";
import { taskLink } from "../router.js";
import { get, newKey, post } from "../server.js";

/** @type {Record<string, string[]>} */
const CHOICES = {
  retryStrategy: ["linear", "exponential"],
  rollout: ["batch", "rolling"],
  imagePullPolicy: ["IfNotPresent", "Always"],
};
const HINTED = new Set([
  "batchSize",
  "priority",
  "maxRetries",
  "retryDelay",
  "maxFailedNodes",
  "pullTimeoutSeconds",
  "webhookUrl",
]);
const WIDE = new Set(["webhookUrl"]);

/**
 * @typedef {import("../create_draft.js").Draft} Draft
 * @typedef {{field: string, row?: number, text: string}} FieldFault
 * @typedef {object} FormField
 * @property {HTMLElement} element
 * @property {(value: any) => void} show what the draft has
 * @property {(faults: FieldFault[]) => void} complain
 * @property {(row?: number) => void} focus
 * @typedef {keyof Omit<Draft, "images" | "labels">} TextField
 */

/** Enter in a field creates nothing: by default a task is for every node. @param {KeyboardEvent} event */
function keepTyping(event) {
  if (event.key === "Enter" && event.target instanceof HTMLInputElement) event.preventDefault();
}

export class NewTaskView {
  #draft;
  /** @type {Map<string, FormField>} */
  #fields = new Map();
  #preview = new NodePreview();
  #command = h("pre", { tabindex: 0, "aria-label": t("form.curl") });
  #retries = h("p", { class: "hint" });
  #summary = h("div", { class: "summary bad", role: "alert", hidden: true });
  #submit = button({ text: t("form.create"), kind: "primary", type: "submit" });
  #note = h("p", { class: "hint", hidden: true });
  #tried = false;
  #stopped = false;
  /** One key for one draft: sent twice, by a double click or a lost answer, it makes one task. */
  #key = newKey();

  /** @param {import("../router.js").Route} route @param {import("../app.js").Shell} shell */
  constructor(route, shell) {
    this.shell = shell;
    this.from = route.query.get("from") ?? "";
    // A template and an empty form are different drafts: neither is left over in the other.
    if (shell.kept.template !== this.from) shell.kept = { template: this.from };
    shell.kept.draft ??= newDraft();
    this.#draft = shell.kept.draft;
    this.#make();
    this.element = h(
      "form",
      { class: "view form", novalidate: true, onsubmit: (event) => this.#send(event), onkeydown: keepTyping },
      h("h1", { tabindex: -1 }, t("form.title")),
      this.#note,
      h("div", { class: "form-columns" }, this.#left(), this.#right()),
    );
  }

  start() {
    this.shell.title(t("form.title"));
    this.#changed();
    if (this.shell.kept.note) this.#showNote(this.shell.kept.note);
    else if (this.from) this.#takeTemplate();
  }

  stop() {
    this.#stopped = true;
    this.#preview.stop();
  }

  // ── the frame ──

  #make() {
    const onInput = () => this.#changed();
    this.#fields.set("images", new ImageLines(this.#draft, onInput));
    this.#fields.set("labels", new LabelRows(this.#draft, onInput));
    this.#fields.set("names", this.#field("names", { lines: 2 }));
    for (const name of FIELDS) {
      this.#fields.set(name, this.#field(name, { choices: CHOICES[name], isWide: WIDE.has(name) }));
    }
  }

  /**
   * @param {TextField} name
   * @param {{choices?: string[], lines?: number, isWide?: boolean}} options
   */
  #field(name, options) {
    const hint = name === "names" || HINTED.has(name) ? t(`form.${name}.hint`) : "";
    const choices = options.choices?.map((value) => /** @type {[string, string]} */ ([value, t(`form.${name}.${value}`)]));
    return new Field({
      ...options,
      name,
      choices,
      hint,
      label: t(`form.${name}`),
      value: this.#draft[name],
      onInput: (value) => {
        this.#draft[name] = value;
        this.#changed();
      },
    });
  }

  #left() {
    const of = (/** @type {string} */ name) => this.#fields.get(name)?.element;
    return h(
      "div",
      { class: "form-main" },
      this.#card("images", of("images")),
      this.#card("nodes", of("labels"), of("names")),
      this.#card("pace", this.#row("batchSize", "priority", "rollout")),
      this.#card(
        "trouble",
        this.#row("maxRetries", "retryStrategy", "retryDelay"),
        this.#retries,
        this.#row("maxFailedNodes", "pullTimeoutSeconds"),
      ),
      this.#card("more", this.#row("imagePullPolicy", "webhookUrl")),
    );
  }

  /** @param {...string} names */
  #row = (...names) =>
    h("div", { class: "fields" }, names.map((name) => this.#fields.get(name)?.element));

  /** @param {string} key @param {...import("../dom.js").Child} children */
  #card = (key, ...children) =>
    h("fieldset", { class: "card" }, h("legend", {}, t(`form.${key}`)), children);

  #right() {
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

  // ── a template ──

  async #takeTemplate() {
    try {
      /** @type {Api.Task} */
      const task = await get(`/tasks/${encodeURIComponent(this.from)}`);
      if (this.#stopped) return;
      Object.assign(this.#draft, draftOf(task));
      this.#showDraft();
      this.shell.kept.note = task;
      this.#showNote(task);
    } catch (problem) {
      if (!this.#stopped) this.shell.complain(problem);
    }
  }

  /** @param {Api.Task} task that the draft was copied from */
  #showNote(task) {
    const words = [t("form.template", { task: task.taskId }), t("form.template.names")];
    if (task.webhookUrl) words.push(t("form.template.webhook"));
    setText(this.#note, words.join(" "));
    this.#note.hidden = false;
  }

  #clear() {
    Object.assign(this.#draft, newDraft());
    this.shell.kept.note = undefined;
    this.#note.hidden = true;
    this.#tried = false;
    this.#showFaults([]);
    this.#showDraft();
  }

  #showDraft() {
    for (const [name, field] of this.#fields) field.show(this.#draft[/** @type {keyof Draft} */ (name)]);
    this.#changed();
  }

  // ── typing ──

  #changed() {
    this.#key = newKey();
    setText(this.#command, curl(this.#draft, location.origin));
    const times = pauses(this.#draft).map(duration).join(t("list.separator"));
    setText(this.#retries, times ? t("form.retries.preview", { times }) : t("form.retries.none"));
    this.#preview.ask(this.#draft);
    // A viewer who has not finished typing is not told off; one who tried to send is helped.
    if (this.#tried) this.#showFaults(this.#ownFaults());
  }

  #ownFaults() {
    return faults(this.#draft).map(({ field, row, key, values }) => ({ field, row, text: t(key, values) }));
  }

  // ── sending ──

  /** @param {SubmitEvent} event */
  async #send(event) {
    event.preventDefault();
    this.#tried = true;
    const own = this.#ownFaults();
    this.#showFaults(own);
    if (own.length) return this.#focusFirst(own);
    if (!(await this.#isMeant())) return;
    this.#busy(true);
    try {
      /** @type {Api.Task} */
      const task = await post("/tasks", body(this.#draft), this.#key);
      this.shell.kept = {};
      this.shell.tell(t("form.created"));
      location.hash = taskLink(task.taskId);
    } catch (problem) {
      this.#refused(problem);
    } finally {
      this.#busy(false);
    }
  }

  /** One rule for questions: more nodes than so many are asked for, with their number. */
  async #isMeant() {
    const { total } = this.#preview;
    return total <= MANY_NODES || (await askToRun(imagesInShort(images(this.#draft)), total));
  }

  /** @param {boolean} isBusy */
  #busy(isBusy) {
    this.#submit.disabled = isBusy;
    setText(this.#submit.children[0], t(isBusy ? "form.creating" : "form.create"));
  }

  /** @param {import("../server.js").Problem} problem */
  #refused(problem) {
    if (!problem.errors?.length) return this.shell.complain(problem);
    const found = problem.errors.map((fault) => ({
      ...placeOf(this.#draft, fault.field),
      text: worded(fault),
    }));
    this.#showFaults(found);
    this.#focusFirst(found);
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

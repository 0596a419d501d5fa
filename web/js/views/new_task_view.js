/** The form of a new task. What is typed lives in a draft that outlives the view. */

import { body, curl, draftOf, images, newDraft } from "../create_draft.js";
import { h, setText } from "../dom.js";
import { imagesInShort } from "../format.js";
import { t } from "../language.js";
import { askToRun, MANY_NODES } from "../parts/dialogs.js";
import { DraftForm } from "../parts/draft_form.js";
import { taskLink } from "../router.js";
import { get, post } from "../server.js";

/** @typedef {import("../parts/draft_form.js").Draft} Draft */

/** @type {import("../parts/draft_form.js").Layout} */
const LAYOUT = [
  ["images", [["images"]]],
  ["nodes", [["labels"], ["names"]]],
  ["pace", [["batchSize", "priority", "rollout"]]],
  ["trouble", [["maxRetries", "retryStrategy", "retryDelay"], ["maxFailedNodes", "pullTimeoutSeconds"]]],
  ["more", [["imagePullPolicy", "webhookUrl"], ["credentials", "pullSecrets"]]],
];

export class NewTaskView {
  #draft;
  #form;
  #note = h("p", { class: "hint", hidden: true });
  #stopped = false;

  /** @param {import("../router.js").Route} route @param {import("../app.js").Shell} shell */
  constructor(route, shell) {
    this.shell = shell;
    this.from = route.query.get("from") ?? "";
    // A template and an empty form are different drafts: neither is left over in the other.
    if (shell.kept.template !== this.from) shell.kept = { template: this.from };
    shell.kept.draft ??= newDraft();
    this.#draft = /** @type {Draft} */ (shell.kept.draft);
    this.#form = new DraftForm(shell, this.#draft, {
      layout: LAYOUT,
      blank: newDraft,
      faults: () => [],
      command: (draft) => curl("POST", "/tasks", body(draft), location.origin),
      isMeant: async (draft, n) => n <= MANY_NODES || (await askToRun(imagesInShort(images(draft)), n)),
      send: (draft, key) => this.#create(draft, key),
      onClear: () => this.#dropNote(),
      words: { send: t("form.create"), sending: t("form.creating") },
    });
    this.element = h("div", { class: "view form" }, h("h1", { tabindex: -1 }, t("form.title")), this.#note, this.#form.element);
  }

  start() {
    this.shell.title(t("form.title"));
    this.#form.start();
    if (this.shell.kept.note) this.#showNote(this.shell.kept.note);
    else if (this.from) this.#takeTemplate();
  }

  stop() {
    this.#stopped = true;
    this.#form.stop();
  }

  async #takeTemplate() {
    try {
      /** @type {Api.Task} */
      const task = await get(`/tasks/${encodeURIComponent(this.from)}`);
      if (this.#stopped) return;
      Object.assign(this.#draft, draftOf(task));
      this.#form.show();
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

  #dropNote() {
    this.shell.kept.note = undefined;
    this.#note.hidden = true;
  }

  /** @param {Draft} draft @param {string} key */
  async #create(draft, key) {
    const task = /** @type {Api.Task} */ (await post("/tasks", body(draft), key));
    this.shell.kept = {};
    this.shell.tell(t("form.created"));
    location.hash = taskLink(task.taskId);
  }
}

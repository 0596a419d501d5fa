/** The form of a warm set: of a new one, or of one that is to be changed. */

import { curl, images } from "../create_draft.js";
import { h, setText } from "../dom.js";
import { imagesInShort } from "../format.js";
import { t } from "../language.js";
import { askToRun, MANY_NODES } from "../parts/dialogs.js";
import { DraftForm } from "../parts/draft_form.js";
import { link, setLink } from "../router.js";
import { getTagged, Problem, put } from "../server.js";
import { draftOfSet, newSetDraft, setBody, setFaults } from "../set_draft.js";

/** @typedef {import("../parts/draft_form.js").Draft} Draft */

/** @type {import("../parts/draft_form.js").Layout} */
const LAYOUT = [
  ["images", [["images"]]],
  ["nodes", [["labels"]]],
  ["pace", [["batchSize", "priority", "rollout"]]],
  ["trouble", [["maxRetries", "retryStrategy", "retryDelay"], ["maxFailedNodes", "pullTimeoutSeconds"]]],
  ["schedule", [["schedule.cron", "schedule.timeZone"], ["schedule.window", "schedule.joins"]]],
  ["keep", [["refresh.tags", "pin.wanted", "pin.until"]]],
  ["gate", [["gate.condition", "gate.taint", "gate.openAfter"]]],
  ["more", [["paused", "webhookUrl"], ["credentials", "pullSecrets"]]],
];
/** @type {import("../parts/draft_form.js").Layout} */
const NAMED = [["set", [["name"]]], ...LAYOUT];

export class PutSetView {
  #draft;
  #form;
  #note = h("p", { class: "hint", role: "status" });
  #stopped = false;

  /** @param {import("../router.js").Route} route @param {import("../app.js").Shell} shell */
  constructor(route, shell) {
    this.shell = shell;
    this.name = route.query.get("set") ?? "";
    const isNew = this.name === "";
    if (shell.kept.set !== this.name) shell.kept = { set: this.name };
    shell.kept.draft ??= newSetDraft();
    this.#draft = /** @type {Draft} */ (shell.kept.draft);
    this.#form = new DraftForm(shell, this.#draft, {
      layout: isNew ? NAMED : LAYOUT,
      blank: () => ({ ...newSetDraft(), name: this.name }),
      faults: setFaults,
      command: (draft) => curl("PUT", `/sets/${draft.name.trim() || "NAME"}`, setBody(draft), location.origin),
      isMeant: async (draft, n) => n <= MANY_NODES || draft.paused === "true" || (await askToRun(imagesInShort(images(draft)), n)),
      send: (draft) => this.#put(draft),
      onClear: () => {},
      hints: { webhookUrl: t("sets.webhook.hint") },
      words: { send: t(isNew ? "sets.create" : "sets.save"), sending: t("sets.saving") },
    });
    const title = isNew ? t("sets.new") : t("sets.change.of", { name: this.name });
    this.title = title;
    this.element = h("div", { class: "view form" }, h("h1", { tabindex: -1 }, title), this.#note, this.#form.element);
  }

  start() {
    this.shell.title(this.title);
    this.#form.start();
    if (this.name && !this.shell.kept.tag) this.#load();
    else this.#showNote();
  }

  stop() {
    this.#stopped = true;
    this.#form.stop();
  }

  async #load() {
    try {
      const { body, tag } = await getTagged(`/sets/${encodeURIComponent(this.name)}`);
      const set = /** @type {Api.WarmSet} */ (body);
      if (this.#stopped) return;
      this.shell.kept.tag = tag; // what the set is changed over
      Object.assign(this.#draft, draftOfSet(set));
      this.#form.show();
      this.shell.kept.hasWebhook = Boolean(set.webhookUrl);
      this.#showNote();
    } catch (problem) {
      if (this.#stopped) return;
      this.shell.complain(/** @type {Error} */ (problem));
      location.hash = link("sets");
    }
  }

  /** What a set tells of its webhook is not all of it. */
  #showNote() {
    setText(this.#note, this.shell.kept.hasWebhook ? t("sets.webhook.again") : "");
  }

  /** Over what was read, or over nothing: nobody's change is lost. @param {Draft} draft */
  async #put(draft) {
    const name = draft.name.trim();
    try {
      await put(`/sets/${encodeURIComponent(name)}`, setBody(draft), this.shell.kept.tag ?? "");
    } catch (problem) {
      if (problem.status === 412 && this.name) this.shell.kept.isOvertaken = true; // to be read again
      if (problem.status !== 412 || this.name) throw problem;
      throw new Problem(412, { errors: [{ field: "/name", message: t("sets.taken") }] });
    }
    this.shell.kept = {};
    this.shell.tell(t("sets.saved"));
    location.hash = setLink(name);
  }
}

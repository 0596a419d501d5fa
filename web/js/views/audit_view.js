/** Who changed what, and who was refused; for those who may see it. */

import { h, replace, setText } from "../dom.js";
import { t } from "../language.js";
import { button } from "../parts/buttons.js";
import { imageName } from "../parts/places.js";
import { taskLink } from "../router.js";
import { get } from "../server.js";

const LIMIT = 200;
const COLUMNS = ["time", "user", "from", "action", "answer", "task", "images"];

export class AuditView {
  #rows = h("tbody");
  #note = h("p", { class: "hint" }, t("tasks.loading"));
  #user = h("input", { id: "user", name: "user", autocomplete: "off", spellcheck: "false" });
  #abort = new AbortController();

  /** @param {import("../router.js").Route} _route @param {import("../app.js").Shell} shell */
  constructor(_route, shell) {
    this.shell = shell;
    const find = { class: "field", onsubmit: (/** @type {Event} */ event) => this.#find(event) };
    this.element = h(
      "div",
      { class: "view" },
      h("h1", { tabindex: -1 }, t("audit.title")),
      h("form", find, h("label", { for: "user" }, t("audit.user.find")), this.#user, button({ text: t("audit.show"), type: "submit" })),
      h(
        "div",
        { class: "card wide-table", tabindex: 0, role: "region", "aria-label": t("audit.title") },
        h("table", {}, h("thead", {}, h("tr", {}, COLUMNS.map((name) => h("th", { scope: "col" }, t(`audit.${name}`))))), this.#rows),
        this.#note,
      ),
    );
  }

  start() {
    this.shell.title(t("audit.title"));
    this.#load();
  }

  stop() {
    this.#abort.abort();
  }

  /** @param {Event} event */
  #find(event) {
    event.preventDefault();
    this.#abort.abort();
    this.#abort = new AbortController();
    this.#load();
  }

  async #load() {
    const { signal } = this.#abort;
    const query = new URLSearchParams({ limit: String(LIMIT), user: this.#user.value.trim() });
    try {
      const { entries } = /** @type {Api.AuditList} */ (await get(`/audit?${query}`, signal));
      replace(this.#rows, entries.map(row));
      setText(this.#note, entries.length ? "" : t("audit.none"));
    } catch (error) {
      if (!signal.aborted) this.shell.complain(/** @type {Error} */ (error));
    }
  }
}

/** @param {Api.AuditEntry} entry */
function row(entry) {
  const time = entry.time.replace("T", " ").replace(/\.\d+Z$/, "Z");
  const answer = entry.reason ? `${entry.status} ${entry.reason}` : String(entry.status);
  const task = entry.taskId ? h("a", { href: taskLink(entry.taskId) }, entry.taskId) : "";
  const cells = [time, entry.user ?? t("audit.nobody"), entry.address ?? "", entry.action, answer, task, entry.images.map((image) => [imageName(image), " "])];
  return h("tr", {}, cells.map((cell) => h("td", {}, cell)));
}

/** Tasks that were chosen in the list, and what can be done with all of them at once. */

import { h, replace } from "../dom.js";
import { imagesInShort } from "../format.js";
import { t } from "../language.js";
import { newKey, post, remove } from "../server.js";
import { isOver } from "../state/task_order.js";
import { button } from "./buttons.js";
import { ask } from "./dialogs.js";

export class Selection {
  /** @type {Map<string, Api.Task>} */
  #chosen = new Map();
  element = h("div", { class: "selection", role: "group", "aria-label": t("bulk.title"), hidden: true });

  /** @param {import("../app.js").Shell} shell @param {() => void} onDone @param {() => void} onClear */
  constructor(shell, onDone, onClear) {
    this.shell = shell;
    this.onDone = onDone;
    this.onClear = onClear;
  }

  /** @param {string} id */
  has = (id) => this.#chosen.has(id);

  /** @param {Api.Task} task @param {boolean} isChosen */
  choose(task, isChosen) {
    if (isChosen) this.#chosen.set(task.taskId, task);
    else this.#chosen.delete(task.taskId);
    this.#draw();
  }

  /** What is known of the chosen ones by now. @param {Api.Task[]} tasks */
  update(tasks) {
    for (const task of tasks) if (this.#chosen.has(task.taskId)) this.#chosen.set(task.taskId, task);
    if (this.#chosen.size) this.#draw();
  }

  #draw() {
    const tasks = [...this.#chosen.values()];
    const open = tasks.filter((task) => !isOver(task));
    const failed = tasks.filter((task) => isOver(task) && task.progress.failedNodes > 0);
    this.element.hidden = tasks.length === 0;
    replace(
      this.element,
      h("span", { role: "status" }, t("bulk.chosen", { n: tasks.length })),
      open.length > 0 && button({ text: t("bulk.cancel", { n: open.length }), kind: "danger", onclick: () => this.#cancel(open) }),
      failed.length > 0 && button({ text: t("bulk.retry", { n: failed.length }), onclick: () => this.#retry(failed) }),
      button({ text: t("bulk.clear"), kind: "quiet", onclick: () => this.clear() }),
    );
  }

  clear() {
    this.#chosen.clear();
    this.#draw();
    this.onClear();
  }

  /** @param {Api.Task[]} tasks */
  async #cancel(tasks) {
    const words = { title: t("bulk.cancel.ask", { n: tasks.length }), text: t("action.cancel.what"), yes: t("bulk.cancel", { n: tasks.length }), no: t("action.cancel.no") };
    if (!(await ask({ ...words, about: names(tasks) }))) return;
    await this.#each(tasks, ({ taskId }) => remove(`/tasks/${encodeURIComponent(taskId)}`));
  }

  /** @param {Api.Task[]} tasks */
  async #retry(tasks) {
    const nodes = tasks.reduce((sum, { progress }) => sum + progress.failedNodes, 0);
    const again = tasks.some(({ retries = [] }) => retries.length > 0);
    const text = again ? t("action.retried.what") : t("action.many.what");
    const words = { title: t("bulk.retry.ask", { n: nodes }), text, yes: t("bulk.retry", { n: tasks.length }), no: t("action.retried.no") };
    if (!(await ask({ ...words, about: names(tasks) }))) return;
    await this.#each(tasks, ({ taskId }) => post(`/tasks/${encodeURIComponent(taskId)}/retry`, { nodes: "failed" }, newKey()));
  }

  /**
   * One after the other: one that is refused ends none of the others.
   * @param {Api.Task[]} tasks @param {(task: Api.Task) => Promise<unknown>} act
   */
  async #each(tasks, act) {
    for (const one of this.element.querySelectorAll("button")) one.disabled = true;
    let done = 0;
    for (const task of tasks) {
      try {
        await act(task);
        done += 1;
      } catch (problem) {
        this.shell.complain(/** @type {Error} */ (problem));
      }
    }
    this.shell.tell(t("bulk.done", { n: done, total: tasks.length }));
    this.clear();
    this.onDone();
  }
}

/** @param {Api.Task[]} tasks */
const names = (tasks) => tasks.map(({ images }) => imagesInShort(images)).slice(0, 5).join(t("list.separator")) + (tasks.length > 5 ? " …" : "");

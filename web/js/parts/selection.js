/** Tasks that were chosen in the list, and what can be done with all of them at once. */

import { h, setText } from "../dom.js";
import { imagesInShort } from "../format.js";
import { t } from "../language.js";
import { get, newKey, post, remove } from "../server.js";
import { isOver } from "../state/task_order.js";
import { button } from "./buttons.js";
import { ask } from "./dialogs.js";

export class Selection {
  /** @type {Map<string, Api.Task>} */
  #chosen = new Map();
  /** Something is under way for all of them: nothing else can be begun, whatever is drawn meanwhile. */
  #isBusy = false;
  #count = h("span", { role: "status" });
  #cancel = button({ text: t("bulk.cancel", { n: 0 }), kind: "danger", onclick: () => this.#attempt((tasks) => this.#cancelAll(tasks), open) });
  #retry = button({ text: t("bulk.retry", { n: 0 }), onclick: () => this.#attempt((tasks) => this.#retryAll(tasks), failed) });
  #clear = button({ text: t("bulk.clear"), kind: "quiet", onclick: () => this.clear() });
  element = h("div", { class: "selection", role: "group", "aria-label": t("bulk.title"), hidden: true }, this.#count, this.#cancel, this.#retry, this.#clear);

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

  /** The elements stay: a click or the focus may be on them. */
  #draw() {
    const tasks = [...this.#chosen.values()];
    this.element.hidden = tasks.length === 0;
    setText(this.#count, t("bulk.chosen", { n: tasks.length }));
    show(this.#cancel, "bulk.cancel", tasks.filter(open).length);
    show(this.#retry, "bulk.retry", tasks.filter(failed).length);
    for (const one of [this.#cancel, this.#retry, this.#clear]) one.disabled = this.#isBusy;
  }

  /** Lets go of these, or of all. @param {Api.Task[]} tasks */
  clear(tasks = [...this.#chosen.values()]) {
    for (const { taskId } of tasks) this.#chosen.delete(taskId);
    this.#draw();
    this.onClear();
  }

  /**
   * One action at a time. A button that is disabled loses the focus: it is given back.
   * @param {(tasks: Api.Task[]) => Promise<void>} action @param {(task: Api.Task) => boolean} isMeant
   */
  async #attempt(action, isMeant) {
    const focused = /** @type {HTMLElement | null} */ (document.activeElement);
    this.#isBusy = true;
    this.#draw();
    try {
      await action([...this.#chosen.values()].filter(isMeant));
    } finally {
      this.#isBusy = false;
      this.#draw();
      if (document.activeElement === document.body) focused?.focus();
    }
  }

  /** @param {Api.Task[]} tasks */
  async #cancelAll(tasks) {
    const words = { title: t("bulk.cancel.ask", { n: tasks.length }), text: t("action.cancel.what"), yes: t("bulk.cancel", { n: tasks.length }), no: t("action.cancel.no") };
    if (!(await ask({ ...words, about: names(tasks) }))) return;
    await this.#each(tasks, ({ taskId }) => remove(`/tasks/${encodeURIComponent(taskId)}`));
  }

  /** @param {Api.Task[]} tasks */
  async #retryAll(tasks) {
    const nodes = tasks.reduce((sum, { progress }) => sum + progress.failedNodes, 0);
    const again = (await Promise.all(tasks.map(isRetried))).includes(true);
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
    this.clear(tasks);
    this.onDone();
  }
}

/** @param {Api.Task} task */
const open = (task) => !isOver(task);

/** @param {Api.Task} task */
const failed = (task) => isOver(task) && task.progress.failedNodes > 0;

/** @param {HTMLButtonElement} element @param {string} key of its words @param {number} n tasks that it acts on */
function show(element, key, n) {
  element.hidden = n === 0;
  setText(/** @type {Element} */ (element.firstElementChild), t(key, { n }));
}

/** Whether somebody has retried a task by now: another viewer's retry may not be in the list yet. @param {Api.Task} task */
async function isRetried({ taskId, retries = [] }) {
  try {
    const newest = /** @type {Api.Task} */ (await get(`/tasks/${encodeURIComponent(taskId)}`));
    return (newest.retries ?? []).length > 0;
  } catch {
    return retries.length > 0; // what is wrong is said by the retry itself
  }
}

/** @param {Api.Task[]} tasks */
const names = (tasks) => tasks.map(({ images }) => imagesInShort(images)).slice(0, 5).join(t("list.separator")) + (tasks.length > 5 ? " …" : "");

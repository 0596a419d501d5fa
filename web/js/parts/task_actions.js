/** What can be done with a task, as buttons: cancel, retry the failed nodes, run again. */

import { h } from "../dom.js";
import { imagesInShort } from "../format.js";
import { t } from "../language.js";
import { worded } from "../messages.js";
import { taskLink } from "../router.js";
import { get, newKey, post, remove } from "../server.js";
import { isOver } from "../state/task_order.js";
import { button } from "./buttons.js";
import { askToCancel, askToRetryAgain, askToRun, MANY_NODES } from "./dialogs.js";

/** @typedef {import("./buttons.js").ButtonOptions & {key: string}} Action */

export class TaskActions {
  element = h("div", { class: "buttons" });
  #shown = "";
  /** One key for one repetition: asked for twice, because the answer was lost, it makes one task. */
  #keys = { failed: newKey(), all: newKey() };

  /**
   * @param {import("../app.js").Shell} shell
   * @param {{small?: boolean, onDone?: () => void}} [options] `small`: one button, as in a list
   */
  constructor(shell, { small = false, onDone = () => {} } = {}) {
    this.shell = shell;
    this.small = small;
    this.onDone = onDone;
  }

  /** @param {Api.Task} task */
  update(task) {
    const wanted = this.#wanted(task);
    const key = wanted.map(({ key: name }) => name).join();
    if (key === this.#shown) return; // a button that is being pressed stays
    this.#shown = key;
    this.element.replaceChildren(...wanted.map((options) => button(options)));
  }

  /** @param {Api.Task} task @returns {Action[]} */
  #wanted(task) {
    if (!isOver(task)) {
      const isHeld = task.status === "running" && !task.set && !this.small;
      return [...(isHeld ? [this.#pauseButton(task)] : []), this.#cancelButton(task)];
    }
    const failed = task.progress.failedNodes;
    const retry = failed > 0 ? [this.#retryButton(task, failed)] : [];
    const again = this.#againButton(task, failed > 0);
    return this.small && failed > 0 ? retry : [...retry, again];
  }

  /** @param {Api.Task} task @returns {Action} */
  #pauseButton(task) {
    const word = task.paused ? "resume" : "pause";
    return { key: word, text: t(`action.${word}`), icon: word, onclick: () => this.#hold(task, word) };
  }

  /** @param {Api.Task} task @returns {Action} */
  #cancelButton(task) {
    return {
      key: "cancel",
      text: t("action.cancel"),
      icon: "stop",
      label: t("action.cancel.task", { task: imagesInShort(task.images) }),
      kind: this.small ? "quiet" : "danger",
      onclick: () => this.#cancel(task),
    };
  }

  /** @param {Api.Task} task @param {number} failed @returns {Action} */
  #retryButton(task, failed) {
    return {
      key: `retry${failed}`,
      text: this.small ? t("action.retry") : t("action.retry.n", { n: failed }),
      icon: "retry",
      label: this.small ? t("action.retry.task", { task: imagesInShort(task.images) }) : undefined,
      kind: this.small ? "quiet" : "primary",
      onclick: () => this.#repeat(task, "failed"),
    };
  }

  /** @param {Api.Task} task @param {boolean} isSecond @returns {Action} */
  #againButton(task, isSecond) {
    const kind = isSecond ? "" : "primary";
    return {
      key: "again",
      text: t("action.again"),
      icon: "again",
      label: t("action.again.task", { task: imagesInShort(task.images) }),
      kind: this.small ? "quiet" : kind,
      onclick: () => this.#repeat(task, "all"),
    };
  }

  /** @param {Api.Task} task @param {"pause" | "resume"} word */
  #hold({ taskId }, word) {
    return this.#attempt(async () => {
      await post(`/tasks/${encodeURIComponent(taskId)}/${word}`, {});
      this.shell.tell(t(`action.${word}d`));
    });
  }

  /** @param {Api.Task} task */
  async #cancel({ taskId, images }) {
    if (!(await askToCancel(imagesInShort(images)))) return;
    await this.#attempt(async () => {
      try {
        await remove(`/tasks/${encodeURIComponent(taskId)}`);
        this.shell.tell(t("action.cancelled"));
      } catch (problem) {
        if (problem.status !== 409) throw problem;
        this.shell.tell(worded(problem)); // somebody else was first, or it was over
      }
    });
  }

  /** @param {Api.Task} task @param {Api.RetryNodes} nodes */
  async #repeat({ taskId, images, progress }, nodes) {
    const count = nodes === "failed" ? progress.failedNodes : progress.totalNodes;
    if (nodes === "failed" && !(await this.#isFirstOrMeant(taskId))) return;
    if (count > MANY_NODES && !(await askToRun(imagesInShort(images), count))) return;
    await this.#attempt(async () => {
      const path = `/tasks/${encodeURIComponent(taskId)}/retry`;
      const task = await post(path, { nodes }, this.#keys[nodes]);
      this.#keys[nodes] = newKey();
      this.shell.tell(t("action.started"));
      location.hash = taskLink(task.taskId);
    });
  }

  /** Whether nobody has retried a task, or the viewer wants it once more. @param {string} taskId */
  async #isFirstOrMeant(taskId) {
    try {
      const { retries = [] } = /** @type {Api.Task} */ (await get(`/tasks/${encodeURIComponent(taskId)}`));
      return retries.length === 0 || (await askToRetryAgain(retries));
    } catch {
      return true; // what is wrong is said by the retry itself
    }
  }

  /**
   * While an action is under way, none can be begun: a double click is one.
   * @param {() => Promise<void>} action
   */
  async #attempt(action) {
    const buttons = [...this.element.querySelectorAll("button")];
    for (const one of buttons) one.disabled = true;
    try {
      await action();
      this.onDone();
    } catch (problem) {
      this.shell.complain(problem);
    } finally {
      for (const one of buttons) one.disabled = false;
    }
  }
}

/** What can be done with a task, as buttons: cancel, retry the failed nodes, run again. */

import { h } from "../dom.js";
import { imagesInShort } from "../format.js";
import { t } from "../language.js";
import { taskLink } from "../router.js";
import { newKey, post, remove } from "../server.js";
import { isOver } from "../state/task_order.js";
import { button } from "./buttons.js";
import { askToCancel } from "./dialogs.js";

export class TaskActions {
  element = h("div", { class: "buttons" });
  #shown = "";
  #task;

  /**
   * @param {import("../app.js").Shell} shell
   * @param {{small?: boolean, onDone?: () => void}} [options] `small`: one button, as in a list
   */
  constructor(shell, { small = false, onDone = () => {} } = {}) {
    this.shell = shell;
    this.small = small;
    this.onDone = onDone;
  }

  /** @param {object} task */
  update(task) {
    this.#task = task;
    const wanted = this.#wanted(task);
    const key = wanted.map(({ key: name }) => name).join();
    if (key === this.#shown) return; // a button that is being pressed stays
    this.#shown = key;
    this.element.replaceChildren(...wanted.map((options) => button(options)));
  }

  #wanted(task) {
    if (!isOver(task)) return [this.#cancelButton(task)];
    const failed = task.progress.failedNodes;
    const retry = failed > 0 ? [this.#retryButton(failed)] : [];
    const again = this.#againButton(task, failed > 0);
    return this.small && failed > 0 ? retry : [...retry, again];
  }

  #cancelButton(task) {
    return {
      key: "cancel",
      text: t("action.cancel"),
      icon: "stop",
      label: t("action.cancel.task", { task: imagesInShort(task.images) }),
      kind: this.small ? "quiet" : "danger",
      onclick: () => this.#cancel(),
    };
  }

  #retryButton(failed) {
    return {
      key: `retry${failed}`,
      text: this.small ? t("action.retry") : t("action.retry.n", { n: failed }),
      icon: "retry",
      kind: this.small ? "quiet" : "primary",
      onclick: () => this.#repeat("failed"),
    };
  }

  #againButton(task, isSecond) {
    return {
      key: "again",
      text: t("action.again"),
      icon: "again",
      label: t("action.again.task", { task: imagesInShort(task.images) }),
      kind: this.small ? "quiet" : isSecond ? "" : "primary",
      onclick: () => this.#repeat("all"),
    };
  }

  async #cancel() {
    const { taskId, images } = this.#task;
    if (!(await askToCancel(imagesInShort(images)))) return;
    await this.#attempt(async () => {
      await remove(`/tasks/${encodeURIComponent(taskId)}`);
      this.shell.tell(t("action.cancelled"));
    });
  }

  #repeat(nodes) {
    return this.#attempt(async () => {
      const path = `/tasks/${encodeURIComponent(this.#task.taskId)}/retry`;
      const task = await post(path, { nodes }, newKey());
      this.shell.tell(t("action.started"));
      location.hash = taskLink(task.taskId);
    });
  }

  /** While an action is under way, none can be begun: a double click is one. */
  async #attempt(action) {
    const buttons = [...this.element.querySelectorAll("button")];
    buttons.forEach((one) => (one.disabled = true));
    try {
      await action();
      this.onDone();
    } catch (problem) {
      this.shell.complain(problem);
    } finally {
      buttons.forEach((one) => (one.disabled = false));
    }
  }
}

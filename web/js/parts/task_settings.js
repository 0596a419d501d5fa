/** What a task was created with. */

import { h } from "../dom.js";
import { duration, number } from "../format.js";
import { t } from "../language.js";
import { taskLink } from "../router.js";

export class TaskSettings {
  #list = h("dl", { class: "settings" });
  #shown = "";
  element = h(
    "section",
    { class: "card", "aria-labelledby": "settings-title" },
    h("h2", { id: "settings-title" }, t("task.settings")),
    this.#list,
  );

  /** They never change, so that they are shown once. @param {Api.Task} task */
  update(task) {
    if (this.#shown === task.taskId) return;
    this.#shown = task.taskId;
    const rows = settings(task).filter(([, value]) => value !== "");
    this.#list.replaceChildren(...rows.map(([name, value]) => h("div", {}, h("dt", {}, name), h("dd", {}, value))));
  }
}

/** @param {Api.Task} task @returns {[string, string | Node | Node[]][]} */
function settings(task) {
  return [
    [t("task.again.of"), task.retryOf ? h("a", { href: taskLink(task.retryOf) }, task.retryOf) : ""],
    [t("task.created.by"), task.createdBy ?? ""],
    [t("form.labels"), labels(task)],
    [t("form.batchSize"), number(task.batchSize)],
    [t("form.rollout"), t(`form.rollout.${task.rollout}`)],
    [t("form.imagePullPolicy"), t(`form.imagePullPolicy.${task.imagePullPolicy}`)],
    [t("task.timeout"), duration(task.pullTimeoutSeconds)],
    [t("form.maxRetries"), number(task.maxRetries)],
    [t("form.retryStrategy"), task.maxRetries ? pauses(task) : ""],
    [t("form.maxFailedNodes"), String(task.maxFailedNodes)],
    [t("form.webhookUrl"), task.webhookUrl ?? ""],
  ];
}

/** @param {Api.Task} task */
const pauses = (task) =>
  [duration(task.retryDelay), t(`form.retryStrategy.${task.retryStrategy}`)].join(t("list.separator"));

/** @param {Api.Task} task */
function labels({ nodeSelector, matchExpressions }) {
  const equal = Object.entries(nodeSelector).map(([key, value]) => `${key}=${value}`);
  const others = matchExpressions.map(({ key, operator, values = [] }) =>
    [key, t(`form.labels.${operator}`), values.join(", ")].join(" ").trim(),
  );
  const all = [...equal, ...others];
  return all.length ? all.map((text) => h("span", { class: "label" }, text)) : "";
}

/** One bar for all nodes of a task: done, pulling, waiting for a retry, failed; the rest waits. */

import { h, setAttribute, setText } from "../dom.js";
import { number, percent } from "../format.js";
import { t } from "../language.js";

/** @type {[string, (progress: Api.TaskProgress) => number][]} */
const PARTS = [
  ["succeeded", (progress) => progress.completedNodes],
  ["pulling", (progress) => progress.pullingNodes + (progress.assignedNodes ?? 0)],
  ["retrying", (progress) => progress.retryingNodes],
  ["failed", (progress) => progress.failedNodes],
  ["cancelled", (progress) => progress.cancelledNodes ?? 0],
];

export class ProgressBar {
  #parts = PARTS.map(([state]) => h("span", { class: "part", "data-state": state }));
  #bar = h(
    "div",
    { class: "bar", role: "progressbar", "aria-valuemin": 0, "aria-valuemax": 100 },
    this.#parts,
  );
  #share = h("span", { class: "share" });
  #words = h("span", { class: "words" });

  constructor() {
    this.element = h(
      "div",
      { class: "progress" },
      this.#bar,
      h("div", { class: "progress-text" }, this.#share, this.#words),
    );
  }

  /** @param {Api.Task} task */
  update(task) {
    const { progress } = task;
    for (const [index, [, count]] of PARTS.entries()) this.#size(index, count(progress), progress.totalNodes);
    const hasNodes = progress.totalNodes > 0;
    setText(this.#share, hasNodes ? percent(progress.percentage) : "");
    const words = hasNodes ? inWords(progress) : whyNone(task);
    showWords(this.#words, words);
    setAttribute(this.#bar, "aria-label", t("progress.label"));
    setAttribute(this.#bar, "aria-valuenow", progress.percentage);
    setAttribute(this.#bar, "aria-valuetext", words.map(([, text]) => text).join(t("list.separator")));
  }

  /** @param {number} index @param {number} count @param {number} total */
  #size(index, count, total) {
    const part = this.#parts[index];
    part.hidden = count === 0;
    const width = total ? `${(100 * count) / total}%` : "0";
    if (part.style.width !== width) part.style.width = width;
  }
}

/**
 * The service may say why; that stands beside the bar already.
 * @param {Api.Task} task
 * @returns {[string, string][]}
 */
const whyNone = ({ status, message }) =>
  [["", message || status !== "pending" ? "" : t("progress.pending")]];

/**
 * What is zero is left out.
 * @param {Api.TaskProgress} progress
 * @returns {[string, string][]} a state, for its colour, and words
 */
function inWords(progress) {
  const total = progress.totalNodes;
  const pulling = progress.pullingNodes + (progress.assignedNodes ?? 0);
  /** @type {[string, number][]} */
  const counts = [
    ["failed", progress.failedNodes],
    ["retrying", progress.retryingNodes],
    ["pulling", pulling],
    ["waiting", progress.waitingNodes],
    ["cancelled", progress.cancelledNodes ?? 0],
  ];
  return [
    ["", t("progress.nodes", { n: total, done: number(progress.completedNodes) })],
    ...counts
      .filter(([, count]) => count > 0)
      .map(([state, count]) => /** @type {[string, string]} */ ([state, t(`progress.${state}`, { n: count })])),
  ];
}

/** @param {Element} element @param {[string, string][]} words */
function showWords(element, words) {
  words.forEach(([state, text], index) => {
    const word = element.children[index] ?? element.appendChild(h("span"));
    setAttribute(word, "data-state", state || null);
    setText(word, text);
  });
  while (element.children.length > words.length) element.lastElementChild?.remove();
}

/** One task: how far it is, what is wrong and why, every node as a cell, and what was when. */

import { h, replace, setText } from "../dom.js";
import {
  between,
  bytes,
  duration,
  imagesInShort,
  number,
  percent,
  roughly,
  speed,
  timeElement,
} from "../format.js";
import { t } from "../language.js";
import { worded } from "../messages.js";
import { Painter } from "../painter.js";
import { BatchTimeline } from "../parts/batch_timeline.js";
import { iconButton, linkButton } from "../parts/buttons.js";
import { chip } from "../parts/chips.js";
import { copyText } from "../parts/clipboard.js";
import { Failures } from "../parts/failures.js";
import { Figures } from "../parts/figures.js";
import { ImageTable } from "../parts/image_table.js";
import { ProgressBar } from "../parts/progress_bar.js";
import { TaskActions } from "../parts/task_actions.js";
import { TaskMap } from "../parts/task_map.js";
import { TaskSettings } from "../parts/task_settings.js";
import { ThroughputChart } from "../parts/throughput_chart.js";
import { Address, link, taskLink } from "../router.js";
import { now } from "../server.js";
import { progressSeen } from "../state/node_counts.js";
import { standing } from "../state/task_order.js";
import { TaskWatch } from "../state/task_watch.js";

const REPAINT = 250;
/** Sums over 10,000 nodes need not be made more often. */
const SUMMARIZE = 1_000;

/** @typedef {import("../parts/figures.js").Figure} Figure */

export class TaskView {
  #heading = h("h1", { tabindex: -1 }, t("task.title"));
  #chip = chip("status");
  #message = h("p", { class: "message", hidden: true });
  #retries = h("p", { class: "message", hidden: true });
  #bar = new ProgressBar();
  #figures = new Figures();
  #times = { created: timeElement(), started: timeElement(), finished: timeElement() };
  #failures;
  #images = new ImageTable();
  #chart = new ThroughputChart();
  #batches = new BatchTimeline();
  #settings = new TaskSettings();
  #painter = new Painter(() => this.#paint(), REPAINT);
  #summarizer = new Painter(() => this.#summarize(), SUMMARIZE);
  #ticker = 0;
  #map;
  #actions;
  #watch;

  /** @param {import("../router.js").Route} route @param {import("../app.js").Shell} shell */
  constructor(route, shell) {
    this.shell = shell;
    this.id = route.id;
    const address = new Address(`tasks/${encodeURIComponent(this.id)}`, route.query);
    this.#map = new TaskMap(shell, address);
    this.#failures = new Failures(address, (name) => this.#map.lead(name));
    this.#actions = new TaskActions(shell);
    this.#watch = new TaskWatch(route.id, {
      onChange: () => this.#changed(),
      onState: (state) => shell.connection(state),
      onProblem: (problem) => this.#complain(problem),
    });
    this.element = h("div", { class: "view task-view loading" }, this.#head(), this.#cards());
  }

  start() {
    this.shell.title(t("task.title"));
    this.#map.start();
    this.#watch.start();
    // Nothing is asked for: only the clocks of a running task go on.
    this.#ticker = setInterval(() => this.#watch.task?.status === "running" && this.#changed(), 1_000);
  }

  stop() {
    clearInterval(this.#ticker);
    this.#watch.stop();
    this.#painter.stop();
    this.#summarizer.stop();
    this.#map.stop();
  }

  // ── the frame ──

  #head() {
    const copy = iconButton({ icon: "copy", label: t("task.id.copy"), onclick: () => this.#copyId() });
    const template = linkButton({ text: t("action.copy"), href: link("new", { from: this.id }), kind: "quiet" });
    const path = h("p", { class: "crumbs" }, h("a", { href: link("tasks") }, t("nav.tasks")), " / ", h("code", {}, this.id), copy);
    return h(
      "header",
      { class: "task-head" },
      path,
      h("div", { class: "title-line" }, this.#heading, this.#chip, h("div", { class: "buttons" }, template, this.#actions.element)),
      this.#message,
      this.#retries,
      this.#bar.element,
      this.#figures.element,
    );
  }

  #cards() {
    return [
      this.#failures.element,
      this.#map.element,
      h("div", { class: "columns" }, this.#chart.element, this.#batches.element),
      this.#images.element,
      this.#settings.element,
    ];
  }

  #copyId() {
    copyText(this.id);
    this.shell.tell(t("action.copied"));
  }

  // ── news ──

  #changed() {
    this.shell.heard();
    this.#painter.request();
    if (this.#areNodesKnown()) this.#summarizer.request();
  }

  /** Before that, sums over nodes would say that nothing has begun. */
  #areNodesKnown() {
    const { task, nodes, loading } = this.#watch;
    return loading === null && (nodes.length > 0 || task?.progress.totalNodes === 0);
  }

  /** @param {import("../server.js").Problem} problem */
  #complain(problem) {
    if (problem.status === 404) this.#showGone();
    else if (problem.status !== 0) this.shell.complain(problem);
  }

  #showGone() {
    this.element.classList.remove("loading");
    const back = linkButton({ text: t("problem.back"), href: link("tasks") });
    replace(this.element, this.#heading, h("div", { class: "card empty" }, h("p", {}, t("problem.gone")), back));
  }

  // ── painting ──

  #paint() {
    if (this.#watch.task === null) return;
    this.element.classList.remove("loading");
    const task = { ...this.#watch.task, progress: progressSeen(this.#watch.task, this.#watch) };
    setText(this.#heading, imagesInShort(task.images));
    this.#heading.title = task.images.join("\n");
    this.#chip.show(standing(task));
    this.#showRetries(task.retries ?? []);
    setText(this.#message, worded(task));
    this.#message.hidden = !task.message;
    this.#message.dataset.state = task.status;
    this.#bar.update(task);
    this.#actions.update(task);
    this.#showFigures(task);
    this.#settings.update(task);
    this.#failures.update(this.#watch.nodes, this.#watch.loading);
    this.#map.update(task, this.#watch);
    this.shell.title(titleOf(task));
  }

  /** @param {string[]} ids */
  #showRetries(ids) {
    this.#retries.hidden = ids.length === 0;
    const links = ids.map((id) => [" ", h("a", { href: taskLink(id) }, id)]);
    if (this.#retries.childElementCount !== ids.length) replace(this.#retries, t("task.retried"), links);
  }

  #summarize() {
    const { task, nodes, history, begun } = this.#watch;
    if (task === null) return;
    this.#images.update(task.images, nodes);
    this.#chart.update(history.points, task);
    this.#batches.update(task, nodes, begun);
  }

  /** @param {Api.Task} task */
  #showFigures(task) {
    this.#figures.show([...this.#timeFigures(task), ...workFigures(task), ...this.#momentFigures(task)]);
  }

  /** @param {Api.Task} task @returns {Figure[]} */
  #timeFigures(task) {
    const { status, startedAt, finishedAt } = task;
    if (status === "running") {
      return [
        ["running", t("task.running"), duration(Math.round(between(startedAt ?? task.createdAt)))],
        ["left", t("task.left"), leftOf(task)],
      ];
    }
    return startedAt && finishedAt ? [["took", t("task.took"), duration(between(startedAt, finishedAt))]] : [];
  }

  /** @param {Api.Task} task @returns {Figure[]} */
  #momentFigures(task) {
    /** @type {["created" | "started" | "finished", string | undefined][]} */
    const moments = [
      ["created", task.createdAt],
      ["started", task.startedAt],
      ["finished", task.finishedAt],
    ];
    return moments.flatMap(([name, time]) => {
      if (time === undefined) return [];
      this.#times[name].show(time);
      return [[name, t(`task.${name}`), this.#times[name]]];
    });
  }
}

/** @param {Api.Task} task */
function workFigures(task) {
  const { progress } = task;
  /** @type {Figure[]} */
  const figures = [];
  if (task.status === "running" && progress.bytesPerSecond !== undefined) {
    figures.push(["speed", t("task.speed"), speed(progress.bytesPerSecond)]);
  }
  if (progress.bytes !== undefined) figures.push(["bytes", t("task.bytes"), transferred(progress.bytes, progress.totalBytes)]);
  if (progress.totalBatches > 0) {
    const batch = { current: number(progress.currentBatch), total: number(progress.totalBatches) };
    figures.push(["batch", t("task.batch"), t("task.batch.of", batch)]);
  }
  if (task.maxRetries > 0) {
    const retries = { used: task.retryCount, most: task.maxRetries };
    const state = task.retryCount > 0 ? "retrying" : "";
    figures.push(["retries", t("task.retries"), t("task.retries.of", retries), state]);
  }
  figures.push(["priority", t("task.priority"), String(task.priority)]);
  return figures;
}

/** @param {number} count @param {number} [totalBytes] */
function transferred(count, totalBytes) {
  if (totalBytes === undefined || totalBytes <= count) return bytes(count);
  return t("task.bytes.of", { bytes: bytes(count), total: bytes(totalBytes) });
}

/** @param {Api.Task} task */
function leftOf(task) {
  if (!task.estimatedCompletion) return t("task.left.unknown");
  const left = (Date.parse(task.estimatedCompletion) - now()) / 1000;
  return roughly(left);
}

/** @param {Api.Task} task */
const titleOf = (task) => {
  const name = imagesInShort(task.images);
  return task.status === "running" ? `${percent(task.progress.percentage)} ${name}` : `${t(`status.${task.status}`)}: ${name}`;
};

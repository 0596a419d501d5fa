/** The list of tasks, and above it what is going on at this moment. */

import { h, KeyedList, replace, setAttribute, setText } from "../dom.js";
import { between, duration, imagesInShort, number, roughly, speed, timeElement } from "../format.js";
import { t } from "../language.js";
import { worded } from "../messages.js";
import { Painter } from "../painter.js";
import { linkButton } from "../parts/buttons.js";
import { chip } from "../parts/chips.js";
import { Pager, SIZES } from "../parts/pager.js";
import { Overview } from "../parts/overview.js";
import { showImages } from "../parts/places.js";
import { ProgressBar } from "../parts/progress_bar.js";
import { SearchBox } from "../parts/search_box.js";
import { Selection } from "../parts/selection.js";
import { TaskActions } from "../parts/task_actions.js";
import { link, taskLink } from "../router.js";
import { now } from "../server.js";
import { standing } from "../state/task_order.js";
import { RECENT, STATUSES, TaskList } from "../state/task_list.js";

const COLUMNS = ["task", "status", "progress", "pace", "priority", "created"];
/** Milliseconds between two paintings: faster cannot be read. */
const REPAINT = 200;

export class TasksView {
  #overview = new Overview();
  #filters = h("div", { class: "filters", role: "group", "aria-label": t("tasks.filter") });
  #find = new SearchBox(t("tasks.find"), (q) => this.#search(q));
  #recent = h("a", { class: "label", hidden: true });
  #sort = h("a", { class: "hint sort" });
  #body = h("tbody", { role: "rowgroup" });
  #empty = h("div", { class: "empty" }, h("p", {}, t("tasks.loading")));
  #pager = new Pager(
    (offset) => this.#go({ offset }),
    (limit) => this.#go({ limit, offset: 0 }),
  );
  #selection;
  /** @type {KeyedList<Api.Task>} */
  #rows;
  #list;
  #painter = new Painter(() => this.#paint(), REPAINT);

  /** @param {import("../router.js").Route} route @param {import("../app.js").Shell} shell */
  constructor(route, shell) {
    this.shell = shell;
    this.query = readQuery(route.query);
    this.#list = new TaskList(this.query, {
      onChange: () => this.#changed(),
      onState: (state) => shell.connection(state),
      onProblem: (problem) => problem.status !== 0 && shell.complain(problem),
    });
    this.#selection = new Selection(shell, () => this.#list.refresh(), () => this.#changed());
    this.#rows = new KeyedList(this.#body, ({ taskId }) => taskId, () => this.#newRow());
    this.element = h(
      "div",
      { class: "view" },
      h("h1", { tabindex: -1 }, t("tasks.title")),
      this.#overview.element,
      h("div", { class: "list-tools" }, this.#filters, this.#recent, this.#find.element, this.#sort),
      this.#selection.element,
      h("div", { class: "card table-card" }, this.#table(), this.#empty, this.#pager.element),
    );
  }

  start() {
    this.shell.title(t("tasks.title"));
    this.#find.show(this.query.q);
    this.#drawRecent();
    this.#drawSort();
    this.#drawFilters({});
    this.#list.start();
  }

  stop() {
    this.#painter.stop();
    this.#find.stop();
    this.#list.stop();
  }

  #changed() {
    this.shell.heard();
    // An event that comes before the page would only put off its painting.
    if (this.#list.tasks !== null) this.#painter.request();
  }

  #table() {
    const head = (/** @type {string} */ key) => h("th", { scope: "col", role: "columnheader" }, t(`tasks.${key}`));
    const sorted = head("created");
    if (this.query.sort === "newest") sorted.setAttribute("aria-sort", "descending");
    const heads = COLUMNS.map((key) => (key === "created" ? sorted : head(key)));
    const actions = h("th", { scope: "col", role: "columnheader" }, h("span", { class: "unseen" }, t("tasks.actions")));
    // The roles say what the phone's layout, which turns rows into cards, would take away.
    return h(
      "table",
      { class: "tasks", role: "table", "aria-label": t("tasks.title") },
      h("thead", { role: "rowgroup" }, h("tr", { role: "row" }, heads, actions)),
      this.#body,
    );
  }

  #newRow() {
    return new TaskRow(this.shell, this.#selection, () => this.#list.refresh());
  }

  #paint() {
    const { tasks, total, counts } = this.#list;
    if (tasks === null) return;
    this.#overview.update(this.#list);
    this.#drawFilters(counts);
    this.#selection.update(tasks);
    this.#rows.show(tasks);
    this.#empty.hidden = tasks.length > 0;
    if (tasks.length === 0) this.#drawEmpty();
    this.#pager.update(this.query, total);
  }

  #drawEmpty() {
    const { status, q, since } = this.query;
    if (q || since) return this.#empty.replaceChildren(h("p", {}, t("tasks.none.found")));
    if (status) return this.#empty.replaceChildren(h("p", {}, t("tasks.none.status")));
    this.#empty.replaceChildren(
      h("p", {}, t("tasks.none")),
      h("p", { class: "hint" }, t("tasks.none.hint")),
      linkButton({ text: t("nav.new"), href: link("new"), icon: "plus", kind: "primary" }),
    );
  }

  /** @param {Record<string, number>} counts */
  #drawFilters(counts) {
    ["", ...STATUSES].forEach((status, index) => {
      const filter = this.#filters.children[index] ?? this.#filters.appendChild(this.#filter(status));
      setText(/** @type {Element} */ (filter.querySelector("b")), counts[status] === undefined ? "" : number(counts[status]));
    });
  }

  /** @param {string} status */
  #filter(status) {
    const isCurrent = this.query.status === status;
    const { q, since, sort } = this.query;
    const href = link("tasks", { status, q, since, sort: sort === "newest" ? sort : "", limit: this.#limitInLink() });
    const text = status ? t(`status.${status}`) : t("tasks.all");
    const mark = status && h("span", { class: "mark", "aria-hidden": "true" });
    const element = h("a", { href, "aria-current": isCurrent ? "true" : null }, mark, text, h("b"));
    element.dataset.state = status;
    return element;
  }

  /** @param {Partial<import("../state/task_list.js").Query>} change */
  #go(change) {
    location.hash = this.#linkTo(change);
  }

  /** @param {Partial<import("../state/task_list.js").Query>} change */
  #linkTo(change) {
    const { status, q, since, sort, offset, limit } = { ...this.query, ...change };
    const order = sort === "newest" ? sort : "";
    return link("tasks", { status, q, since, sort: order, limit: this.#limitInLink(limit), offset });
  }

  /** The same place with other words: the field keeps its focus. @param {string} q */
  #search(q) {
    this.query = { ...this.query, q, offset: 0 };
    history.replaceState(null, "", this.#linkTo({}));
    this.#filters.replaceChildren();
    this.#drawRecent();
    this.#drawSort();
    this.#drawFilters(this.#list.counts);
    this.#list.ask(this.query);
  }

  /** What was chosen by a link from the strip, and a way to let go of it. */
  #drawRecent() {
    this.#recent.hidden = !this.query.since;
    this.#recent.href = this.#linkTo({ since: "", offset: 0 });
    replace(this.#recent, t("tasks.since", { time: this.query.since }), " ×");
  }

  #drawSort() {
    const other = otherSort(this.query.sort);
    this.#sort.href = this.#linkTo({ sort: other, offset: 0 });
    this.#sort.title = t(`tasks.sort.${other}`);
    setText(this.#sort, t(`tasks.sort.${this.query.sort}`));
  }

  #limitInLink(limit = this.query.limit) {
    return limit === SIZES[0] ? "" : limit;
  }
}

/** @param {"queue" | "newest"} sort @returns {"queue" | "newest"} */
const otherSort = (sort) => (sort === "newest" ? "queue" : "newest");

/** @param {URLSearchParams} query @returns {import("../state/task_list.js").Query} */
function readQuery(query) {
  const status = query.get("status") ?? "";
  const limit = Number(query.get("limit"));
  const offset = Number(query.get("offset"));
  return {
    status: STATUSES.includes(status) ? status : "",
    q: query.get("q") ?? "",
    since: query.get("since") === RECENT ? RECENT : "",
    sort: query.get("sort") === "newest" ? "newest" : "queue",
    limit: SIZES.includes(limit) ? limit : SIZES[0],
    offset: Number.isSafeInteger(offset) && offset > 0 ? offset : 0,
  };
}

class TaskRow {
  #name = h("a", { class: "images" });
  #id = h("span", { class: "id" });
  #why = h("p", { class: "why" });
  #chip = chip("status");
  #bar = new ProgressBar();
  #pace = h("span", { class: "pace" });
  #left = h("span", { class: "left" });
  #priority = h("span", { class: "priority" });
  #created = timeElement();
  #actions;
  #pick;
  /** @type {Api.Task | null} */
  #task = null;

  /** @param {import("../app.js").Shell} shell @param {Selection} selection @param {() => void} onDone */
  constructor(shell, selection, onDone) {
    this.selection = selection;
    this.#pick = h("input", { type: "checkbox", class: "pick", onchange: () => this.#task && selection.choose(this.#task, this.#pick.checked) });
    this.#actions = new TaskActions(shell, { small: true, onDone });
    /** @param {string} name @param {...Node} children */
    const cell = (name, ...children) => h("td", { role: "cell", class: `cell-${name}` }, children);
    this.element = h(
      "tr",
      { role: "row" },
      cell("task", this.#pick, this.#name, this.#id),
      cell("status", this.#chip),
      cell("progress", this.#bar.element, this.#why),
      cell("pace", this.#pace, this.#left),
      cell("priority", this.#priority),
      cell("created", this.#created),
      cell("actions", this.#actions.element),
    );
  }

  /** @param {Api.Task} task */
  update(task) {
    this.#task = task;
    this.#pick.checked = this.selection.has(task.taskId);
    setAttribute(this.#pick, "aria-label", t("bulk.choose", { task: `${imagesInShort(task.images)} ${task.taskId}` }));
    showImages(this.#name, task.images);
    setAttribute(this.#name, "href", taskLink(task.taskId));
    setAttribute(this.#name, "title", task.images.join("\n"));
    setText(this.#id, task.taskId);
    this.#chip.show(standing(task));
    this.#bar.update(task);
    const why = worded(task);
    setText(this.#why, why);
    this.#why.title = why;
    this.#why.hidden = !why;
    this.#why.dataset.state = task.status;
    const { bytesPerSecond } = task.progress;
    setText(this.#pace, task.status === "running" && bytesPerSecond ? speed(bytesPerSecond) : "");
    setText(this.#left, timeOf(task));
    setText(this.#priority, String(task.priority));
    if (task.status === "pending" && task.queuePlace) setText(this.#left, t("tasks.place", { n: task.queuePlace }));
    this.#priority.dataset.level = task.priority >= 8 ? "high" : "";
    this.#created.show(task.createdAt);
    this.#actions.update(task);
  }
}

/** Time left of what runs, time taken of what is over. @param {Api.Task} task */
function timeOf(task) {
  if (task.status === "running" && task.estimatedCompletion) {
    const left = (Date.parse(task.estimatedCompletion) - now()) / 1000;
    return t("tasks.left", { time: roughly(left) });
  }
  if (!task.startedAt || !task.finishedAt) return "";
  return t("tasks.took", { time: duration(between(task.startedAt, task.finishedAt)) });
}

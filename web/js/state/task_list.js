/**
 * One page of tasks, kept new by the stream of all events. Progress is taken from events; whatever
 * changes which tasks belong on the page has the page asked for again, at most once a second.
 */

import { sparing } from "../painter.js";
import { get, now } from "../server.js";
import { EventStream, stateAfter } from "../event_stream.js";
import { isOver, newer } from "./task_order.js";

export const STATUSES = ["running", "pending", "completed", "failed", "cancelled"];
const REFRESH = 1_000;
/** Nodes come and go, and time passes, without an event of a task. */
const LOOK = 30_000;
/** How the address names the last 24 hours. */
export const RECENT = "24h";
const RECENT_MS = 24 * 3_600_000;
const MOST_SUMMED = 100;

/**
 * @typedef {object} Query
 * @property {string} status "" for all
 * @property {string} q what is searched for
 * @property {string} since "" for all, or what ended in the last 24 hours
 * @property {"queue" | "newest"} sort
 * @property {number} limit
 * @property {number} offset
 */

/** @typedef {{tasks: number, nodes: number, isAll: boolean}} Failed `isAll`: every task's nodes are counted */

export class TaskList {
  /** @type {Api.Task[] | null} the page; null until it is known */
  tasks = null;
  total = 0;
  /** @type {Map<string, Api.Task>} every running task, on the page or not */
  running = new Map();
  /** @type {Record<string, number>} tasks by status; "" is all */
  counts = {};
  /** @type {Api.NodeCounts | null} nodes of the fleet */
  nodes = null;
  /** @type {Failed | null} what failed in the last 24 hours */
  failed = null;
  #look = 0;
  /** @type {Map<string, Api.Task>} */
  #known = new Map();
  #refresh = sparing(() => this.#load(), REFRESH);
  #asked = 0;
  /** @type {Map<string, number>} when asked, by task */
  #touched = new Map();
  #stream;

  /**
   * @param {Query} query
   * @param {import("../event_stream.js").Watcher} listener
   */
  constructor(query, listener) {
    this.query = query;
    this.listener = listener;
    /** @type {import("../event_stream.js").Listener} */
    const news = {
      onEvent: (type, data) => this.#take(type, data),
      onOpen: () => this.#refresh.request(),
      onState: (state) => listener.onState(state),
      ask: () => this.#load(),
    };
    this.#stream = new EventStream("/events", news, false);
  }

  start() {
    this.#refresh.request(); // shown at once, and asked for again when the stream is open
    this.#stream.start();
    this.#look = setInterval(() => !document.hidden && this.#refresh.request(), LOOK);
  }

  stop() {
    clearInterval(this.#look);
    this.#asked = -1;
    this.#refresh.stop();
    this.#stream.stop();
  }

  /** Asks for another page in place of this one. @param {Query} query */
  ask(query) {
    this.query = query;
    this.#refresh.request();
  }

  /** Asks again, after an action of the viewer. */
  refresh() {
    this.#refresh.request();
  }

  /** @param {string} type @param {string} data */
  #take(type, data) {
    if (type === "reset") this.#refresh.request();
    if (!type.startsWith("task.")) return;
    const seen = JSON.parse(data).data;
    this.#touched.set(seen.taskId, this.#asked);
    this.#learn(seen);
    if (type !== "task.progress") this.#refresh.request();
    this.listener.onChange();
  }

  /** @param {Api.Task} seen */
  #learn(seen) {
    const task = newer(this.#known.get(seen.taskId), seen);
    this.#known.set(task.taskId, task);
    if (task.status === "running") this.running.set(task.taskId, task);
    else this.running.delete(task.taskId);
    if (this.tasks?.some(({ taskId }) => taskId === task.taskId)) this.#renew();
  }

  /** The page's tasks in their newest state; one that no longer has the status goes at once. */
  #renew() {
    this.tasks = (this.tasks ?? [])
      .map((task) => this.#known.get(task.taskId) ?? task)
      .filter((task) => !this.query.status || task.status === this.query.status);
  }

  /** @returns {Promise<import("../event_stream.js").AskedState>} */
  async #load() {
    if (this.#asked < 0) return "over";
    const asked = ++this.#asked;
    try {
      const page = get(`/tasks?${pageQuery(this.query)}`);
      const others = Promise.all([
        get("/tasks?status=running&limit=100"),
        get("/nodes?limit=1"),
        get(`/tasks?status=failed&limit=${MOST_SUMMED}&endedSince=${recently()}`),
        ...["", ...STATUSES].map((status) => get(`/tasks?limit=1&status=${status}`)),
      ]);
      others.catch(() => {}); // told below, if the page itself does not fail first
      const first = await page;
      if (asked === this.#asked && this.tasks === null) this.#showPage(asked, first);
      const all = await others;
      if (asked === this.#asked) this.#showAll(asked, first, ...all);
      return "slow";
    } catch (problem) {
      if (asked === this.#asked) this.listener.onProblem(problem);
      return stateAfter(problem);
    }
  }

  /** @param {number} asked @param {Api.TaskList} page */
  #showPage(asked, page) {
    this.total = page.total;
    this.#learnAll(asked, page.tasks);
    this.tasks = page.tasks;
    this.#renew();
    this.listener.onChange();
  }

  /**
   * @param {number} asked
   * @param {Api.TaskList} page
   * @param {Api.TaskList} running
   * @param {Api.NodeList} nodes
   * @param {Api.TaskList} failed
   * @param {...Api.TaskList} counts
   */
  #showAll(asked, page, running, nodes, failed, ...counts) {
    this.nodes = nodes.states;
    this.failed = summed(failed);
    this.counts = Object.fromEntries(
      ["", ...STATUSES].map((status, index) => [status, counts[index].total]),
    );
    this.#forget([...page.tasks, ...running.tasks]);
    this.#learnAll(asked, running.tasks);
    this.#showPage(asked, page);
  }

  /**
   * An event that came after the question may be newer, and is never older by much.
   * @param {number} asked
   * @param {Api.Task[]} tasks
   */
  #learnAll(asked, tasks) {
    for (const task of tasks) {
      if ((this.#touched.get(task.taskId) ?? -1) < asked || isOver(task)) this.#learn(task);
    }
  }

  /**
   * Keeps what is on the page or runs, so that memory stays flat however many tasks pass by.
   * @param {Api.Task[]} kept
   */
  #forget(kept) {
    const ids = new Set(kept.map(({ taskId }) => taskId));
    for (const id of this.#known.keys()) {
      if (ids.has(id)) continue;
      this.#known.delete(id);
      this.#touched.delete(id);
      this.running.delete(id);
    }
  }
}

const recently = () => encodeURIComponent(new Date(now() - RECENT_MS).toISOString());

/** @param {Api.TaskList} list @returns {Failed} */
const summed = ({ tasks, total }) => ({
  tasks: total,
  nodes: tasks.reduce((sum, { progress }) => sum + progress.failedNodes, 0),
  isAll: tasks.length >= total,
});

/** @param {Query} query */
function pageQuery({ status, q, since, sort, limit, offset }) {
  const words = new URLSearchParams({ status, q, sort, limit: String(limit), offset: String(offset) });
  return since ? `${words}&endedSince=${recently()}` : String(words);
}

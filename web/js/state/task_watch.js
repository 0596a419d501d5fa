/**
 * One task and all its nodes, kept new by the task's own stream: kept events tell the task and the
 * end of attempts, live frames what changes in between, and lists what was before.
 */

import { EventStream, stateAfter } from "../event_stream.js";
import { sparing } from "../painter.js";
import { get, now } from "../server.js";
import { History } from "./history.js";
import { withFrame, withRecord } from "./node_order.js";
import { isOver, newer } from "./task_order.js";

const PAGE = 1_000;
const AGAIN = 1_000;

export class TaskWatch {
  /** @type {Api.Task | null} */
  task = null;
  /** @type {Api.TaskNode[]} by batch, then name */
  nodes = [];
  /** @type {number | null} how many nodes are being loaded; null when all are there */
  loading = null;
  history = new History();
  /** @type {Map<number, number>} when each batch began, over all attempts that were heard of */
  begun = new Map();
  /** @type {Set<number>} places in `nodes` that changed since `takeChanged` */
  #changed = new Set();
  #layoutChanged = true;
  /** @type {Map<string, number>} in `nodes`, by name */
  #places = new Map();
  /** @type {Map<string, number>} by name */
  #touched = new Map();
  #clock = 0;
  #stopped = false;
  #asked = 0;
  #reload = sparing(() => this.#load(), AGAIN);
  #stream;

  /**
   * @param {string} id
   * @param {import("../event_stream.js").Watcher} listener
   */
  constructor(id, listener) {
    this.path = `/tasks/${encodeURIComponent(id)}`;
    this.listener = listener;
    this.#stream = new EventStream(`${this.path}/events`, {
      onEvent: (type, data) => this.#take(type, data),
      onOpen: () => this.#reload.request(),
      onState: (state) => this.#streamState(state),
      ask: () => this.#load(),
    });
  }

  start() {
    this.#stream.start();
    this.#loadHead();
  }

  stop() {
    this.#stopped = true;
    this.#reload.stop();
    this.#stream.stop();
  }

  /** @returns {Set<number> | null} places that changed since the last call; null: all of them */
  takeChanged() {
    const changed = this.#layoutChanged ? null : this.#changed;
    this.#layoutChanged = false;
    this.#changed = new Set();
    return changed;
  }

  /** @param {import("../event_stream.js").StreamState} state */
  #streamState(state) {
    this.listener.onState(state);
    // A task that is over may have no kept event left: the stream then never opens.
    if (state === "over" && this.#asked === 0) this.#reload.request();
  }

  // ── the stream ──

  /** @param {string} type @param {string} data */
  #take(type, data) {
    if (type === "nodes") this.#takeFrame(JSON.parse(data).nodes);
    else if (type.startsWith("node.")) this.#takeNodeEvent(type, JSON.parse(data).data);
    else if (type.startsWith("task.")) this.#takeTaskEvent(type, JSON.parse(data));
    this.listener.onChange();
  }

  /** @param {string} type @param {Api.TaskEvent} event */
  #takeTaskEvent(type, event) {
    this.history.add(event);
    if (this.task === null) return; // the answer that is under way knows this already
    const task = newer(this.task, event.data);
    if (task === this.task) return;
    this.task = task;
    if (type !== "task.progress") this.#reload.request();
  }

  /** @param {string} type @param {Api.TaskNode} record */
  #takeNodeEvent(type, record) {
    this.#noteStart(record);
    const place = this.#places.get(record.nodeName);
    if (place === undefined) return; // the list that is under way knows this already
    if (type === "node.removed") this.#reload.request();
    this.#put(place, withRecord(this.nodes[place], record));
  }

  /**
   * A record tells of its newest attempt only; the kept events, of every one.
   * @param {Api.TaskNode} record
   */
  #noteStart({ batch, startedAt }) {
    if (startedAt === undefined) return;
    const time = Date.parse(startedAt);
    if (time < (this.begun.get(batch) ?? Infinity)) this.begun.set(batch, time);
  }

  /** @param {Api.LiveNode[]} frames */
  #takeFrame(frames) {
    const time = new Date(now()).toISOString();
    for (const frame of frames) {
      const place = this.#places.get(frame.nodeName);
      if (place === undefined) this.#reload.request();
      else this.#put(place, withFrame(this.nodes[place], frame, time));
    }
  }

  /** @param {number} place @param {Api.TaskNode} node */
  #put(place, node) {
    if (node === this.nodes[place]) return;
    this.#noteStart(node);
    this.nodes[place] = node;
    this.#touched.set(node.nodeName, ++this.#clock);
    this.#changed.add(place);
  }

  // ── the lists ──

  /** Shown at once, while the stream is still being opened; that has everything loaded after it. */
  async #loadHead() {
    const task = await get(this.path).catch(() => null);
    if (task === null || this.#stopped || this.task !== null) return;
    this.task = task;
    this.listener.onChange();
  }

  /** @returns {Promise<import("../event_stream.js").AskedState>} */
  async #load() {
    if (this.#stopped) return "over";
    const asked = ++this.#asked;
    const isStale = () => this.#stopped || asked !== this.#asked;
    try {
      const task = await get(this.path);
      if (isStale()) return "slow";
      this.task = newer(this.task ?? undefined, task);
      this.listener.onChange();
      await this.#loadNodes(isStale);
      return isOver(task) && !isStale() ? "over" : "slow";
    } catch (problem) {
      if (!isStale()) this.listener.onProblem(problem);
      return stateAfter(problem);
    }
  }

  /** @param {() => boolean} isStale */
  async #loadNodes(isStale) {
    /** @type {Api.TaskNode[]} */
    const found = [];
    let total = 0;
    do {
      const before = this.#clock;
      /** @type {Api.TaskNodeList} */
      const page = await get(`${this.path}/nodes?limit=${PAGE}&offset=${found.length}`);
      if (isStale()) return;
      if (page.nodes.length === 0) break;
      found.push(...page.nodes.map((node) => this.#merge(node, before)));
      total = page.total;
      this.#showPart(found, total);
    } while (found.length < total);
    this.#showAll(found);
  }

  /**
   * What the stream told after the question was asked is at least as new as the answer.
   * @param {Api.TaskNode} record
   * @param {number} before
   */
  #merge(record, before) {
    this.#noteStart(record);
    const place = this.#places.get(record.nodeName);
    const known = place === undefined ? undefined : this.nodes[place];
    const isTouched = (this.#touched.get(record.nodeName) ?? 0) > before;
    return known && isTouched ? known : withRecord(known, record);
  }

  /**
   * While nothing is shown yet, what has come is shown: 10,000 nodes take a second.
   * @param {Api.TaskNode[]} found
   * @param {number} total
   */
  #showPart(found, total) {
    if (this.loading === null && this.nodes.length > 0) return;
    this.loading = total;
    this.#place(found.slice());
  }

  /** @param {Api.TaskNode[]} found */
  #showAll(found) {
    this.loading = null;
    // A node touched while later pages were asked for is newer in place than in the list.
    this.#place(found.map((node) => this.#newest(node)));
    if (this.task && isOver(this.task)) this.#touched.clear();
  }

  /** @param {Api.TaskNode} node */
  #newest(node) {
    const place = this.#places.get(node.nodeName);
    return place === undefined ? node : withRecord(node, this.nodes[place]);
  }

  /** @param {Api.TaskNode[]} nodes */
  #place(nodes) {
    this.nodes = nodes;
    this.#places = new Map(nodes.map((node, place) => [node.nodeName, place]));
    this.#layoutChanged = true;
    this.listener.onChange();
  }
}

/** The strip above the list: what runs now, what went wrong of late, and how the fleet is. */

import { h, setAttribute, setText } from "../dom.js";
import { number, speed } from "../format.js";
import { t } from "../language.js";
import { link } from "../router.js";
import { RECENT } from "../state/task_list.js";

/** @typedef {{value: string, note?: string, state?: string, href?: string}} Shown */

export class Overview {
  /** @type {Map<string, Tile>} */
  #tiles = new Map();
  element = h("dl", { class: "overview", "aria-label": t("tasks.overview") });

  /** @param {import("../state/task_list.js").TaskList} list */
  update({ running, counts, nodes, failed }) {
    const sums = sumOf(running.values());
    const queued = counts.pending ? t("tasks.overview.waiting", { n: counts.pending }) : "";
    this.#show("running", { value: number(running.size), note: queued, state: "running", href: link("tasks", { status: "running" }) });
    this.#show("pulling", { value: number(sums.pulling), note: t("tasks.overview.of", { n: running.size }) });
    this.#show("speed", { value: speed(sums.speed) });
    this.#show("trouble", troubleOf(sums));
    this.#show("failed", failedOf(failed));
    this.#show("nodes", nodesOf(nodes));
  }

  /** @param {string} key @param {Shown} shown */
  #show(key, shown) {
    const tile = this.#tiles.get(key) ?? new Tile(t(`tasks.overview.${key}`));
    if (!this.#tiles.has(key)) this.element.append(tile.element);
    this.#tiles.set(key, tile);
    tile.update(shown);
  }
}

class Tile {
  #value = h("b");
  #link = h("a", {}, this.#value);
  #note = h("span", { class: "note" });

  /** @param {string} name */
  constructor(name) {
    this.element = h("div", {}, h("dt", {}, name), h("dd", {}, this.#link, this.#note));
  }

  /** @param {Shown} shown */
  update({ value, note = "", state = "", href }) {
    setText(this.#value, value);
    setText(this.#note, note);
    setAttribute(this.#link, "href", href);
    this.element.dataset.state = state;
  }
}

/** @param {{failed: number, retrying: number}} sums @returns {Shown} */
function troubleOf(sums) {
  const count = sums.failed + sums.retrying;
  if (count === 0) return { value: number(0), note: t("tasks.overview.none") };
  return { value: number(count), note: t("tasks.overview.failing", sums), state: "failed" };
}

/** @param {import("../state/task_list.js").Failed | null} failed @returns {Shown} */
function failedOf(failed) {
  if (failed === null) return { value: "–" };
  const note = failed.tasks ? t("tasks.overview.nodes.failed", { n: failed.nodes, least: failed.isAll ? "" : "≥ " }) : "";
  const href = link("tasks", { status: "failed", since: RECENT });
  return { value: t("tasks.overview.tasks", { n: failed.tasks }), note, state: failed.tasks ? "failed" : "completed", href };
}

/** @param {Api.NodeCounts | null} nodes @returns {Shown} */
function nodesOf(nodes) {
  if (nodes === null) return { value: "–" };
  const { ready = 0, offline = 0, unschedulable = 0 } = nodes;
  const words = [];
  if (offline) words.push(t("tasks.overview.offline", { n: offline }));
  if (unschedulable) words.push(t("tasks.overview.unschedulable", { n: unschedulable }));
  const [first] = [offline && "away", unschedulable && "blocked"].filter(Boolean);
  const href = link("nodes", { state: first ?? "" });
  const state = words.length ? "retrying" : "";
  return { value: t("tasks.overview.ready", { n: ready }), note: words.join(" · "), state, href };
}

/** @param {Iterable<Api.Task>} tasks */
function sumOf(tasks) {
  const sums = { pulling: 0, speed: 0, failed: 0, retrying: 0 };
  for (const { progress } of tasks) {
    sums.pulling += progress.pullingNodes;
    sums.speed += progress.bytesPerSecond ?? 0;
    sums.failed += progress.failedNodes;
    sums.retrying += progress.retryingNodes;
  }
  return sums;
}

/** Bytes per second over the life of a task, with the share of nodes done as a line above it. */

import { h, replace, setAttribute, setText, svg } from "../dom.js";
import { clockTime, percent, speed } from "../format.js";
import { t } from "../language.js";
import { isOver as isTaskOver } from "../state/task_order.js";

/** @typedef {import("../state/history.js").Point} Point */

const WIDTH = 600;
const HEIGHT = 140;

export class ThroughputChart {
  #area = svg("path", { class: "area" });
  #line = svg("path", { class: "line" });
  #done = svg("path", { class: "done" });
  #pointer = svg("line", { class: "pointer", y1: 0, y2: HEIGHT, x1: -9, x2: -9 });
  #plot = svg(
    "svg",
    { viewBox: `0 0 ${WIDTH} ${HEIGHT}`, preserveAspectRatio: "none", role: "img", "aria-label": t("chart.title") },
    [1, 2, 3].map((quarter) => grid((quarter * HEIGHT) / 4)),
    this.#area,
    this.#line,
    this.#done,
    this.#pointer,
  );
  #peak = h("span", { class: "peak" });
  #ends = h("div", { class: "ends" });
  #reading = h("p", { class: "reading" });
  #none = h("p", { class: "hint" });
  /** @type {Point[]} */
  #points = [];

  element = h(
    "section",
    { class: "card chart", "aria-labelledby": "chart-title" },
    h("h2", { id: "chart-title" }, t("chart.title"), this.#peak),
    h("div", { class: "plot" }, this.#plot, this.#none),
    this.#ends,
    h("div", { class: "keys" }, key("speed"), key("done"), this.#reading),
  );

  constructor() {
    this.#plot.addEventListener("pointermove", (event) => this.#point(event));
    this.#plot.addEventListener("pointerleave", () => this.#leave());
  }

  /** @param {Point[]} points @param {Api.Task} task */
  update(points, task) {
    const isOver = isTaskOver(task);
    this.#points = points;
    const isEmpty = points.length < 2;
    this.#none.hidden = !isEmpty;
    setText(this.#none, t(isOver && task.startedAt ? "chart.gone" : "chart.none"));
    const most = Math.max(0, ...points.map((point) => point.speed));
    setText(this.#peak, most ? t("chart.peak", { speed: speed(most) }) : "");
    if (isEmpty) this.#clear();
    else this.#draw(points, most, isOver);
  }

  #clear() {
    for (const path of [this.#area, this.#line, this.#done]) path.removeAttribute("d");
    setAttribute(this.#plot, "aria-label", this.#none.textContent);
    replace(this.#ends);
  }

  /** @param {Point[]} points @param {number} most @param {boolean} isOver */
  #draw(points, most, isOver) {
    const [first, last] = [points[0], points[points.length - 1]];
    const x = (/** @type {Point} */ point) => (WIDTH * (point.time - first.time)) / (last.time - first.time || 1);
    const y = (/** @type {number} */ share) => HEIGHT - 4 - (HEIGHT - 10) * share;
    const speeds = pathOf(points, x, (point) => y(most ? point.speed / most : 0));
    setAttribute(this.#line, "d", speeds);
    setAttribute(this.#area, "d", `${speeds}L${WIDTH} ${HEIGHT}L0 ${HEIGHT}Z`);
    setAttribute(this.#done, "d", pathOf(points, x, (point) => y(shareOf(point))));
    const end = isOver ? clockTime(new Date(last.time).toISOString()) : t("chart.now");
    replace(this.#ends, h("span", {}, clockTime(new Date(first.time).toISOString())), h("span", {}, end));
    setAttribute(this.#plot, "aria-label", labelOf(points, most));
  }

  /** @param {PointerEvent} event */
  #point(event) {
    if (this.#points.length < 2) return;
    const [first, last] = [this.#points[0].time, this.#points[this.#points.length - 1].time];
    const box = this.#plot.getBoundingClientRect();
    const time = first + ((last - first) * (event.clientX - box.left)) / box.width;
    const point = nearest(this.#points, time);
    const x = (WIDTH * (point.time - first)) / (last - first || 1);
    setAttribute(this.#pointer, "x1", x);
    setAttribute(this.#pointer, "x2", x);
    const when = clockTime(new Date(point.time).toISOString());
    setText(this.#reading, `${when} · ${speed(point.speed)} · ${percent(Math.round(100 * shareOf(point)))}`);
  }

  #leave() {
    setAttribute(this.#pointer, "x1", -9);
    setAttribute(this.#pointer, "x2", -9);
    setText(this.#reading, "");
  }
}

/** @param {number} y */
const grid = (y) => svg("line", { class: "grid", x1: 0, x2: WIDTH, y1: y, y2: y });

/** @param {string} name */
const key = (name) => h("span", { class: `key ${name}` }, t(`chart.${name}`));

/** @param {Point} point */
const shareOf = ({ done, total }) => (total ? done / total : 0);

/**
 * @param {Point[]} points
 * @param {(point: Point) => number} x
 * @param {(point: Point) => number} y
 */
const pathOf = (points, x, y) =>
  `M${points.map((point) => `${x(point).toFixed(1)} ${y(point).toFixed(1)}`).join("L")}`;

/** @param {Point[]} points @param {number} time */
const nearest = (points, time) =>
  points.reduce((best, one) => (Math.abs(one.time - time) < Math.abs(best.time - time) ? one : best));

/** @param {Point[]} points @param {number} most */
function labelOf(points, most) {
  const last = points[points.length - 1];
  return t("chart.label", {
    most: speed(most),
    now: speed(last.speed),
    done: percent(Math.round(100 * shareOf(last))),
  });
}

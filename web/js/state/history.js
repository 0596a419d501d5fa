/**
 * A task's measurements over time, from its progress events. However long it runs, a fixed number
 * of points is kept: when they are too many, neighbours become one.
 */

const MOST = 480;

/**
 * @typedef {object} Point
 * @property {number} time milliseconds since 1970
 * @property {number} speed bytes per second
 * @property {number} done nodes done, of `total`
 * @property {number} total
 */

export class History {
  /** @type {Point[]} in the order of time */
  points = [];
  /** Milliseconds; points closer to one another become one. */
  #step = 0;

  /** @param {Api.TaskEvent} event a `task.…` CloudEvent; one that is told twice is one */
  add(event) {
    if (event.data.status === "pending") return;
    const point = pointOf(event);
    const last = this.points.at(-1);
    if (last && point.time <= last.time) return;
    if (last && point.time - last.time < this.#step) this.points[this.points.length - 1] = both(last, point);
    else this.points.push(point);
    if (this.points.length > MOST) this.#thin();
  }

  #thin() {
    /** @type {Point[]} */
    const thinned = [];
    for (let index = 0; index < this.points.length; index += 2) {
      const [first, second] = [this.points[index], this.points[index + 1]];
      thinned.push(second ? both(first, second) : first);
    }
    this.points = thinned;
    this.#step = (2 * (thinned[thinned.length - 1].time - thinned[0].time)) / MOST;
  }
}

/** @param {Api.TaskEvent} event @returns {Point} */
function pointOf({ time, data }) {
  const { bytesPerSecond, completedNodes, totalNodes } = data.progress;
  const isRunning = data.status === "running";
  return {
    time: Date.parse(time),
    speed: isRunning ? (bytesPerSecond ?? 0) : 0,
    done: completedNodes,
    total: totalNodes,
  };
}

/**
 * Two neighbours as one: the later one's time and nodes, the mean of the speeds.
 * @param {Point} first
 * @param {Point} second
 */
const both = (first, second) => ({ ...second, speed: (first.speed + second.speed) / 2 });

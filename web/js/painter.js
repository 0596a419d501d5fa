/**
 * Paints at most once a frame, and not more often than a viewer can read, however often it is asked.
 */
export class Painter {
  #frame = 0;
  #timer = 0;
  #paintedAt = -Infinity;

  /**
   * @param {() => void} paint
   * @param {number} [interval] milliseconds between two paintings, at least
   */
  constructor(paint, interval = 0) {
    this.paint = paint;
    this.interval = interval;
  }

  /** Asks for a painting; many requests are one. */
  request() {
    if (this.#frame || this.#timer) return;
    const wait = this.#paintedAt + this.interval - performance.now();
    if (wait > 0) this.#timer = setTimeout(() => this.#ask(), wait);
    else this.#ask();
  }

  /** Paints no more. */
  stop() {
    cancelAnimationFrame(this.#frame);
    clearTimeout(this.#timer);
  }

  #ask() {
    this.#timer = 0;
    this.#frame = requestAnimationFrame(() => {
      this.#frame = 0;
      this.#paintedAt = performance.now();
      this.paint();
    });
  }
}

/**
 * Calls a function now and then at most once in an interval: the last call is never lost.
 * @param {() => void} call
 * @param {number} interval milliseconds
 * @returns {{request: () => void, stop: () => void}}
 */
export function sparing(call, interval) {
  let timer = 0;
  let calledAt = -Infinity;
  const run = () => {
    timer = 0;
    calledAt = performance.now();
    call();
  };
  return {
    request() {
      if (timer) return;
      const wait = calledAt + interval - performance.now();
      if (wait > 0) timer = setTimeout(run, wait);
      else run();
    },
    stop: () => clearTimeout(timer),
  };
}

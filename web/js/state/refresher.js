/**
 * Calls back when something that a view shows may have changed: at the start, after each
 * connection, and a moment after an event that matters to it.
 */

import { EventStream } from "../event_stream.js";

const PAUSE = 1_500;

export class Refresher {
  /** Set from the first event on until what it led to has been answered. */
  #timer = 0;
  /** Something came while an answer was under way: it may not be in it. */
  #isStale = false;
  #stopped = false;
  #lastTimer = 0;
  #stream;

  /**
   * @param {(type: string, data: any) => boolean} matters
   * @param {() => Promise<import("../event_stream.js").AskedState>} refresh
   * @param {(state: import("../event_stream.js").StreamState) => void} onState
   * @param {{kept?: number, path?: string}} [options] `kept`: milliseconds for which the server gives
   *   the same answer again; `path`: of the stream, below the API
   */
  constructor(matters, refresh, onState, { kept = 0, path = "/events" } = {}) {
    this.refresh = refresh;
    this.kept = kept;
    this.#stream = new EventStream(path, {
      onEvent: (type, data) => matters(type, JSON.parse(data)) && this.#hear(),
      onOpen: () => refresh(),
      onState,
      ask: refresh,
    });
  }

  start() {
    this.#stream.start();
  }

  stop() {
    this.#stopped = true;
    clearTimeout(this.#timer);
    clearTimeout(this.#lastTimer);
    this.#stream.stop();
  }

  /** An answer that the server has kept may not know the last event: it is asked for once more. */
  #hear() {
    this.soon();
    clearTimeout(this.#lastTimer);
    if (this.kept) this.#lastTimer = setTimeout(() => this.soon(), this.kept);
  }

  /** Events that never cease put nothing off: the first of them says when. */
  soon() {
    this.#isStale = true;
    if (!this.#timer && !this.#stopped) this.#timer = setTimeout(() => this.#ask(), PAUSE);
  }

  async #ask() {
    this.#isStale = false;
    try {
      await this.refresh();
    } finally {
      this.#timer = 0;
      if (this.#isStale) this.soon();
    }
  }
}

/**
 * Calls back when something that a view shows may have changed: at the start, after each
 * connection, and a moment after an event that matters to it.
 */

import { EventStream } from "../event_stream.js";

const PAUSE = 1_500;

export class Refresher {
  #timer = 0;
  #stream;

  /**
   * @param {(type: string, data: any) => boolean} matters
   * @param {() => Promise<import("../event_stream.js").AskedState>} refresh
   * @param {(state: import("../event_stream.js").StreamState) => void} onState
   */
  constructor(matters, refresh, onState) {
    this.refresh = refresh;
    this.#stream = new EventStream("/events", {
      onEvent: (type, data) => matters(type, JSON.parse(data)) && this.soon(),
      onOpen: () => refresh(),
      onState,
      ask: refresh,
    });
  }

  start() {
    this.#stream.start();
  }

  stop() {
    clearTimeout(this.#timer);
    this.#stream.stop();
  }

  soon() {
    clearTimeout(this.#timer);
    this.#timer = setTimeout(() => this.refresh(), PAUSE);
  }
}

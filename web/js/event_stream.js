/**
 * Server-Sent Events that heal by themselves: an end, an error or silence leads to a new request
 * after the last position. Read with `fetch`, because `EventSource` shows neither the comments that
 * prove a quiet connection alive nor the status of an answer, and gives up at a 503.
 *
 * Silence has two causes. Where plain questions are answered, a proxy holds the stream back: they
 * are then asked every few seconds until it flows. Where they are not, nobody is there.
 */

import { API, noteRefusal, noteStatus, setClock } from "./server.js";

/** The server speaks at once, and then every 5 s: what is silent for longer (ms) is held or dead. */
const SILENCE = { first: 4_000, later: 8_000 };
/** Between two questions in place of a stream that is held back. */
const ASK = 3_000;
/** A held stream may be a connection that only looks open: another one is tried. */
const REOPEN = 60_000;
const PAUSES = [300, 600, 1_000, 2_000, 4_000];
/** A tab that nobody sees gives its connection back: a browser has six for a server. */
const HIDDEN = 10_000;
/** Longest time to take events in before the browser may paint. */
const BUDGET = 8;

/**
 * @typedef {object} Listener
 * @property {(type: string, data: string) => void} onEvent
 * @property {() => void} onOpen the stream is open: what is asked for from now on misses nothing
 * @property {(state: StreamState) => void} onState
 * @property {() => Promise<AskedState>} ask asks for everything anew, in place of the stream
 * @property {() => void} [onGone] there is no such thing to watch (any more)
 * @typedef {"slow" | "lost" | "over"} AskedState answered, not answered, or nothing can follow
 * @typedef {{type: string, data: string, id?: string}} StreamEvent
 * @typedef {object} Watcher what a view wants to know of the state that it shows
 * @property {() => void} onChange
 * @property {(state: StreamState) => void} onState
 * @property {(problem: import("./server.js").Problem) => void} onProblem
 * @typedef {"connecting" | "live" | "refused" | AskedState} StreamState
 */

export class EventStream {
  #position = "";
  #failures = 0;
  /** @type {StreamState} */
  #state = "connecting";
  #silence = 0;
  #abort = new AbortController();
  #wait = { timer: 0, end: () => {} };
  #stopped = false;
  #hideTimer = 0;
  #seen = () => this.#visibilityChanged();
  #online = () => this.#wait.end();

  /**
   * @param {string} path of the stream, below the API
   * @param {Listener} listener
   * @param {boolean} [live] whether frames of what changes between events are wanted
   */
  constructor(path, listener, live = true) {
    this.path = path;
    this.listener = listener;
    this.live = live;
  }

  /** Opens it, and keeps it open until `stop`. */
  start() {
    document.addEventListener("visibilitychange", this.#seen);
    addEventListener("online", this.#online);
    this.#run();
  }

  stop() {
    this.#stopped = true;
    document.removeEventListener("visibilitychange", this.#seen);
    removeEventListener("online", this.#online);
    clearTimeout(this.#hideTimer);
    this.#abort.abort();
    this.#wait.end();
  }

  /** What is over stays so, whatever a held stream brings later. @param {StreamState} state */
  #tell(state) {
    if (this.#state === "over" || this.#stopped) return;
    this.#state = state;
    this.listener.onState(state);
  }

  async #run() {
    this.#tell("connecting");
    while (!this.#stopped) {
      const end = await this.#connect().catch(() => null);
      this.#hush();
      if (this.#stopped) return;
      if (end !== null) {
        this.#tell(end);
        this.stop();
        return;
      }
      await this.#pause();
    }
  }

  /** @returns {Promise<"over" | "refused" | null>} why nothing can follow, if nothing can */
  async #connect() {
    this.#abort = new AbortController();
    this.#expect(SILENCE.first);
    const answer = await fetch(this.#url(), { signal: this.#abort.signal, cache: "no-store" });
    setClock(answer.headers.get("Date"));
    noteStatus(answer.status);
    if (answer.status === 204) return "over";
    if (answer.status === 403) {
      await noteRefusal(answer);
      return "refused";
    }
    if (answer.status === 404) {
      this.listener.onGone?.();
      return "over";
    }
    if (!answer.ok || answer.body === null) return null;
    this.#failures = 0;
    this.listener.onOpen();
    await this.#read(answer.body.getReader());
    return null;
  }

  #url() {
    const after = this.#position && `&lastEventId=${encodeURIComponent(this.#position)}`;
    const query = this.path.includes("?") ? "&" : "?";
    return `${API}${this.path}${query}live=${this.live}${after}`;
  }

  /** @param {ReadableStreamDefaultReader<Uint8Array>} reader */
  async #read(reader) {
    const text = new TextDecoder();
    const parser = new Parser();
    while (true) {
      const { value, done } = await reader.read();
      this.#hush();
      if (done) return;
      this.#tell("live");
      await this.#take(parser.push(text.decode(value, { stream: true })));
      this.#expect(SILENCE.later);
    }
  }

  // ── silence ──

  /** A byte is due. @param {number} within milliseconds */
  #expect(within) {
    this.#hush();
    const due = setTimeout(() => this.#ask(due), within);
    this.#silence = due;
  }

  /** None is due: any silence so far has ended. */
  #hush() {
    clearTimeout(this.#silence);
    this.#silence = 0;
  }

  /** Asks until a byte comes, nobody answers, or all is over. @param {number} due what has run out */
  async #ask(due) {
    const { signal } = this.#abort;
    const isSilent = () => !signal.aborted && this.#silence === due && this.#state !== "over";
    if (this.#state === "live") this.#tell("lost"); // until somebody answers
    for (const began = performance.now(); isSilent(); await pause(ASK)) {
      const state = await this.listener.ask();
      if (!isSilent()) return;
      this.#tell(state);
      if (state === "lost" || performance.now() - began > REOPEN) this.#abort.abort();
    }
  }

  /** Hands events on, and lets the browser paint between many. @param {StreamEvent[]} events */
  async #take(events) {
    let began = performance.now();
    for (const event of events) {
      if (this.#stopped) return;
      if (event.id !== undefined) this.#position = event.id;
      this.listener.onEvent(event.type, event.data);
      if (performance.now() - began > BUDGET) {
        await new Promise((resolve) => setTimeout(resolve));
        began = performance.now();
      }
    }
  }

  async #pause() {
    // The end of a held stream says nothing of the server.
    if (!this.#isAsleep()) this.#tell(this.#state === "slow" ? await this.listener.ask() : "lost");
    const pause = PAUSES[Math.min(this.#failures++, PAUSES.length - 1)];
    const milliseconds = this.#isAsleep() ? 2 ** 31 - 1 : pause * (0.8 + 0.4 * Math.random());
    await new Promise((resolve) => {
      this.#wait = { timer: setTimeout(resolve, milliseconds), end: () => resolve(undefined) };
    });
    clearTimeout(this.#wait.timer);
  }

  #asleep = false;
  #isAsleep = () => this.#asleep && document.hidden;

  #visibilityChanged() {
    clearTimeout(this.#hideTimer);
    if (document.hidden) {
      this.#hideTimer = setTimeout(() => {
        this.#asleep = true;
        this.#abort.abort();
      }, HIDDEN);
    } else if (this.#asleep) {
      this.#asleep = false;
      this.#failures = 0;
      this.#wait.end();
    }
  }
}

/** @param {number} milliseconds */
const pause = (milliseconds) => new Promise((resolve) => setTimeout(resolve, milliseconds));

/**
 * How a question that a view asked has left the connection.
 * @param {{status: number}} problem why it was refused
 * @returns {AskedState}
 */
export const stateAfter = (problem) => (problem.status === 404 ? "over" : "lost");

/** Cuts a stream of text into events (https://html.spec.whatwg.org/#event-stream-interpretation). */
export class Parser {
  #rest = "";

  /**
   * @param {string} text the next piece, cut anywhere
   * @returns {StreamEvent[]} events that are complete now
   */
  push(text) {
    const blocks = (this.#rest + text).split("\n\n");
    this.#rest = blocks.pop() ?? "";
    return blocks.map(parseBlock).filter((event) => event.data !== "");
  }
}

/** @param {string} block */
function parseBlock(block) {
  /** @type {StreamEvent} */
  const event = { type: "message", data: "" };
  for (const line of block.split("\n")) {
    const colon = line.indexOf(":");
    if (colon <= 0) continue; // a comment, or a field without a value
    const name = line.slice(0, colon);
    const value = line.slice(line[colon + 1] === " " ? colon + 2 : colon + 1);
    if (name === "event") event.type = value;
    else if (name === "data") event.data = event.data ? `${event.data}\n${value}` : value;
    else if (name === "id") event.id = value;
  }
  return event;
}

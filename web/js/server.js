/**
 * The REST interface: requests in JSON, refusals as `Problem`, and the server's clock.
 */

export const API = "/api/v1";
/** Milliseconds until an answer must have begun, and from then until it must be whole. */
const ANSWER = 9_000;
const WHOLE = 30_000;

/** An answer that is no success; `status` 0 means that nobody answered. */
export class Problem extends Error {
  /**
   * @param {number} status
   * @param {Partial<Api.Problem>} [document] as the server sent it; with 400 it names every fault at once
   */
  constructor(status, { detail = "", errors = [], messageCode, messageParams } = {}) {
    super(detail);
    this.status = status;
    this.errors = errors;
    this.messageCode = messageCode;
    this.messageParams = messageParams;
  }
}

/** @param {string} path @param {AbortSignal} [signal] */
export const get = (path, signal) => request("GET", path, { signal });

/** The same with the tag by which a change is made over it alone. @param {string} path */
export async function getTagged(path) {
  const headers = new Headers();
  const body = await request("GET", path, {}, headers);
  return { body, tag: headers.get("ETag") ?? "" };
}

/** Puts a body over what has this tag; over nothing, where it is empty. @param {string} path @param {object} body @param {string} tag */
export const put = (path, body, tag) =>
  request("PUT", path, {
    body: JSON.stringify(body),
    headers: { "Content-Type": "application/json", ...(tag ? { "If-Match": tag } : { "If-None-Match": "*" }) },
  });

/** @param {string} path */
export const remove = (path) => request("DELETE", path);

/**
 * Posts a body. The key lets the server take a repetition for what it is.
 * @param {string} path @param {object} body @param {string} [idempotencyKey]
 */
export const post = (path, body, idempotencyKey) =>
  request("POST", path, {
    body: JSON.stringify(body),
    headers: {
      "Content-Type": "application/json",
      ...(idempotencyKey && { "Idempotency-Key": idempotencyKey }),
    },
  });

/** The server does not know who asks: told to the window, whoever was asking. */
export const UNIDENTIFIED = "unidentified";

/** @param {number} status of any answer */
export function noteStatus(status) {
  if (status === 401) dispatchEvent(new Event(UNIDENTIFIED));
}

/** Whoever asks may not see what they asked for: told to the window, with the `Problem` as detail. */
export const REFUSED = "refused";

/** @param {Response} answer to a request for a stream */
export async function noteRefusal(answer) {
  const problem = new Problem(answer.status, parsed(await answer.text()));
  dispatchEvent(new CustomEvent(REFUSED, { detail: problem }));
}

/** @returns {string} a fresh Idempotency-Key; `crypto.randomUUID` is missing on plain http */
export const newKey = () =>
  Array.from(crypto.getRandomValues(new Uint8Array(16)), (byte) =>
    byte.toString(16).padStart(2, "0"),
  ).join("");

/**
 * @param {string} method
 * @param {string} path
 * @param {RequestInit} [options]
 * @param {Headers} [headers] takes those of the answer
 * @returns {Promise<any>}
 */
async function request(method, path, options = {}, headers = new Headers()) {
  const limit = new AbortController();
  const end = () => limit.abort();
  options.signal?.addEventListener("abort", end);
  let timer = setTimeout(end, ANSWER);
  try {
    const init = { method, cache: /** @type {const} */ ("no-store"), ...options, signal: limit.signal };
    const answer = await fetch(API + path, init);
    clearTimeout(timer);
    timer = setTimeout(end, WHOLE);
    setClock(answer.headers.get("Date"));
    for (const [name, value] of answer.headers) headers.set(name, value);
    return read(answer, await answer.text());
  } catch (error) {
    if (error instanceof Problem) throw error;
    throw options.signal?.aborted ? options.signal.reason : new Problem(0);
  } finally {
    clearTimeout(timer);
    options.signal?.removeEventListener("abort", end);
  }
}

/** A success that is no JSON was not said by the server. @param {Response} answer @param {string} text */
function read(answer, text) {
  const body = parsed(text);
  noteStatus(answer.status);
  if (!answer.ok) throw new Problem(answer.status, body ?? { detail: answer.statusText });
  if (body === undefined) throw new Problem(0);
  return body;
}

/** @param {string} text */
function parsed(text) {
  try {
    return JSON.parse(text);
  } catch {
    // A proxy's page, or an answer that was cut off.
  }
}

// ── the server's clock: the viewer's may be wrong by hours ──

let offset = 0;

/** @param {string | null} date the header, which knows whole seconds only */
export function setClock(date) {
  const server = Date.parse(date ?? "");
  if (Number.isNaN(server)) return;
  const seen = server + 500 - Date.now();
  if (Math.abs(seen - offset) > 1500) offset = seen;
}

/** @returns {number} milliseconds since 1970 by the server's clock, good to a second or so */
export const now = () => Date.now() + offset;

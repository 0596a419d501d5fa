/**
 * The REST interface: requests in JSON, refusals as `Problem`, and the server's clock.
 */

export const API = "/api/v1";

/** An answer that is no success; `status` 0 means that nobody answered. */
export class Problem extends Error {
  /**
   * @param {number} status
   * @param {string} detail one sentence, by the server
   * @param {Api.Fault[]} [errors] with 400: every fault at once
   */
  constructor(status, detail, errors = []) {
    super(detail);
    this.status = status;
    this.errors = errors;
  }
}

/** @param {string} path @param {AbortSignal} [signal] */
export const get = (path, signal) => request("GET", path, { signal });

/** @param {string} path */
export const remove = (path) => request("DELETE", path);

/**
 * Posts a body. The key lets the server take a repetition for what it is.
 * @param {string} path @param {object} body @param {string} idempotencyKey
 */
export const post = (path, body, idempotencyKey) =>
  request("POST", path, {
    body: JSON.stringify(body),
    headers: { "Content-Type": "application/json", "Idempotency-Key": idempotencyKey },
  });

/** @returns {string} a fresh Idempotency-Key; `crypto.randomUUID` is missing on plain http */
export const newKey = () =>
  Array.from(crypto.getRandomValues(new Uint8Array(16)), (byte) =>
    byte.toString(16).padStart(2, "0"),
  ).join("");

/**
 * @param {string} method
 * @param {string} path
 * @param {RequestInit} [options]
 * @returns {Promise<any>}
 */
async function request(method, path, options = {}) {
  let answer;
  try {
    answer = await fetch(API + path, { method, cache: "no-store", ...options });
  } catch (error) {
    if (error.name === "AbortError") throw error;
    throw new Problem(0, "");
  }
  setClock(answer.headers.get("Date"));
  const body = await answer.json().catch(() => ({}));
  if (answer.ok) return body;
  throw new Problem(answer.status, body.detail ?? answer.statusText, body.errors);
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

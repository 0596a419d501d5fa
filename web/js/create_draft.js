/**
 * What a viewer has typed into the form of a new task, and the request that it makes. Nothing here
 * touches the page, so that a change of language loses nothing.
 */

import { readReference } from "./image_reference.js";
import { API } from "./server.js";

/** Every field with its default, as text, in the order of the form. */
const DEFAULTS = {
  batchSize: "10",
  priority: "5",
  maxRetries: "0",
  retryStrategy: "linear",
  retryDelay: "30",
  maxFailedNodes: "0",
  rollout: "batch",
  imagePullPolicy: "IfNotPresent",
  pullTimeoutSeconds: "1800",
  webhookUrl: "",
};

export const FIELDS = /** @type {(keyof typeof DEFAULTS)[]} */ (Object.keys(DEFAULTS));

/** Whole numbers and their bounds. @type {Record<string, [number, number]>} */
export const NUMBERS = {
  batchSize: [1, 10_000],
  priority: [1, 10],
  maxRetries: [0, 5],
  retryDelay: [1, 3_600],
  pullTimeoutSeconds: [10, 86_400],
};

export const OPERATORS = ["is", "In", "NotIn", "Exists", "DoesNotExist", "Gt", "Lt"];
const WITHOUT_VALUE = new Set(["Exists", "DoesNotExist"]);
/** Between names, images or values of one line: none of these is in any of them. */
const SEPARATOR = /[,;，；、]/;
const MOST_IMAGES = 50;
const EXPONENTIAL_LIMIT = 600;

/**
 * @typedef {{text: string, line: number, start: number}} Piece of the images' field: its line, from
 *   1, and the place of its first character
 * @typedef {Piece & {canonical?: string, fault?: string, values?: Words, sameAs?: number}} ImageLine
 *   `sameAs`: the line of the same image
 * @typedef {Record<string, string | number>} Words filled into a text
 * @typedef {{key: string, operator: string, value: string}} LabelRow
 * @typedef {{images: string, labels: LabelRow[], names: string, credentials: string, pullSecrets: string} & typeof DEFAULTS} Draft
 * @typedef {{field: string, row?: number, key: string, values?: Words}} DraftFault `key` of words
 */

/** @returns {Draft} */
export const newDraft = () => ({ images: "", labels: [], names: "", credentials: "", pullSecrets: "", ...DEFAULTS });

/**
 * A draft that makes the same again, as far as a task, or a set, tells what it was made of.
 * @param {Api.Task | Api.WarmSet} task
 */
export function draftOf(task) {
  const draft = newDraft();
  draft.images = task.images.join("\n");
  draft.credentials = (task.credentials ?? []).join(", ");
  draft.pullSecrets = (task.pullSecrets ?? []).join(", ");
  for (const field of FIELDS) {
    const value = /** @type {Record<string, any>} */ (task)[field];
    if (field !== "webhookUrl" && value !== undefined) draft[field] = String(value);
  }
  const equal = Object.entries(task.nodeSelector).map(([key, value]) => label(key, "is", value));
  const others = task.matchExpressions.map(({ key, operator, values = [] }) =>
    label(key, operator, values.join(", ")),
  );
  draft.labels = [...equal, ...others];
  return draft;
}

/** @returns {LabelRow} */
export const label = (key = "", operator = "is", value = "") => ({ key, operator, value });

/** @param {LabelRow} row */
export const takesValue = (row) => !WITHOUT_VALUE.has(row.operator);

// ── images ──

/**
 * Every image with what is to be said of it; an empty piece has nothing.
 * @param {Draft} draft
 * @returns {ImageLine[]}
 */
export function readLines(draft) {
  /** @type {Map<string, number>} */
  const first = new Map();
  return pieces(draft.images).map((piece) => {
    if (!piece.text) return piece;
    const read = readReference(piece.text);
    if (!("canonical" in read)) return { ...piece, ...read };
    const sameAs = first.get(read.canonical);
    if (sameAs === undefined) first.set(read.canonical, piece.line);
    return { ...piece, canonical: read.canonical, sameAs };
  });
}

/** @param {string} text @returns {Piece[]} */
function pieces(text) {
  let start = 0;
  return text.split("\n").flatMap((whole, index) =>
    uncommented(whole).split(SEPARATOR).map((piece) => {
      const found = { text: piece.trim(), line: index + 1, start: start + piece.search(/\S|$/) };
      start += piece.length + 1;
      return found;
    }),
  );
}

/** A line as `ips run -f` takes it: without the mark of a list and without a comment, as long as it was. @param {string} line */
const uncommented = (line) =>
  line.replace(/^(\s*)-(?=\s)/, "$1 ").replace(/(^|\s)#.*/, (comment) => " ".repeat(comment.length));

/** @param {Draft} draft */
export const images = (draft) => readLines(draft).map(({ text }) => text).filter(Boolean);

/** @param {Draft} draft */
export const names = (draft) => namesIn(draft.names);

/** Names with separators or spaces between them, each once. @param {string} text */
const namesIn = (text) => [...new Set(text.split(SEPARATOR).flatMap((part) => part.split(/\s+/)).filter(Boolean))];

// ── labels ──

/** @param {Draft} draft */
const filledRows = (draft) =>
  draft.labels.map((row, index) => ({ ...row, index })).filter(({ key, value }) => key || value);

/** @param {{value: string}} row */
const valuesOf = ({ value }) => value.split(SEPARATOR).map((one) => one.trim()).filter(Boolean);

/** The label selector that `GET /nodes?selector=` takes. @param {Draft} draft */
export const selector = (draft) =>
  filledRows(draft)
    .filter((row) => row.key && (row.operator === "is" || !takesValue(row) || row.value.trim()))
    .map(term)
    .join(",");

/** @param {LabelRow} row */
function term(row) {
  const { key, operator, value } = row;
  switch (operator) {
    case "In":
      return `${key} in (${valuesOf(row).join(",")})`;
    case "NotIn":
      return `${key} notin (${valuesOf(row).join(",")})`;
    case "Exists":
      return key;
    case "DoesNotExist":
      return `!${key}`;
    case "Gt":
    case "Lt":
      return `${key}${operator === "Gt" ? ">" : "<"}${value.trim()}`;
    default:
      return `${key}=${value.trim()}`;
  }
}

// ── the request ──

/** The body of the create: what differs from the defaults. @param {Draft} draft */
export function body(draft) {
  const { nodeSelector, matchExpressions } = splitLabels(draft);
  /** @type {Record<string, unknown>} */
  const made = { images: images(draft) };
  for (const field of FIELDS) {
    const text = draft[field].trim();
    if (text !== DEFAULTS[field]) made[field] = typed(field, text);
  }
  if (Object.keys(nodeSelector).length) made.nodeSelector = nodeSelector;
  if (matchExpressions.length) made.matchExpressions = matchExpressions;
  if (names(draft).length) made.nodeNames = names(draft);
  for (const field of /** @type {const} */ (["credentials", "pullSecrets"])) {
    const named = namesIn(draft[field]);
    if (named.length) made[field] = named;
  }
  return made;
}

/** @param {string} field @param {string} text */
function typed(field, text) {
  const isNumber = field in NUMBERS || field === "maxFailedNodes";
  return isNumber && /^\d+$/.test(text) ? Number(text) : text;
}

/**
 * Where each label row stands in the body; a key that is given twice cannot be in one object.
 * @param {Draft} draft
 */
function splitLabels(draft) {
  /** @type {Record<string, string>} */
  const nodeSelector = {};
  /** @type {Api.LabelRequirement[]} */
  const matchExpressions = [];
  /** @type {Map<string, number>} */
  const rows = new Map();
  for (const row of filledRows(draft)) {
    const { key, operator, index } = row;
    if (operator === "is" && !Object.hasOwn(nodeSelector, key)) {
      nodeSelector[key] = row.value.trim();
      rows.set(`/nodeSelector/${key.replaceAll("~", "~0").replaceAll("/", "~1")}`, index);
    } else {
      rows.set(`/matchExpressions/${matchExpressions.length}`, index);
      matchExpressions.push(expression(row));
    }
  }
  return { nodeSelector, matchExpressions, rows };
}

/** @param {LabelRow} row @returns {Api.LabelRequirement} */
function expression(row) {
  const { key } = row;
  if (row.operator === "is") return { key, operator: "In", values: [row.value.trim()] };
  if (!takesValue(row)) return { key, operator: row.operator };
  return { key, operator: row.operator, values: valuesOf(row) };
}

/**
 * A request as a command for a POSIX shell.
 * @param {string} method @param {string} path below the API @param {object} made the body @param {string} origin
 */
export function curl(method, path, made, origin) {
  const json = JSON.stringify(made, null, 2).replaceAll("'", "'\\''");
  return `curl -X ${method} ${origin}${API}${path} \\\n  -H 'Content-Type: application/json' \\\n  -d '${json}'`;
}

// ── faults ──

/**
 * What can be told without the server, which has the last word.
 * @param {Draft} draft
 * @returns {DraftFault[]}
 */
export function draftFaults(draft) {
  /** @type {DraftFault[]} */
  const found = [];
  const lines = readLines(draft);
  const count = lines.filter(({ text }) => text).length;
  if (count === 0) found.push({ field: "images", key: "form.images.empty" });
  if (count > MOST_IMAGES) found.push({ field: "images", key: "form.images.many" });
  lines.forEach(({ fault, values }, index) => {
    if (fault) found.push({ field: "images", row: index, key: `reference.${fault}`, values });
  });
  for (const { key, index } of filledRows(draft)) {
    if (!key) found.push({ field: "labels", row: index, key: "form.labels.no.key" });
  }
  return [...found, ...settingFaults(draft)];
}

/** @param {Draft} draft */
function settingFaults(draft) {
  /** @type {DraftFault[]} */
  const found = [];
  for (const [field, [min, max]] of Object.entries(NUMBERS)) {
    const text = draft[/** @type {keyof typeof DEFAULTS} */ (field)].trim();
    const isInside = /^\d+$/.test(text) && Number(text) >= min && Number(text) <= max;
    if (!isInside) found.push({ field, key: "form.number", values: { min, max } });
  }
  if (!/^\d+$|^(\d|[1-9]\d|100)%$/.test(draft.maxFailedNodes.trim())) {
    found.push({ field: "maxFailedNodes", key: "form.share" });
  }
  const address = draft.webhookUrl.trim();
  if (address && !/^https?:\/\/[^\s/]+/i.test(address)) {
    found.push({ field: "webhookUrl", key: "form.url" });
  }
  return found;
}

/**
 * Where in the form a fault belongs that the server names by a JSON pointer.
 * @param {Draft} draft @param {string} pointer
 * @returns {{field: string, row?: number}}
 */
export function placeOf(draft, pointer) {
  const [, field = "", index] = pointer.split("/");
  if (field === "images") return { field, row: lineOf(draft, Number(index)) };
  if (field === "nodeNames") return { field: "names" };
  if (field === "nodeSelector" || field === "matchExpressions") {
    const { rows } = splitLabels(draft);
    const at = [...rows.keys()].find((key) => pointer === key || pointer.startsWith(`${key}/`));
    return { field: "labels", row: rows.get(at ?? "") };
  }
  return { field };
}

/**
 * The place among all pieces of the n-th image: empty ones are no images.
 * @param {Draft} draft
 * @param {number} wanted
 */
function lineOf(draft, wanted) {
  const filled = readLines(draft).flatMap(({ text }, index) => (text ? [index] : []));
  return filled[wanted];
}

/** Seconds before each retry. @param {Draft} draft @returns {number[]} */
export function pauses(draft) {
  const [most, delay] = [Number(draft.maxRetries), Number(draft.retryDelay)];
  if (!Number.isInteger(most) || most > 5 || !(delay >= 1)) return [];
  return Array.from({ length: most }, (_, index) =>
    draft.retryStrategy === "exponential"
      ? Math.min(delay * 2 ** index, EXPONENTIAL_LIMIT)
      : delay,
  );
}

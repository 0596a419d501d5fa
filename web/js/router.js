/**
 * Places of the page, in the address after `#`, so that each can be kept, shared and gone back to:
 * `#/tasks?status=running`, `#/tasks/<id>`, `#/new`, `#/nodes`, `#/nodes/<name>`, `#/images/<reference>`,
 * `#/sets/<name>`, `#/put?set=<name>`.
 */

/**
 * @typedef {object} Route
 * @property {"tasks" | "task" | "new" | "nodes" | "node" | "images" | "image" | "sets" | "set" | "put" | "audit"} name
 * @property {string} id of a task, a node, an image or a set
 * @property {URLSearchParams} query
 */

/** @type {Record<string, string>} */
const ONE_OF = { tasks: "task", nodes: "node", images: "image", sets: "set" };

/** @param {string} hash @returns {Route} an unknown place is the list of tasks */
export function parseRoute(hash) {
  const [path, query = ""] = hash.replace(/^#\/?/, "").split("?");
  const [first, id = ""] = path.split("/");
  const name = (id && ONE_OF[first]) || first;
  const isKnown = ["task", "new", "nodes", "node", "images", "image", "sets", "set", "put", "audit"].includes(name);
  return {
    name: /** @type {Route["name"]} */ (isKnown ? name : "tasks"),
    id: decode(id),
    query: new URLSearchParams(query),
  };
}

/** @param {string} text */
function decode(text) {
  try {
    return decodeURIComponent(text);
  } catch {
    return text;
  }
}

/** @param {string} id */
export const taskLink = (id) => `#/tasks/${encodeURIComponent(id)}`;

/** @param {string} name */
export const nodeLink = (name) => `#/nodes/${encodeURIComponent(name)}`;

/** @param {string} image */
export const imageLink = (image) => `#/images/${encodeURIComponent(image)}`;

/** @param {string} name */
export const setLink = (name) => `#/sets/${encodeURIComponent(name)}`;

/** What a viewer looks for stands in the address, to be shared, reloaded and come back to. */
export class Address {
  /** @param {string} path of the view @param {URLSearchParams} query as it was come to */
  constructor(path, query) {
    this.path = path;
    this.query = /** @type {Record<string, string>} */ (Object.fromEntries(query));
  }

  /** @param {string} name */
  get = (name) => this.query[name] ?? "";

  /** @param {Record<string, string>} change what is empty is left out */
  put(change) {
    this.query = { ...this.query, ...change };
    history.replaceState(history.state, "", link(this.path, this.query));
  }
}

/** @param {string} path @param {Record<string, string | number>} [query] what is empty is left out */
export function link(path, query = {}) {
  const words = Object.entries(query).filter(([, value]) => value !== "" && value !== 0);
  const text = new URLSearchParams(words.map(([key, value]) => [key, String(value)]));
  return `#/${path}${words.length ? `?${text}` : ""}`;
}

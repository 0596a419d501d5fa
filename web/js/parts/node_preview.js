/** Which nodes a draft would choose if it were sent now; asked anew while it is typed. */

import { names, selector } from "../create_draft.js";
import { h, replace, setText } from "../dom.js";
import { number } from "../format.js";
import { t } from "../language.js";
import { get } from "../server.js";

const PAUSE = 250;
const SHOWN = 8;
const PAGE = 1_000;
const UNKNOWN_SHOWN = 5;

/**
 * @typedef {{selector: string, names: string[], batchSize: number}} Wanted
 * @typedef {{nodes: Api.Node[], total: number, unknown?: string[]}} Found
 */

export class NodePreview {
  #count = h("p", { class: "big" });
  #batches = h("p", { class: "hint" });
  #names = h("ul", { class: "names" });
  #fault = h("p", { class: "fault" });
  #timer = 0;
  #asked = "";
  #abort = new AbortController();
  element = h(
    "section",
    { class: "card preview", "aria-live": "polite" },
    this.#count,
    this.#batches,
    this.#names,
    this.#fault,
  );

  /** @param {import("../create_draft.js").Draft} draft */
  ask(draft) {
    const wanted = { selector: selector(draft), names: names(draft), batchSize: Number(draft.batchSize) };
    const key = JSON.stringify(wanted);
    if (key === this.#asked) return;
    const isFirst = this.#asked === "";
    this.#asked = key;
    this.stop();
    if (isFirst) setText(this.#count, t("form.preview.asking"));
    this.#timer = setTimeout(() => this.#load(wanted), isFirst ? 0 : PAUSE);
  }

  stop() {
    clearTimeout(this.#timer);
    this.#abort.abort();
  }

  /** @param {Wanted} wanted */
  async #load(wanted) {
    this.#abort = new AbortController();
    const { signal } = this.#abort;
    try {
      const found = wanted.names.length ? await named(wanted, signal) : await first(wanted, signal);
      this.#show(found, wanted);
    } catch (problem) {
      if (problem.name !== "AbortError") this.#complain(problem);
    }
  }

  /** @param {Found} found @param {Wanted} wanted */
  #show({ nodes, total, unknown = [] }, { batchSize }) {
    setText(this.#count, total ? t("form.preview", { n: total }) : t("form.preview.none"));
    this.#count.dataset.state = total ? "" : "failed";
    const batches = Math.ceil(total / batchSize);
    setText(this.#batches, total && Number.isFinite(batches) ? t("form.batches", { n: batches }) : "");
    replace(this.#names, nodes.slice(0, SHOWN).map(nodeName), more(total - SHOWN));
    setText(this.#fault, unknown.length ? t("form.names.unknown", { names: inShort(unknown) }) : "");
  }

  /** @param {import("../server.js").Problem} problem */
  #complain(problem) {
    replace(this.#names);
    setText(this.#count, "–");
    setText(this.#batches, "");
    setText(this.#fault, problem.errors?.[0]?.message ?? (problem.message || t("problem.away")));
  }
}

/** @param {string} text @param {number} limit */
const query = (text, limit, offset = 0) =>
  `/nodes?${new URLSearchParams({ selector: text, limit: String(limit), offset: String(offset) })}`;

/** @param {Wanted} wanted @param {AbortSignal} signal @returns {Promise<Found>} */
const first = (wanted, signal) => get(query(wanted.selector, SHOWN), signal);

/**
 * The named ones among all that match: names cannot be asked for together.
 * @param {Wanted} wanted
 * @param {AbortSignal} signal
 * @returns {Promise<Found>}
 */
async function named(wanted, signal) {
  const wantedNames = new Set(wanted.names);
  /** @type {Api.Node[]} */
  const found = [];
  for (let offset = 0, total = 1; offset < total; offset += PAGE) {
    /** @type {Api.NodeList} */
    const page = await get(query(wanted.selector, PAGE, offset), signal);
    total = page.total;
    found.push(...page.nodes.filter(({ name }) => wantedNames.has(name)));
  }
  for (const { name } of found) wantedNames.delete(name);
  return { nodes: found, total: found.length, unknown: [...wantedNames] };
}

/** @param {Api.Node} node */
function nodeName({ name, connected }) {
  const item = h("li", {}, h("span", { class: "mark", "aria-hidden": "true" }), name);
  item.dataset.state = connected ? "idle" : "away";
  if (!connected) item.append(h("span", { class: "hint" }, t("nodes.away")));
  return item;
}

/** @param {number} count */
const more = (count) =>
  count > 0 ? h("li", { class: "hint" }, t("form.preview.more", { n: count })) : null;

/** @param {string[]} texts */
const inShort = (texts) =>
  texts.length <= UNKNOWN_SHOWN
    ? texts.join(", ")
    : `${texts.slice(0, UNKNOWN_SHOWN).join(", ")} ${t("form.preview.more", { n: number(texts.length - UNKNOWN_SHOWN) })}`;

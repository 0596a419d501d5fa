/** Which nodes a draft would choose if it were sent now; asked anew while it is typed. */

import { names, selector } from "../create_draft.js";
import { h, replace, setText } from "../dom.js";
import { number } from "../format.js";
import { t } from "../language.js";
import { worded } from "../messages.js";
import { get } from "../server.js";
import { condition } from "../state/fleet.js";
import { MANY_NODES } from "./dialogs.js";

const PAUSE = 250;
const SHOWN = 8;
const PAGE = 1_000;
const UNKNOWN_SHOWN = 5;
/** A larger share of nodes that are not ready is told in red. */
const WARN_ABOVE = 0.1;
/** The service's word for what keeps a node from being ready. @type {Record<string, "offline" | "unschedulable">} */
const STATES = { away: "offline", blocked: "unschedulable" };

/**
 * @typedef {{selector: string, names: string[], batchSize: number}} Wanted
 * @typedef {{nodes: Api.Node[], states: Api.NodeCounts, unknown?: string[]}} Found
 */

export class NodePreview {
  #count = h("p", { class: "big" });
  #states = h("p", { class: "hint" });
  #batches = h("p", { class: "hint" });
  #names = h("ul", { class: "names" });
  #fault = h("p", { class: "fault" });
  #timer = 0;
  #total = 0;
  #isKnown = true;
  /** @type {((total: number) => void)[]} */
  #waiting = [];
  #asked = "";
  #abort = new AbortController();
  element = h(
    "section",
    { class: "card preview", "aria-live": "polite" },
    this.#count,
    this.#states,
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
    this.#isKnown = false;
    this.#timer = setTimeout(() => this.#load(wanted), isFirst ? 0 : PAUSE);
  }

  /** Nodes of the newest draft, or of the last answered. @returns {Promise<number>} */
  counted() {
    return new Promise((told) => (this.#isKnown ? told(this.#total) : this.#waiting.push(told)));
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
      if (problem.name === "AbortError") return;
      this.#complain(problem);
    }
    this.#isKnown = true;
    for (const told of this.#waiting.splice(0)) told(this.#total);
  }

  /** @param {Found} found @param {Wanted} wanted */
  #show({ nodes, states, unknown = [] }, { batchSize, names: wantedNames, selector: wantedSelector }) {
    const { ready = 0, offline = 0, unschedulable = 0 } = states;
    const isNamed = wantedNames.length > 0;
    const total = ready + offline + (isNamed ? unschedulable : 0);
    this.#total = total;
    const isAll = !isNamed && !wantedSelector;
    setText(this.#count, total ? (isAll ? t("form.preview.all") : "") + t("form.preview", { n: total }) : t("form.preview.none"));
    this.#count.dataset.state = ready && !(isAll && total > MANY_NODES) ? "" : "failed";
    setText(this.#states, inStates(states, isNamed).join(" · "));
    this.#states.dataset.state = total - ready > total * WARN_ABOVE ? "failed" : "";
    const batches = Math.ceil(total / batchSize);
    setText(this.#batches, total && Number.isFinite(batches) ? t("form.batches", { n: batches }) : "");
    replace(this.#names, nodes.slice(0, SHOWN).map(nodeName), more(total - SHOWN));
    this.#fault.className = "fault";
    setText(this.#fault, unknown.length ? t("form.names.unknown", { names: inShort(unknown) }) : "");
  }

  /** @param {import("../server.js").Problem} problem */
  #complain(problem) {
    replace(this.#names);
    setText(this.#count, "–");
    setText(this.#batches, "");
    setText(this.#states, "");
    this.#fault.className = problem.errors?.length ? "hint" : "fault";
    setText(this.#fault, worded(problem.errors?.[0] ?? problem) || t("problem.away"));
  }
}

/** @param {string} text @param {number} limit */
const query = (text, limit, offset = 0) =>
  `/nodes?${new URLSearchParams({ selector: text, limit: String(limit), offset: String(offset) })}`;

/**
 * How many nodes are in each state, and what becomes of those that are not ready.
 * @param {Api.NodeCounts} states @param {boolean} isNamed
 */
function inStates({ ready = 0, offline = 0, unschedulable = 0 }, isNamed) {
  const words = [t("tasks.overview.ready", { n: ready })];
  if (offline) words.push(t("form.preview.offline", { n: offline }));
  const skipped = isNamed ? "form.preview.unschedulable" : "form.preview.skipped";
  if (unschedulable) words.push(t(skipped, { n: unschedulable }));
  return words;
}

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
  return { nodes: found, states: countsOf(found), unknown: [...wantedNames] };
}

/** @param {Api.Node[]} nodes */
function countsOf(nodes) {
  const counts = { ready: 0, offline: 0, unschedulable: 0 };
  for (const node of nodes) counts[STATES[condition(node)] ?? "ready"] += 1;
  return counts;
}

/** @param {Api.Node} node */
function nodeName(node) {
  const state = condition(node);
  const name = h("span", { class: "name", title: node.name }, node.name);
  const item = h("li", {}, h("span", { class: "mark", "aria-hidden": "true" }), name);
  item.dataset.state = state;
  if (STATES[state]) item.append(h("span", { class: "hint" }, t(`nodes.${state}`)));
  return item;
}

/** @param {number} count */
const more = (count) =>
  count > 0 ? h("li", { class: "hint" }, t("form.preview.more", { n: count })) : null;

/** @param {string[]} texts */
const inShort = (texts) =>
  texts.length <= UNKNOWN_SHOWN
    ? texts.join(t("list.separator"))
    : `${texts.slice(0, UNKNOWN_SHOWN).join(t("list.separator"))} ${t("form.preview.more", { n: number(texts.length - UNKNOWN_SHOWN) })}`;

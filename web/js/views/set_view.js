/** One warm set: how warm its nodes are, why not where they are not, and what repaired it. */

import { h, replace } from "../dom.js";
import { clockTime, number, percent, timeElement } from "../format.js";
import { t } from "../language.js";
import { worded } from "../messages.js";
import { stateAfter } from "../event_stream.js";
import { button, linkButton } from "../parts/buttons.js";
import { chip } from "../parts/chips.js";
import { ask } from "../parts/dialogs.js";
import { Figures } from "../parts/figures.js";
import { digestName, imageName, taskName } from "../parts/places.js";
import { PlainTable } from "../parts/plain_table.js";
import { SetMap } from "../parts/set_map.js";
import { SetReasons } from "../parts/set_reasons.js";
import { SIZES } from "../parts/pager.js";
import { Address, link } from "../router.js";
import { get, remove } from "../server.js";
import { Latest } from "../state/latest.js";
import { Refresher } from "../state/refresher.js";
import { SetNodes } from "../state/set_nodes.js";
import { conditionOf, standingOf } from "../state/set_standing.js";

const REPAIRS = ["task", "state", "created", "nodes", "pulled", "failed"];
const CONDITIONS = /** @type {const} */ (["Ready", "Progressing", "Degraded", "Gated"]);
/** Those that are good, and need words where they do not hold. */
const WANTED = new Set(["Gated"]);
const DRIFT = ["image", "digest", "count", "newest"];

export class SetView {
  #chip = chip("set");
  #figures = new Figures();
  #conditions = h("ul", { class: "conditions" });
  #images = h("ul", { class: "names" });
  #labels = h("p", { class: "labels" });
  #nodes;
  #map;
  #reasons = new SetReasons();
  #drift = new PlainTable(t("sets.drift"), DRIFT.map((key) => t(`sets.${key}`)));
  #drifted = h("section", { class: "card", "aria-labelledby": "set-drift", hidden: true }, h("h2", { id: "set-drift" }, t("sets.drift")), this.#drift.element);
  #repairs = new PlainTable(t("sets.repairs"), REPAIRS.map((key) => t(`places.${key}`)));
  #actions = h("div", { class: "buttons" });
  #gone = h("div", { class: "card empty", hidden: true }, h("p", {}, t("sets.gone")), linkButton({ text: t("sets.back"), href: link("sets") }));
  #parts;
  #abort = new AbortController();
  #latest = new Latest(this.#abort.signal);
  #refresher;

  /** @param {import("../router.js").Route} route @param {import("../app.js").Shell} shell */
  constructor(route, shell) {
    this.shell = shell;
    this.name = route.id;
    this.path = `/sets/${encodeURIComponent(this.name)}`;
    this.#nodes = new SetNodes(this.path, this.#abort.signal);
    this.#map = new SetMap(shell, new Address(`sets/${encodeURIComponent(this.name)}`, route.query));
    const options = { path: "/events?sets=true" };
    this.#refresher = new Refresher((type, data) => this.#matters(type, data), () => this.#load(), (state) => shell.connection(state), options);
    const edit = linkButton({ text: t("sets.change"), href: link("put", { set: this.name }) });
    const end = button({ text: t("sets.delete"), kind: "danger", onclick: () => this.#delete() });
    replace(this.#actions, edit, end);
    this.#parts = [
      this.#figures.element,
      h("section", { class: "card", "aria-labelledby": "set-state" }, h("h2", { id: "set-state" }, t("sets.conditions")), this.#conditions),
      this.#reasons.element,
      this.#map.element,
      this.#drifted,
      h("section", { class: "card", "aria-labelledby": "set-spec" }, h("h2", { id: "set-spec" }, t("sets.spec")), this.#images, this.#labels),
      h("section", { class: "card", "aria-labelledby": "set-past" }, h("h2", { id: "set-past" }, t("sets.repairs")), this.#repairs.element),
    ];
    this.element = h(
      "div",
      { class: "view set-view" },
      h("p", { class: "crumbs" }, h("a", { href: link("sets") }, t("nav.sets")), " / ", h("code", {}, this.name)),
      h("div", { class: "title-line" }, h("h1", { tabindex: -1 }, this.name), this.#chip, this.#actions),
      this.#gone,
      this.#parts,
    );
  }

  start() {
    this.shell.title(this.name);
    this.#map.start();
    this.#refresher.start();
  }

  stop() {
    this.#abort.abort();
    this.#map.stop();
    this.#refresher.stop();
  }

  /** @param {string} type @param {any} event */
  #matters(type, event) {
    return type.startsWith("set.") && event.subject.split("/")[0] === this.name;
  }

  /** @returns {Promise<import("../event_stream.js").AskedState>} */
  async #load() {
    const isLate = this.#latest.begin();
    try {
      const set = /** @type {Api.WarmSet} */ (await get(this.path, this.#abort.signal));
      this.shell.heard();
      if (isLate()) return "slow";
      this.#show(set);
      await this.#nodes.load(set);
      if (isLate()) return "slow";
      this.#map.update(this.#nodes.all);
      this.#reasons.update(this.#nodes.all);
      await this.#loadRepairs(isLate);
      return "slow";
    } catch (error) {
      const problem = /** @type {import("../server.js").Problem} */ (error);
      if (problem.status === 404 && !isLate()) this.#showGone();
      else if (!isLate() && problem.status !== 0) this.shell.complain(problem);
      return problem.status === 404 ? "slow" : stateAfter(problem); // it may be made again
    }
  }

  /** @param {() => boolean} isLate */
  async #loadRepairs(isLate) {
    const query = new URLSearchParams({ set: this.name, limit: String(SIZES[0]) });
    const list = /** @type {Api.TaskList} */ (await get(`/tasks?${query}`, this.#abort.signal));
    if (!isLate()) this.#repairs.show(list.tasks.map(repairRow), t("sets.repairs.none"));
  }

  /** @param {Api.WarmSet} set */
  #show(set) {
    this.#gone.hidden = true;
    for (const part of [this.#chip, this.#actions, ...this.#parts]) part.hidden = false; // those that may be empty hide themselves
    this.#chip.show(standingOf(set));
    const { warm, total, pulling, waiting, failed, blocked } = set.nodes;
    /** @type {import("../parts/figures.js").Figure[]} */
    const figures = [
      ["warm", t("sets.warm"), total ? `${percent(set.warmPercent)} · ${number(warm)} / ${number(total)}` : t("sets.no.nodes"), warm < total ? "" : "succeeded"],
      ["pulling", t("set.pulling"), number(pulling), pulling ? "pulling" : ""],
      ["waiting", t("set.waiting"), number(waiting)],
      ["failed", t("set.failed"), number(failed), failed ? "failed" : ""],
      ["blocked", t("set.blocked"), number(blocked), blocked ? "retrying" : ""],
    ];
    this.#figures.show([...figures, ...whenOf(set)]);
    this.#showDrift(set);
    replace(this.#conditions, CONDITIONS.map((type) => conditionLine(set, type)));
    replace(this.#images, set.images.map((image) => h("li", {}, imageName(image))));
    const labels = [...Object.entries(set.nodeSelector).map(([key, value]) => `${key}=${value}`), ...set.matchExpressions.map(expression)];
    const words = [...(labels.length ? labels : [t("sets.every.node")]), ...rulesOf(set)];
    replace(this.#labels, words.map((text) => h("span", { class: "label" }, text)));
  }

  /** Where nodes have several digests of a tag, or a newer one than the last look brought. @param {Api.WarmSet} set */
  #showDrift({ drift = [] }) {
    this.#drifted.hidden = drift.length === 0;
    const rows = drift.flatMap(({ image, digests }) => digests.map((each) => [imageName(image), digestName(each.digest), number(each.nodes), each.newest && t("sets.newest")]));
    this.#drift.show(rows, "");
  }

  #showGone() {
    for (const part of [this.#chip, this.#actions, ...this.#parts]) part.hidden = true;
    this.#gone.hidden = false;
  }

  async #delete() {
    const words = { title: t("sets.delete.ask"), text: t("sets.delete.what"), yes: t("sets.delete"), no: t("sets.delete.no") };
    if (!(await ask({ ...words, about: this.name }))) return;
    try {
      await remove(this.path);
      this.shell.tell(t("sets.deleted"));
      location.hash = link("sets");
    } catch (problem) {
      this.shell.complain(/** @type {Error} */ (problem));
    }
  }
}

/** @param {Api.WarmSet} set @param {typeof CONDITIONS[number]} type */
function conditionLine(set, type) {
  const condition = conditionOf(set, type);
  if (!condition) return null;
  const said = condition.status === WANTED.has(type) ? "" : worded(condition);
  const word = h("span", { class: "word" }, t(`sets.${type}.${condition.status}`));
  const line = h("li", {}, h("span", { class: "mark", "aria-hidden": "true" }), word, said && h("span", { class: "raw" }, said));
  if (condition.since) line.append(h("span", { class: "hint" }, t("sets.since"), timeElement(condition.since)));
  line.dataset.state = stateOf(type, condition.status);
  return line;
}

/** The colour of a condition. @param {typeof CONDITIONS[number]} type @param {boolean} holds */
function stateOf(type, holds) {
  if (!holds) return WANTED.has(type) ? "failed" : "";
  return { Ready: "succeeded", Progressing: "pulling", Degraded: "failed", Gated: "succeeded" }[type];
}

/** When a set may pull and when its tags were looked at, where it says so. @param {Api.WarmSet} set @returns {import("../parts/figures.js").Figure[]} */
function whenOf({ window, looks }) {
  /** @type {import("../parts/figures.js").Figure[]} */
  const found = [];
  if (window?.open && window.until) found.push(["window", t("sets.window"), t("sets.window.open", { time: clockTime(window.until) })]);
  else if (window?.next) found.push(["window", t("sets.window"), t("sets.window.next", { time: clockTime(window.next) })]);
  if (looks?.at) found.push(["looks", t("sets.looks"), clockTime(looks.at)]);
  return found;
}

/** What a set demands beside images and nodes, in short. @param {Api.WarmSet} set */
function rulesOf({ schedule, refresh, pin, gate }) {
  const words = [];
  if (schedule) words.push(`${schedule.cron} (${schedule.timeZone}) · ${schedule.window}`);
  if (refresh) words.push(`${t("form.refresh.tags")} ${refresh.tags}`);
  if (pin) words.push(pin.until ? `${t("form.pin.until")} ${clockTime(pin.until)}` : t("sets.pinned"));
  if (gate) words.push([t("form.gate"), gate.taint].filter(Boolean).join(" · "));
  return words;
}

/** @param {Api.LabelRequirement} requirement */
const expression = ({ key, operator, values = [] }) => `${key} ${operator} ${values.join(", ")}`.trim();

/** @param {Api.Task} task */
function repairRow(task) {
  const { totalNodes, completedNodes, failedNodes } = task.progress;
  return [
    taskName(task.taskId),
    chip("status", task.status),
    timeElement(task.createdAt),
    number(totalNodes),
    number(completedNodes),
    number(failedNodes),
  ];
}

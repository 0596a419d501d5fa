/** One image: on which nodes it is, by which digest, where not and why, and what tasks did with it. */

import { h, KeyedList, replace, setAttribute, setText } from "../dom.js";
import { duration, number, speed, timeElement } from "../format.js";
import { fullName } from "../image_reference.js";
import { t } from "../language.js";
import { worded } from "../messages.js";
import { stateAfter } from "../event_stream.js";
import { chip, wordOf } from "../parts/chips.js";
import { everyPage, exportButtons } from "../parts/export.js";
import { Pager, SIZES } from "../parts/pager.js";
import { digestName, nodeName, setNames, taskName } from "../parts/places.js";
import { PlainTable } from "../parts/plain_table.js";
import { link } from "../router.js";
import { get } from "../server.js";
import { Latest } from "../state/latest.js";
import { Refresher } from "../state/refresher.js";

const STATES = /** @type {const} */ (["present", "pulling", "failed", "absent", "unknown"]);
/** Milliseconds for which the server keeps what it said of an image. */
const KEPT = 5_000;
const NODES = ["node", "state", "asof", "digest", "why", "reason"];
const TASKS = ["task", "state", "created", "nodes", "pulled", "present", "failed", "mean", "speed", "reasons"];

/** @typedef {{state: string, n: number}} Filter `state`: "" for all */

export class ImageView {
  #heading = h("h1", { tabindex: -1 });
  #reference = h("code", { class: "reference" });
  #states = h("div", { class: "filters", role: "group", "aria-label": t("image.states") });
  /** @type {KeyedList<Filter>} */
  #filters = new KeyedList(this.#states, ({ state }) => state, () => this.#newFilter());
  #digests = h("ul", { class: "digests" });
  #nodes = new PlainTable(t("nav.nodes"), NODES.map((key) => t(`places.${key}`)));
  #tasks = new PlainTable(t("image.tasks"), TASKS.map((key) => t(`places.${key}`)));
  #pager = new Pager((offset) => this.#go({ offset }), (limit) => this.#go({ limit, offset: 0 }));
  #wanted = { state: "", offset: 0, limit: SIZES[1] };
  #abort = new AbortController();
  #latest = new Latest(this.#abort.signal);
  #refresher;
  #fullName;

  /** @param {import("../router.js").Route} route @param {import("../app.js").Shell} shell */
  constructor(route, shell) {
    this.shell = shell;
    this.image = route.id;
    this.#fullName = fullName(this.image);
    this.#wanted.state = route.query.get("state") ?? "";
    this.#heading.textContent = this.image;
    this.#refresher = new Refresher((type, data) => this.#matters(type, data), () => this.#load(), (state) => shell.connection(state), { kept: KEPT });
    this.element = h(
      "div",
      { class: "view image-view" },
      h("p", { class: "crumbs" }, h("a", { href: link("images") }, t("nav.images")), " / ", this.#reference),
      this.#heading,
      h(
        "section",
        { class: "card", "aria-labelledby": "where" },
        h("h2", { id: "where" }, t("image.where")),
        this.#states,
        this.#digests,
        exportButtons("image-nodes", () => this.#collect(), (problem) => this.#abort.signal.aborted || shell.complain(problem)),
        this.#nodes.element,
        this.#pager.element,
        h("p", { class: "hint" }, t("image.where.hint")),
      ),
      h("section", { class: "card", "aria-labelledby": "past" }, h("h2", { id: "past" }, t("image.tasks")), this.#tasks.element),
    );
  }

  start() {
    this.shell.title(this.image);
    this.#refresher.start();
  }

  stop() {
    this.#abort.abort();
    this.#refresher.stop();
  }

  /** @param {string} type @param {any} data of an event of any task */
  #matters(type, data) {
    const images = data?.data?.images ?? [];
    if (!type.startsWith("task.") && !type.startsWith("node.")) return false;
    return images.some((/** @type {string | Api.NodeImage} */ image) => fullName(typeof image === "string" ? image : image.image) === this.#fullName);
  }

  /** @param {{state?: string, offset?: number, limit?: number}} wanted */
  #go(wanted) {
    this.#wanted = { ...this.#wanted, ...wanted };
    history.replaceState(null, "", link(`images/${encodeURIComponent(this.image)}`, { state: this.#wanted.state }));
    this.#load();
  }

  /** @returns {Promise<import("../event_stream.js").AskedState>} */
  async #load() {
    const { signal } = this.#abort;
    const isLate = this.#latest.begin();
    const { state, offset, limit } = this.#wanted;
    const query = new URLSearchParams({ image: this.image, state, offset: String(offset), limit: String(limit) });
    try {
      const places = await get(`/images/nodes?${query}`, signal);
      if (isLate()) return "slow";
      this.#showPlaces(places);
      const tasks = await get(`/images/history?${new URLSearchParams({ image: this.image })}`, signal);
      if (!isLate()) this.#showTasks(tasks);
      this.shell.heard();
      return "slow";
    } catch (error) {
      const problem = /** @type {import("../server.js").Problem} */ (error);
      if (signal.aborted) return "over";
      if (problem.status !== 0 && !isLate()) this.#nodes.say(problem.errors.map(worded).join(" ") || worded(problem));
      return stateAfter(problem);
    }
  }

  /** Every page of what is wanted. @returns {Promise<import("../parts/export.js").Exported>} */
  async #collect() {
    const { state } = this.#wanted;
    const places = await everyPage(async (offset) => {
      const query = new URLSearchParams({ image: this.image, state, offset: String(offset), limit: "1000" });
      const { nodes, total } = /** @type {Api.ImagePlaceList} */ (await get(`/images/nodes?${query}`, this.#abort.signal));
      return { items: nodes, total };
    });
    const rows = places.map((place) => [place.nodeName, place.state, place.at ?? "", place.digest ?? "", place.task ?? "", place.sets.join(" "), place.reason ?? "", worded(place)]);
    const head = ["node", "state", "asof", "digest", "task", "insets", "reason"];
    return { head: [...head.map((key) => t(`places.${key}`)), t("why.message")], rows, items: places };
  }

  /** @param {Api.ImagePlaceList} list */
  #showPlaces(list) {
    this.#reference.textContent = list.reference;
    this.#heading.textContent = list.image;
    this.shell.title(list.image);
    const all = STATES.reduce((sum, state) => sum + list.states[state], 0);
    const shown = STATES.filter((state) => list.states[state] || state === this.#wanted.state);
    this.#filters.show([{ state: "", n: all }, ...shown.map((state) => ({ state, n: list.states[state] }))]);
    replace(this.#digests, Object.entries(list.digests).map(digestLine));
    this.#nodes.show(list.nodes.map(nodeRow), t("nodes.none.match"));
    this.#pager.update(this.#wanted, list.total);
  }

  #newFilter() {
    let own = "";
    const element = h("button", { type: "button", class: "button quiet", onclick: () => this.#go({ state: own, offset: 0 }) });
    const update = (/** @type {Filter} */ { state, n }) => {
      own = state;
      setAttribute(element, "aria-pressed", String(this.#wanted.state === state));
      setText(element, `${state ? wordOf("place", state) : t("tasks.all")} ${number(n)}`);
    };
    return { element, update };
  }

  /** @param {Api.ImageTaskList} list */
  #showTasks(list) {
    this.#tasks.show(list.tasks.map(taskRow), t("image.tasks.none"));
  }
}

/** @param {[string, number]} entry */
const digestLine = ([digest, n]) => h("li", {}, h("code", {}, digest), " ", t("image.digest.nodes", { n }));

/** @param {Api.ImagePlace} place */
function nodeRow(place) {
  const without = place.state === "unknown" ? "–" : t("image.now");
  return [
    nodeName(place.nodeName),
    chip("place", place.state),
    place.at ? timeElement(place.at) : without,
    digestName(place.digest),
    [taskName(place.task), " ", setNames(place.sets)],
    place.reason && [h("code", {}, place.reason), " ", h("span", { class: "raw" }, worded(place))],
  ];
}

/** @param {Api.ImageTask} task */
function taskRow(task) {
  const reasons = Object.entries(task.reasons ?? {}).map(([reason, n]) => `${number(n)} ${reason}`);
  const count = (/** @type {number | undefined} */ n) => (n === undefined ? "–" : number(n));
  return [
    taskName(task.taskId),
    chip("status", task.status),
    timeElement(task.createdAt),
    number(task.totalNodes),
    count(task.pulledNodes),
    count(task.presentNodes),
    count(task.failedNodes),
    task.seconds === undefined ? "–" : duration(task.seconds),
    task.bytesPerSecond === undefined ? "–" : speed(task.bytesPerSecond),
    reasons.join(t("list.separator")),
  ];
}

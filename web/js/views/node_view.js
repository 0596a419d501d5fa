/** One node: what it is, what its runtime has now, and what tasks did there. */

import { h, replace, setText } from "../dom.js";
import { bytes, duration, speed, timeElement } from "../format.js";
import { t } from "../language.js";
import { worded } from "../messages.js";
import { stateAfter } from "../event_stream.js";
import { button, linkButton } from "../parts/buttons.js";
import { chip } from "../parts/chips.js";
import { Figures } from "../parts/figures.js";
import { everyPage, exportButtons } from "../parts/export.js";
import { Pager, SIZES } from "../parts/pager.js";
import { digestName, imageName, setNames, taskName } from "../parts/places.js";
import { PlainTable } from "../parts/plain_table.js";
import { link } from "../router.js";
import { get } from "../server.js";
import { condition } from "../state/fleet.js";
import { Latest } from "../state/latest.js";
import { Refresher } from "../state/refresher.js";

const MOST = 1_000;
const IMAGES = ["image", "size", "digest", "since", "why"];
const TASKS = ["task", "state", "ended", "took", "speed", "images", "reason"];

export class NodeView {
  #chip = chip("nodes");
  #why = h("p", { class: "message", hidden: true });
  #figures = new Figures();
  #labels = h("p", { class: "labels" });
  #seen = timeElement();
  #count = h("span", { class: "count" });
  #images = new PlainTable(t("node.images"), IMAGES.map((key) => t(`places.${key}`)));
  #tasks = new PlainTable(t("node.tasks"), TASKS.map((key) => t(`places.${key}`)));
  #pager = new Pager((offset) => this.#turn({ offset }), (limit) => this.#turn({ limit, offset: 0 }));
  #gone = h("div", { class: "card empty", hidden: true }, h("p", {}, t("node.gone")), linkButton({ text: t("node.back"), href: link("nodes") }));
  #page = { limit: SIZES[0], offset: 0 };
  #abort = new AbortController();
  #latest = {
    node: new Latest(this.#abort.signal),
    images: new Latest(this.#abort.signal),
    tasks: new Latest(this.#abort.signal),
  };
  #refresher;
  /** What there is of a node that is there. @type {HTMLElement[]} */
  #parts;

  /** @param {import("../router.js").Route} route @param {import("../app.js").Shell} shell */
  constructor(route, shell) {
    this.shell = shell;
    this.name = route.id;
    const path = `/nodes/${encodeURIComponent(this.name)}`;
    this.path = path;
    this.#refresher = new Refresher((type, data) => this.#matters(type, data), () => this.#load(), (state) => shell.connection(state));
    const complain = (/** @type {Error} */ problem) => this.#abort.signal.aborted || shell.complain(problem);
    const foot = h("div", {}, h("p", { class: "hint" }, t("node.images.hint")), exportButtons(`images-${this.name}`, () => this.#collect(), complain));
    this.#parts = [
      this.#chip,
      this.#figures.element,
      this.#labels,
      this.#card("node.images", this.#images, foot, this.#count),
      this.#card("node.tasks", this.#tasks, this.#pager.element),
    ];
    const [mark, ...others] = this.#parts;
    this.element = h(
      "div",
      { class: "view node-view" },
      h("p", { class: "crumbs" }, h("a", { href: link("nodes") }, t("nav.nodes")), " / ", h("code", {}, this.name)),
      h("div", { class: "title-line" }, h("h1", { tabindex: -1 }, this.name), mark),
      this.#gone,
      this.#why,
      others,
    );
  }

  /** @param {string} key @param {PlainTable} table @param {HTMLElement} foot @param {HTMLElement} [count] */
  #card = (key, table, foot, count) =>
    h("section", { class: "card", "aria-labelledby": key }, h("h2", { id: key }, t(key), count), table.element, foot);

  start() {
    this.shell.title(this.name);
    this.#refresher.start();
  }

  stop() {
    this.#abort.abort();
    this.#refresher.stop();
  }

  /** @param {string} type @param {any} data */
  #matters(type, data) {
    if (type === "agents") return data.gone.includes(this.name) || data.nodes.some((/** @type {Api.Node} */ { name }) => name === this.name);
    return data?.data?.nodeName === this.name;
  }

  /** @param {{limit?: number, offset?: number}} page */
  #turn(page) {
    this.#page = { ...this.#page, ...page };
    this.#loadTasks();
  }

  /** @returns {Promise<import("../event_stream.js").AskedState>} */
  async #load() {
    const isLate = this.#latest.node.begin();
    try {
      const node = await get(this.path, this.#abort.signal);
      this.shell.heard();
      if (isLate()) return "slow";
      this.#showNode(node);
      await Promise.all([this.#loadImages(), this.#loadTasks()]);
      return "slow";
    } catch (error) {
      const problem = /** @type {import("../server.js").Problem} */ (error);
      if (problem.status === 404 && !isLate()) this.#showGone();
      else if (!isLate() && problem.status !== 0) this.shell.complain(problem);
      return problem.status === 404 ? "slow" : stateAfter(problem); // a node may come back
    }
  }

  /** @param {Api.Node} node */
  #showNode(node) {
    const disk = node.imageDisk;
    this.#gone.hidden = true;
    for (const part of this.#parts) part.hidden = false;
    this.#chip.show(condition(node));
    setText(this.#why, worded(node));
    this.#why.hidden = !node.message;
    if (node.lastSeen) this.#seen.show(node.lastSeen);
    const silent = node.lastSeen ? this.#seen : "–";
    const driver = node.driver && node.driver !== node.runtime ? ` (${node.driver})` : "";
    /** @type {import("../parts/figures.js").Figure[]} */
    const figures = [
      ["runtime", t("nodes.runtime"), (node.runtime ?? "–") + driver],
      ["platform", t("node.platform"), node.platform ?? "–"],
      ["agent", t("nodes.agent"), node.agentVersion ?? "–"],
      ["disk", t("nodes.disk"), disk ? t("nodes.disk.of", { free: bytes(disk.freeBytes), total: bytes(disk.totalBytes) }) : "–"],
      ["seen", t("nodes.seen"), node.connected ? t("nodes.seen.now") : silent],
    ];
    this.#figures.show(figures);
    const texts = Object.entries(node.labels).map(([key, value]) => (value ? `${key}=${value}` : key));
    replace(this.#labels, texts.map((text) => h("span", { class: "label" }, text)));
  }

  async #loadImages() {
    const isLate = this.#latest.images.begin();
    try {
      const { images, total } = await this.#storedFrom(0);
      if (isLate()) return;
      setText(this.#count, t(images.length < total ? "node.images.first" : "node.images.n", { n: images.length, total }));
      this.#images.show(images.map(imageRow), t("node.images.none"));
    } catch (error) {
      if (isLate()) return;
      const again = button({ text: t("node.images.again"), kind: "quiet", onclick: () => this.#loadImages() });
      setText(this.#count, "");
      this.#images.say(worded(/** @type {any} */ (error)) || t("problem.away"), " ", again);
    }
  }

  /** One page of what the runtime has. @param {number} offset @returns {Promise<Api.StoredImageList>} */
  #storedFrom(offset) {
    return get(`${this.path}/images?limit=${MOST}&offset=${offset}`, this.#abort.signal);
  }

  /** All that the runtime has, though the table shows less. */
  async #collect() {
    const images = await everyPage(async (offset) => {
      const { images: items, total } = await this.#storedFrom(offset);
      return { items, total };
    });
    return exported(images);
  }

  async #loadTasks() {
    const isLate = this.#latest.tasks.begin();
    const page = this.#page;
    const query = new URLSearchParams({ limit: String(page.limit), offset: String(page.offset) });
    try {
      const list = /** @type {Api.NodeTaskList} */ (await get(`${this.path}/history?${query}`, this.#abort.signal));
      if (isLate()) return;
      this.#tasks.show(list.tasks.map(taskRow), t("node.tasks.none"));
      this.#pager.update(page, list.total);
    } catch (error) {
      if (!isLate()) this.#tasks.say(worded(/** @type {any} */ (error)) || t("problem.away"));
    }
  }

  #showGone() {
    for (const part of [this.#why, ...this.#parts]) part.hidden = true;
    this.#gone.hidden = false;
  }
}

/** @param {Api.StoredImage[]} images @returns {import("../parts/export.js").Exported} */
function exported(images) {
  const rows = images.map((image) => [image.tags[0] ?? image.digests[0] ?? image.id, image.size ?? "", image.digests.join(" "), image.since ?? "", image.task ?? "", image.sets.join(" ")]);
  return { head: ["image", "size", "digest", "since", "task", "insets"].map((key) => t(`places.${key}`)), rows, items: images };
}

/** @param {Api.StoredImage} image */
function imageRow(image) {
  const names = [image.tags, image.digests, [image.id]].find((some) => some.length > 0) ?? [];
  const digests = new Set(image.digests.map((name) => name.split("@")[1]));
  const pinned = image.pinned && h("span", { class: "label" }, t("node.pinned"));
  return [
    names.map((name) => h("div", {}, name === image.id ? h("code", {}, name) : imageName(name))),
    image.size === undefined ? "–" : bytes(image.size),
    digests.size === 1 ? digestName([...digests][0]) : "",
    image.since ? timeElement(image.since) : "–",
    [taskName(image.task), " ", setNames(image.sets), " ", pinned],
  ];
}

/** @param {Api.NodeTask} task */
function taskRow(task) {
  return [
    taskName(task.taskId),
    chip("state", task.state),
    task.finishedAt ? timeElement(task.finishedAt) : "–",
    task.seconds === undefined ? "–" : duration(task.seconds),
    task.bytesPerSecond === undefined ? "–" : speed(task.bytesPerSecond),
    task.images.map(({ image }) => h("div", {}, imageName(image))),
    task.reason && [h("code", {}, task.reason), " ", h("span", { class: "raw" }, worded(task))],
  ];
}

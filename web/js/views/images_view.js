/** The images of tasks and warm sets, to be searched. */

import { h } from "../dom.js";
import { number, timeElement } from "../format.js";
import { t } from "../language.js";
import { worded } from "../messages.js";
import { Pager, SIZES } from "../parts/pager.js";
import { imageName } from "../parts/places.js";
import { PlainTable } from "../parts/plain_table.js";
import { SearchBox } from "../parts/search_box.js";
import { link } from "../router.js";
import { get } from "../server.js";

const COLUMNS = ["image", "tasks", "last", "insets", "warm"];

export class ImagesView {
  #find = new SearchBox(t("images.find"), (text) => this.#go({ text, offset: 0 }));
  #table = new PlainTable(t("nav.images"), COLUMNS.map((key) => t(`places.${key}`)));
  #pager = new Pager((offset) => this.#go({ offset }), (limit) => this.#go({ limit, offset: 0 }));
  #wanted;
  #abort = new AbortController();

  /** @param {import("../router.js").Route} route @param {import("../app.js").Shell} shell */
  constructor(route, shell) {
    this.shell = shell;
    const offset = Number(route.query.get("offset")) || 0;
    this.#wanted = { text: route.query.get("q") ?? "", offset, limit: SIZES[1] };
    this.element = h(
      "div",
      { class: "view images-view" },
      h("h1", { tabindex: -1 }, t("nav.images")),
      h("div", { class: "card table-card" }, h("div", { class: "tools" }, this.#find.element), this.#table.element, this.#pager.element),
    );
  }

  start() {
    this.shell.title(t("nav.images"));
    this.#find.show(this.#wanted.text);
    this.#load();
  }

  stop() {
    this.#abort.abort();
    this.#find.stop();
  }

  /** @param {{text?: string, offset?: number, limit?: number}} wanted */
  #go(wanted) {
    this.#wanted = { ...this.#wanted, ...wanted };
    history.replaceState(null, "", link("images", { q: this.#wanted.text, offset: this.#wanted.offset }));
    this.#load();
  }

  async #load() {
    this.#abort.abort();
    this.#abort = new AbortController();
    const { signal } = this.#abort;
    const { text, offset, limit } = this.#wanted;
    const query = new URLSearchParams({ q: text, offset: String(offset), limit: String(limit) });
    try {
      const list = /** @type {Api.KnownImageList} */ (await get(`/images?${query}`, signal));
      this.#table.show(list.images.map(row), t(text ? "images.none.found" : "images.none"));
      this.#pager.update({ limit, offset }, list.total);
    } catch (error) {
      if (!signal.aborted) this.#table.say(worded(/** @type {any} */ (error)) || t("problem.away"));
    }
  }
}

/** @param {Api.KnownImage} image */
function row(image) {
  return [
    imageName(image.image),
    number(image.tasks),
    image.lastTaskAt ? timeElement(image.lastTaskAt) : "–",
    number(image.sets),
    image.sets ? `${number(image.warmNodes)} / ${number(image.wantedNodes)}` : "–",
  ];
}

/** The warm sets: how warm each is, and what is wrong where it is not. */

import { h } from "../dom.js";
import { imagesInShort, number, percent, timeElement } from "../format.js";
import { t } from "../language.js";
import { worded } from "../messages.js";
import { stateAfter } from "../event_stream.js";
import { linkButton } from "../parts/buttons.js";
import { chip } from "../parts/chips.js";
import { everyPage, exportButtons } from "../parts/export.js";
import { Pager, SIZES } from "../parts/pager.js";
import { setName, taskName } from "../parts/places.js";
import { PlainTable } from "../parts/plain_table.js";
import { link } from "../router.js";
import { get } from "../server.js";
import { Latest } from "../state/latest.js";
import { Refresher } from "../state/refresher.js";
import { conditionOf, reasonsOf, standingOf } from "../state/set_standing.js";

const COLUMNS = ["set", "state", "warm", "wrong", "images", "repair", "changed"];

export class SetsView {
  #table = new PlainTable(t("nav.sets"), COLUMNS.map((key) => t(`sets.${key}`)));
  #pager = new Pager((offset) => this.#go({ offset }), (limit) => this.#go({ limit, offset: 0 }));
  #wanted;
  #abort = new AbortController();
  #latest = new Latest(this.#abort.signal);
  #refresher;

  /** @param {import("../router.js").Route} route @param {import("../app.js").Shell} shell */
  constructor(route, shell) {
    this.shell = shell;
    this.#wanted = { offset: Number(route.query.get("offset")) || 0, limit: SIZES[1] };
    const options = { path: "/events?sets=true" };
    this.#refresher = new Refresher((type) => type.startsWith("set."), () => this.#load(), (state) => shell.connection(state), options);
    this.element = h(
      "div",
      { class: "view sets-view" },
      h("div", { class: "title-line" }, h("h1", { tabindex: -1 }, t("nav.sets")), linkButton({ text: t("sets.new"), href: link("put"), icon: "plus" })),
      h("p", { class: "hint" }, t("sets.what")),
      h(
        "div",
        { class: "card table-card" },
        h("div", { class: "tools" }, exportButtons("sets", () => this.#collect(), (problem) => this.#abort.signal.aborted || shell.complain(problem))),
        this.#table.element,
        this.#pager.element,
      ),
    );
  }

  start() {
    this.shell.title(t("nav.sets"));
    this.#refresher.start();
  }

  stop() {
    this.#abort.abort();
    this.#refresher.stop();
  }

  /** @param {{offset?: number, limit?: number}} wanted */
  #go(wanted) {
    this.#wanted = { ...this.#wanted, ...wanted };
    history.replaceState(null, "", link("sets", { offset: this.#wanted.offset }));
    this.#load();
  }

  /** @param {number} limit @param {number} offset @returns {Promise<Api.WarmSetList>} */
  #ask(limit, offset) {
    const query = new URLSearchParams({ limit: String(limit), offset: String(offset) });
    return get(`/sets?${query}`, this.#abort.signal);
  }

  /** @returns {Promise<import("../event_stream.js").AskedState>} */
  async #load() {
    const isLate = this.#latest.begin();
    const { limit, offset } = this.#wanted;
    try {
      const list = await this.#ask(limit, offset);
      this.shell.heard();
      if (isLate()) return "slow";
      this.#table.show(list.sets.map(row), t("sets.none"));
      this.#pager.update({ limit, offset }, list.total);
      return "slow";
    } catch (error) {
      const problem = /** @type {import("../server.js").Problem} */ (error);
      if (!isLate() && problem.status !== 0) this.#table.say(worded(problem) || t("problem.away"));
      return stateAfter(problem);
    }
  }

  /** @returns {Promise<import("../parts/export.js").Exported>} */
  async #collect() {
    const sets = await everyPage(async (offset) => {
      const { sets: items, total } = await this.#ask(SIZES[2], offset);
      return { items, total };
    });
    const rows = sets.map((set) => [set.name, standingOf(set), set.nodes.warm, set.nodes.total, reasonsOf(set), set.images.join(" ")]);
    const head = ["set", "state", "warm", "of", "wrong", "images"];
    return { head: head.map((key) => t(`sets.${key}`)), rows, items: sets };
  }
}

/** @param {Api.WarmSet} set */
function row(set) {
  const { warm, total } = set.nodes;
  const degraded = conditionOf(set, "Degraded");
  const wrong = degraded?.status && h("span", { title: worded(degraded) }, reasonsOf(set));
  return [
    setName(set.name),
    chip("set", standingOf(set)),
    total ? `${percent(set.warmPercent)} · ${number(warm)} / ${number(total)}` : t("sets.no.nodes"),
    wrong,
    h("span", { title: set.images.join("\n") }, imagesInShort(set.images)),
    taskName(set.repair),
    timeElement(set.updatedAt),
  ];
}

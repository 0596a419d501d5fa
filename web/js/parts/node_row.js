/** One node of the fleet as a row. */

import { h, replace, setText } from "../dom.js";
import { bytes, timeElement } from "../format.js";
import { t } from "../language.js";
import { worded } from "../messages.js";
import { condition } from "../state/fleet.js";
import { chip } from "./chips.js";
import { nodeName, showCut } from "./places.js";

const LABELS_SHOWN = 3;
/** Characters at the end of a name that are never cut: names differ there. */
const TAIL = 12;

export class NodeRow {
  #name = h("td", { role: "cell", class: "cell-node" });
  #chip = chip("nodes");
  #why = h("span", { class: "hint" });
  #busy = h("td", { role: "cell", class: "cell-busy" });
  #labels = h("td", { role: "cell", class: "cell-labels" });
  #disk = h("span", { class: "numbers" });
  #used = h("span");
  #track = h("span", { class: "track" }, this.#used);
  #runtime = h("td", { role: "cell", class: "cell-runtime" });
  #agent = h("td", { role: "cell", class: "cell-agent" });
  #seen = h("td", { role: "cell", class: "cell-seen" });
  #time = timeElement();
  /** @type {Api.Node | null} */
  #node = null;
  element = h(
    "tr",
    { role: "row" },
    this.#name,
    h("td", { role: "cell", class: "cell-state" }, this.#chip, this.#why),
    this.#busy,
    this.#labels,
    h("td", { role: "cell", class: "cell-disk" }, this.#track, this.#disk),
    this.#runtime,
    this.#agent,
    this.#seen,
  );
  /** @type {[string, HTMLElement][]} */
  #own;

  /** @param {string[]} keys of labels that have a column */
  constructor(keys) {
    this.#own = keys.map((key) => [key, h("td", { role: "cell" })]);
    this.element.append(...this.#own.map(([, cell]) => cell));
  }

  /** @param {Api.Node} node */
  update(node) {
    if (node === this.#node) return;
    this.#node = node;
    const state = condition(node);
    this.element.dataset.state = state;
    if (this.#name.textContent !== node.name) {
      const link = nodeName(node.name);
      showCut(link, node.name, Math.max(0, node.name.length - TAIL));
      replace(this.#name, link);
    }
    for (const [key, cell] of this.#own) setText(cell, node.labels[key] ?? "–");
    this.#chip.show(state);
    setText(this.#why, worded(node));
    setText(this.#busy, node.pulling.join(", "));
    this.#busy.title = node.pulling.join("\n");
    this.#showLabels(node.labels);
    this.#showDisk(node.imageDisk);
    const driver = node.driver && node.driver !== node.runtime ? ` (${node.driver})` : "";
    setText(this.#runtime, (node.runtime ?? "") + driver);
    this.#runtime.title = node.platform ?? "";
    setText(this.#agent, node.agentVersion ?? "");
    this.#showSeen(node);
  }

  /** @param {Record<string, string>} labels */
  #showLabels(labels) {
    const texts = Object.entries(labels).map(([key, value]) => (value ? `${key}=${value}` : key));
    const more = texts.length > LABELS_SHOWN ? [`+${texts.length - LABELS_SHOWN}`] : [];
    const shown = [...texts.slice(0, LABELS_SHOWN), ...more];
    replace(this.#labels, shown.map((text) => h("span", { class: "label" }, text)));
    this.#labels.title = texts.join("\n");
  }

  /** @param {Api.ImageDisk} [disk] */
  #showDisk(disk) {
    this.#track.hidden = !disk;
    setText(this.#disk, disk ? bytes(disk.freeBytes) : "–");
    if (!disk) return;
    const words = { free: bytes(disk.freeBytes), total: bytes(disk.totalBytes) };
    this.#track.title = t("nodes.disk.of", words);
    const used = disk.totalBytes ? 1 - disk.freeBytes / disk.totalBytes : 0;
    this.#used.style.width = `${100 * used}%`;
  }

  /** @param {Api.Node} node */
  #showSeen({ connected, lastSeen }) {
    if (connected || !lastSeen) return replace(this.#seen, connected ? t("nodes.seen.now") : "–");
    this.#time.show(lastSeen);
    replace(this.#seen, this.#time);
  }
}

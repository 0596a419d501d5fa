/**
 * A map of up to some ten thousand nodes, one cell each, on a canvas: what changed is painted, the
 * rest is left alone. Few nodes are wide cells with their names, many are small squares.
 */

import { h } from "../dom.js";
import { t } from "../language.js";
import { Painter } from "../painter.js";
import { onTheme } from "../preferences.js";
import { gridFor, LARGEST } from "./cell_grid.js";
import { cornerOf, paintMark } from "./cell_marks.js";
import { fitted } from "./fitted_text.js";

/** Pixels below which a level in a cell is only noise. */
const TINY = 10;
const REPAINT = 100;

/**
 * @template Item
 * @typedef {object} Nature what the map must know of its items
 * @property {(item: Item) => string} name
 * @property {(item: Item) => string} state a `--cell-<state>` of the theme
 * @property {(item: Item) => string} note a second line, where there is room for one
 * @property {(item: Item) => number} share of its work that is done, 0 to 1, painted while it moves
 * @property {string[]} states all of them
 */

/** @typedef {{x: number, y: number, width: number, height: number}} Box in pixels */

/** @template Item */
export class HeatMap {
  /** @type {Item[]} */
  #items = [];
  #grid = { columns: 1, width: LARGEST, height: LARGEST, gap: 2, named: false, noted: false };
  /** @type {Record<string, string>} of a cell, by state */
  #colours = {};
  /** @type {Record<string, string>} of the words in it */
  #textColours = {};
  #font = "sans-serif";
  /** @type {Set<number> | null} null: everything */
  #dirty = null;
  #only = "";
  /** In small letters; "" for all. */
  #text = "";
  /** Whether the item that is looked for has not come yet: it is chosen when it does. */
  #isAwaited = false;
  #at = -1;
  #pinned = false;
  #size = { width: 0, height: 0, ratio: 1 };
  #canvas = h("canvas", { tabindex: 0, role: "application" });
  #cursor = h("div", { class: "cursor", hidden: true });
  #paper = /** @type {CanvasRenderingContext2D} */ (this.#canvas.getContext("2d", { alpha: false }));
  #painter = new Painter(() => this.#paint(), REPAINT);
  #observer = new ResizeObserver(() => this.#relayout());
  #stopTheme = () => {};

  /**
   * @param {Nature<Item>} nature
   * @param {(item: Item | null, byKey: boolean) => void} onChoose the item that is pointed at
   */
  constructor(nature, onChoose) {
    this.nature = nature;
    this.onChoose = onChoose;
    this.element = h("div", { class: "heat-map" }, this.#canvas, this.#cursor);
    this.#listen();
  }

  start() {
    this.#observer.observe(this.element);
    this.#stopTheme = onTheme(() => this.#readColours());
    this.#readColours();
  }

  stop() {
    this.#observer.disconnect();
    this.#stopTheme();
    this.#painter.stop();
  }

  /** What screen readers are told of the whole. @param {string} text */
  label(text) {
    this.#canvas.setAttribute("aria-label", text);
    this.#canvas.setAttribute("aria-roledescription", t("map.role"));
  }

  /**
   * @param {Item[]} items
   * @param {Set<number> | null} changed places; null: anything may have changed
   */
  show(items, changed) {
    const isResized = items.length !== this.#items.length;
    this.#items = items;
    if (isResized) this.#relayout();
    else this.#mark(changed);
    if (this.#at >= items.length) this.#choose(-1, false);
    else if (this.#at >= 0 && (changed === null || changed.has(this.#at))) this.#tell(false);
    if (this.#isAwaited && !this.#pinned) this.#chooseFirst();
  }

  /** Lets one state stand out; "" for all. @param {string} state */
  only(state) {
    this.#only = state;
    this.#mark(null);
  }

  /** Lets those stand out in whose name a text is, and chooses the first of them. @param {string} text "" for all */
  find(text) {
    this.#text = text.toLowerCase();
    this.#mark(null);
    this.#isAwaited = text !== "";
    this.#pinned = false;
    if (!this.#isAwaited || !this.#chooseFirst()) this.#choose(-1, false);
  }

  /** Chooses the first of those that stand out. @returns {boolean} whether there is one */
  #chooseFirst() {
    const first = this.#items.findIndex((item) => this.#stands(item));
    if (first < 0) return false;
    this.#isAwaited = false;
    this.#pinned = true;
    if (first === this.#at) this.#tell(false);
    else this.#choose(first, true);
    return true;
  }

  /** Whether an item is among those that are to stand out. @param {Item} item */
  #stands(item) {
    const { name, state } = this.nature;
    return (!this.#only || state(item) === this.#only) && name(item).toLowerCase().includes(this.#text);
  }

  get #isFiltered() {
    return this.#only !== "" || this.#text !== "";
  }

  /** Keeps the item of this name, and has the keys go on from there. @param {string} name @returns {boolean} whether it is there */
  pin(name) {
    const place = this.#items.findIndex((item) => this.nature.name(item) === name);
    if (place < 0) return false;
    this.#pinned = true;
    if (place === this.#at) this.#tell(true);
    else this.#choose(place, true);
    return true;
  }

  focus() {
    this.#canvas.focus({ preventScroll: true });
    this.element.scrollIntoView({ block: "center" });
  }

  /** Lets go of a node that was kept. */
  release() {
    this.#pinned = false;
    this.#isAwaited = false;
    this.#choose(-1, false);
  }

  get isPinned() {
    return this.#pinned;
  }

  /** @param {Set<number> | null} changed */
  #mark(changed) {
    if (changed === null || this.#dirty === null) this.#dirty = null;
    else for (const place of changed) this.#dirty.add(place);
    this.#painter.request();
  }

  // ── where cells are ──

  #relayout() {
    const width = Math.floor(this.element.clientWidth);
    if (width === 0) return;
    this.#grid = gridFor(this.#items.length, width);
    const rows = Math.ceil(this.#items.length / this.#grid.columns);
    const height = Math.max(1, rows * this.#grid.height);
    const ratio = devicePixelRatio || 1;
    this.#size = { width, height, ratio };
    this.#canvas.width = Math.round(width * ratio);
    this.#canvas.height = Math.round(height * ratio);
    this.#canvas.style.height = `${height}px`;
    this.#placeCursor();
    this.#mark(null);
  }

  /** @param {number} place @returns {Box} */
  #boxOf(place) {
    const { columns, width, height, gap } = this.#grid;
    const column = place % columns;
    const x = Math.round(column * width); // on whole pixels, so that edges are sharp
    return {
      x,
      y: Math.floor(place / columns) * height,
      width: Math.round((column + 1) * width) - x - gap,
      height: height - gap,
    };
  }

  /** @param {MouseEvent} event */
  #placeAt(event) {
    const { columns, width, height } = this.#grid;
    const column = Math.floor(event.offsetX / width);
    const place = Math.floor(event.offsetY / height) * columns + column;
    return column < columns && place >= 0 && place < this.#items.length ? place : -1;
  }

  // ── painting ──

  #readColours() {
    const read = (/** @type {string} */ names) => this.#resolve(names);
    this.#font = getComputedStyle(document.body).fontFamily;
    this.#colours = { background: read("--surface"), back: read("--cell-back") };
    for (const state of this.nature.states) {
      this.#colours[state] = read(`--cell-${state}`);
      this.#textColours[state] = read(`--cell-text-${state}, var(--text)`);
    }
    this.#mark(null);
  }

  /**
   * A theme's colour as a canvas takes it: the cursor, which has no text, lends its own.
   * @param {string} names
   */
  #resolve(names) {
    this.#cursor.style.color = `var(${names})`;
    return getComputedStyle(this.#cursor).color;
  }

  #paint() {
    const { ratio, width, height } = this.#size;
    this.#paper.setTransform(ratio, 0, 0, ratio, 0, 0);
    if (this.#dirty === null) {
      this.#paper.fillStyle = this.#colours.background;
      this.#paper.fillRect(0, 0, width, height);
      for (const place of this.#items.keys()) this.#paintCell(place);
    } else {
      for (const place of this.#dirty) this.#paintCell(place);
    }
    this.#paper.globalAlpha = 1;
    this.#dirty = new Set();
  }

  /** @param {number} place */
  #paintCell(place) {
    const item = this.#items[place];
    if (item === undefined) return;
    const state = this.nature.state(item);
    const box = this.#boxOf(place);
    this.#clear(box);
    this.#paper.globalAlpha = this.#isFiltered && !this.#stands(item) ? 0.16 : 1;
    if (state === "pulling" || state === "busy") this.#paintMoving(item, box, state);
    else this.#fill(box, this.#colours[state] ?? this.#colours.waiting);
    if (this.#grid.named) this.#paintName(item, box, state);
    if (this.#grid.named) paintMark(this.#paper, cornerOf(box), state, this.#colours.background);
    else paintMark(this.#paper, box, state, this.#colours.background);
  }

  /** @param {Box} box */
  #clear(box) {
    this.#paper.globalAlpha = 1;
    if (!this.#isFiltered && !this.#grid.named) return; // a full colour covers what was there
    this.#paper.fillStyle = this.#colours.background;
    this.#paper.fillRect(box.x, box.y, box.width, box.height);
  }

  /** @param {Box} box @param {string} colour */
  #fill(box, colour) {
    this.#paper.fillStyle = colour;
    if (!this.#grid.named) {
      this.#paper.fillRect(box.x, box.y, box.width, box.height);
      return;
    }
    this.#paper.beginPath();
    this.#paper.roundRect(box.x, box.y, box.width, box.height, 5);
    this.#paper.fill();
  }

  /**
   * A cell fills up as its bytes come: to the right, upwards, or in strength where it is tiny.
   * @param {Item} item
   * @param {Box} box
   * @param {string} state
   */
  #paintMoving(item, box, state) {
    const share = this.nature.share(item);
    this.#fill(box, this.#colours.back);
    if (box.height < TINY) {
      this.#paper.globalAlpha *= 0.3 + 0.7 * share;
      this.#fill(box, this.#colours[state]);
      return;
    }
    this.#paper.fillStyle = this.#colours[state];
    const { named } = this.#grid;
    const width = named ? box.width * share : box.width;
    const height = named ? box.height : box.height * Math.max(share, 0.2);
    const y = box.y + box.height - height;
    if (named) {
      this.#paper.beginPath();
      this.#paper.roundRect(box.x, y, Math.max(width, 5), height, 5);
      this.#paper.fill();
    } else this.#paper.fillRect(box.x, y, width, height);
  }

  /** @param {Item} item @param {Box} box @param {string} state */
  #paintName(item, box, state) {
    const middle = box.y + box.height / 2 + 0.5;
    const note = this.#grid.noted ? this.nature.note(item) : "";
    this.#paper.fillStyle = this.#textColours[state];
    this.#paper.textBaseline = "middle";
    this.#write(this.nature.name(item), "600 12.5px", box, note ? middle - 9 : middle);
    if (note) this.#write(note, "400 12px", box, middle + 9);
  }

  /** @param {string} text @param {string} font @param {Box} box @param {number} y */
  #write(text, font, box, y) {
    this.#paper.font = `${font} ${this.#font}`;
    this.#paper.fillText(fitted(this.#paper, text, box.width - 18), box.x + 9, y);
  }

  // ── choosing ──

  #listen() {
    const canvas = this.#canvas;
    canvas.addEventListener("pointermove", (event) => {
      if (!this.#pinned && event.pointerType === "mouse") this.#choose(this.#placeAt(event), false);
    });
    canvas.addEventListener("pointerleave", () => {
      if (!this.#pinned) this.#choose(-1, false);
    });
    canvas.addEventListener("click", (event) => {
      const place = this.#placeAt(event);
      this.#pinned = place >= 0 && !(this.#pinned && place === this.#at);
      if (place === this.#at) this.#tell(false);
      else this.#choose(place, false);
    });
    canvas.addEventListener("keydown", (event) => this.#onKey(event));
    canvas.addEventListener("blur", () => {
      if (!this.#pinned) this.#choose(-1, false);
    });
  }

  /** @param {KeyboardEvent} event */
  #onKey(event) {
    if (event.key === "Enter" || event.key === " ") this.#pinned = this.#at >= 0 && !this.#pinned;
    else if (event.key === "Escape") return this.release();
    else {
      const place = this.#isFiltered ? this.#movedAmongMatches(event.key) : this.#moved(event.key);
      if (place === null) return;
      this.#pinned = false;
      this.#choose(Math.max(0, Math.min(place, this.#items.length - 1)), true);
    }
    event.preventDefault();
    this.#tell(true);
  }

  /** @param {string} key */
  #moved(key) {
    const { columns } = this.#grid;
    /** @type {Record<string, number>} */
    const moves = { ArrowRight: 1, ArrowLeft: -1, ArrowDown: columns, ArrowUp: -columns };
    if (key === "Home") return 0;
    if (key === "End") return this.#items.length - 1;
    if (!(key in moves) || this.#items.length === 0) return null;
    return this.#at < 0 ? 0 : this.#at + moves[key];
  }

  /** Where some stand out, from match to match. @param {string} key */
  #movedAmongMatches(key) {
    const matches = this.#items.flatMap((item, place) => (this.#stands(item) ? [place] : []));
    const row = this.#at < 0 ? 1 : this.#grid.columns;
    /** @type {Record<string, () => number | undefined>} */
    const moves = {
      ArrowRight: () => matches.find((place) => place > this.#at),
      ArrowDown: () => matches.find((place) => place >= this.#at + row),
      ArrowLeft: () => matches.filter((place) => place < this.#at).pop(),
      ArrowUp: () => matches.filter((place) => place <= this.#at - row).pop(),
      Home: () => matches[0],
      End: () => matches[matches.length - 1],
    };
    if (!(key in moves) || matches.length === 0) return null;
    return moves[key]() ?? (this.#at < 0 ? matches[0] : this.#at);
  }

  /** @param {number} place @param {boolean} byKey */
  #choose(place, byKey) {
    if (place === this.#at) return;
    this.#at = place;
    this.#placeCursor();
    this.#tell(byKey);
  }

  /** @param {boolean} byKey */
  #tell(byKey) {
    this.onChoose(this.#at < 0 ? null : this.#items[this.#at], byKey);
  }

  #placeCursor() {
    this.#cursor.hidden = this.#at < 0;
    if (this.#at < 0) return;
    const { x, y, width, height } = this.#boxOf(this.#at);
    const { style } = this.#cursor;
    style.transform = `translate(${x}px, ${y}px)`;
    style.width = `${width}px`;
    style.height = `${height}px`;
  }
}

/**
 * Makes elements. Whatever comes from outside goes in as text: nothing here parses HTML, and the
 * Content-Security-Policy (`require-trusted-types-for`) has the browser refuse it everywhere.
 */

/**
 * @typedef {string | number | boolean | null | undefined | ((event: any) => void)} Attribute
 * @typedef {Node | string | number | false | null | undefined | readonly Child[]} Child
 */

const SVG = "http://www.w3.org/2000/svg";

/**
 * An element with attributes, listeners (`onclick: f`) and children.
 * @template {keyof HTMLElementTagNameMap} Tag
 * @param {Tag} tag
 * @param {Record<string, Attribute>} [attributes] null, undefined and false are left out
 * @param {...Child} children nodes, texts, numbers, or lists of them; null and false are left out
 * @returns {HTMLElementTagNameMap[Tag]}
 */
export function h(tag, attributes = {}, ...children) {
  return fill(document.createElement(tag), attributes, children);
}

/**
 * The same for SVG.
 * @template {keyof SVGElementTagNameMap} Tag
 * @param {Tag} tag
 * @param {Record<string, Attribute>} [attributes]
 * @param {...Child} children
 */
export function svg(tag, attributes = {}, ...children) {
  return fill(document.createElementNS(SVG, tag), attributes, children);
}

/**
 * @template {Element} Made
 * @param {Made} element @param {Record<string, Attribute>} attributes @param {Child[]} children
 */
function fill(element, attributes, children) {
  for (const [name, value] of Object.entries(attributes)) {
    if (typeof value === "function") element.addEventListener(name.slice(2), value);
    else setAttribute(element, name, value);
  }
  append(element, children);
  return element;
}

/** @param {Element} parent @param {readonly Child[]} children */
function append(parent, children) {
  for (const child of children) {
    if (Array.isArray(child)) append(parent, child);
    else if (typeof child === "number") parent.append(String(child));
    else if (child) parent.append(/** @type {Node | string} */ (child));
  }
}

/**
 * Sets an attribute, or removes it where the value is null, undefined or false.
 * @param {Element} element
 * @param {string} name
 * @param {Attribute} value
 */
export function setAttribute(element, name, value) {
  if (value === null || value === undefined || value === false) element.removeAttribute(name);
  else if (element.getAttribute(name) !== String(value)) {
    element.setAttribute(name, value === true ? "" : String(value));
  }
}

/**
 * Sets a text, and touches nothing where it is there already: selections and layout survive.
 * @param {Element} element
 * @param {string} text
 */
export function setText(element, text) {
  if (element.textContent !== text) element.textContent = text;
}

/**
 * Puts other children in place of an element's own.
 * @param {Element} parent
 * @param {...Child} children
 */
export function replace(parent, ...children) {
  parent.replaceChildren();
  append(parent, children);
}

/**
 * Keeps an element's children in step with a list: one row an item, kept by its key, moved only
 * where the order changed, so that focus and scroll stay where they are.
 * @template Item
 */
export class KeyedList {
  /** @type {Map<string, {element: Element, update: (item: Item) => void}>} */
  #rows = new Map();

  /**
   * @param {Element} parent
   * @param {(item: Item) => string} keyOf
   * @param {(item: Item) => {element: Element, update: (item: Item) => void}} makeRow
   */
  constructor(parent, keyOf, makeRow) {
    this.parent = parent;
    this.keyOf = keyOf;
    this.makeRow = makeRow;
  }

  /** @param {Item[]} items */
  show(items) {
    const wanted = new Set(items.map(this.keyOf));
    for (const [key, row] of this.#rows) {
      if (wanted.has(key)) continue;
      row.element.remove();
      this.#rows.delete(key);
    }
    let place = this.parent.firstElementChild;
    for (const item of items) {
      const row = this.#row(item);
      row.update(item);
      if (row.element === place) place = row.element.nextElementSibling;
      else this.parent.insertBefore(row.element, place);
    }
  }

  /** @param {Item} item */
  #row(item) {
    const key = this.keyOf(item);
    const row = this.#rows.get(key) ?? this.makeRow(item);
    this.#rows.set(key, row);
    return row;
  }
}

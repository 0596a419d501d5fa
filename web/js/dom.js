/**
 * Makes elements. Whatever comes from outside goes in as text: nothing here parses HTML, and the
 * Content-Security-Policy (`require-trusted-types-for`) has the browser refuse it everywhere.
 */

const SVG = "http://www.w3.org/2000/svg";

/**
 * An element with attributes, listeners (`onclick: f`) and children.
 * @param {string} tag
 * @param {Record<string, any>} [attributes] null, undefined and false are left out
 * @param {...any} children nodes, texts, numbers, or lists of them; null and false are left out
 * @returns {HTMLElement}
 */
export function h(tag, attributes = {}, ...children) {
  return fill(document.createElement(tag), attributes, children);
}

/** The same for SVG. */
export function svg(tag, attributes = {}, ...children) {
  return fill(document.createElementNS(SVG, tag), attributes, children);
}

function fill(element, attributes, children) {
  for (const [name, value] of Object.entries(attributes)) {
    if (name.startsWith("on")) element.addEventListener(name.slice(2), value);
    else setAttribute(element, name, value);
  }
  append(element, children);
  return element;
}

function append(parent, children) {
  for (const child of children) {
    if (Array.isArray(child)) append(parent, child);
    else if (child !== null && child !== undefined && child !== false) parent.append(child);
  }
}

/** Sets an attribute, or removes it where the value is null, undefined or false. */
export function setAttribute(element, name, value) {
  if (value === null || value === undefined || value === false) element.removeAttribute(name);
  else if (element.getAttribute(name) !== String(value)) {
    element.setAttribute(name, value === true ? "" : String(value));
  }
}

/** Sets a text, and touches nothing where it is there already: selections and layout survive. */
export function setText(element, text) {
  if (element.textContent !== text) element.textContent = text;
}

/** Puts other children in place of an element's own. */
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
      if (row.element === place) place = place.nextElementSibling;
      else this.parent.insertBefore(row.element, place);
    }
  }

  #row(item) {
    const key = this.keyOf(item);
    if (!this.#rows.has(key)) this.#rows.set(key, this.makeRow(item));
    return this.#rows.get(key);
  }
}

/** Small line drawings. They say nothing that a text beside them, or a label, does not. */

import { svg } from "../dom.js";

const PATHS = {
  plus: "M8 3v10M3 8h10",
  close: "M4 4l8 8M12 4l-8 8",
  pause: "M5.5 3.5v9M10.5 3.5v9",
  resume: "M5 3.5l7 4.5-7 4.5z",
  stop: "M4.5 4.5h7v7h-7z",
  again: "M13 8a5 5 0 1 1-1.6-3.7M13 2.5v3h-3",
  retry: "M3 8a5 5 0 0 1 8.5-3.6L13 6M13 3v3h-3M13 8a5 5 0 0 1-8.5 3.6L3 10M3 13v-3h3",
  copy: "M6 6h7v7H6zM10 6V3H3v7h3",
  left: "M10 3.5L5.5 8l4.5 4.5",
  right: "M6 3.5L10.5 8 6 12.5",
  sun: "M8 5.2a2.8 2.8 0 1 0 0 5.6 2.8 2.8 0 0 0 0-5.6zM8 1.5v1.4M8 13.1v1.4M1.5 8h1.4M13.1 8h1.4M3.4 3.4l1 1M11.6 11.6l1 1M12.6 3.4l-1 1M4.4 11.6l-1 1",
  moon: "M13 9.6A5.5 5.5 0 0 1 6.4 3 5.5 5.5 0 1 0 13 9.6z",
  system: "M2.5 3.5h11v7.5h-11zM6 13.5h4M8 11v2.5",
  find: "M7 3a4 4 0 1 0 0 8 4 4 0 0 0 0-8zM10 10l3.2 3.2",
  map: "M2.5 2.5h4v4h-4zM9.5 2.5h4v4h-4zM2.5 9.5h4v4h-4zM9.5 9.5h4v4h-4z",
  warning: "M8 2.5l6 10.5H2zM8 6.5v3M8 11.2v.3",
};

/** @typedef {keyof typeof PATHS} IconName */

/** @param {IconName} name */
export function icon(name) {
  const attributes = { viewBox: "0 0 16 16", class: "icon", "aria-hidden": "true" };
  const element = svg("svg", attributes, svg("path", { d: PATHS[name] }));
  element.dataset.icon = name;
  return element;
}

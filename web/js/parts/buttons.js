/** Buttons and links that look like buttons. */

import { h } from "../dom.js";
import { icon } from "./icons.js";

/**
 * @typedef {import("./icons.js").IconName} IconName
 * @typedef {{text: string, icon?: IconName, label?: string, kind?: string, type?: string,
 *            onclick?: (event: Event) => void}} ButtonOptions
 */

/**
 * @param {ButtonOptions} options
 *   `label` for screen readers, where the text alone does not say what it acts on; `kind`: primary,
 *   quiet, danger
 */
export function button({ text, icon: drawing, label, kind = "", onclick, type = "button" }) {
  /** @type {Record<string, import("../dom.js").Attribute>} */
  const attributes = { type, class: `button ${kind}`.trim(), "aria-label": label };
  if (onclick) attributes.onclick = onclick;
  return h("button", attributes, drawing && icon(drawing), text && h("span", {}, text));
}

/**
 * A button that shows a drawing only.
 * @param {{icon: IconName, label: string, onclick: () => void}} options
 */
export const iconButton = ({ icon: drawing, label, onclick }) =>
  h("button", { type: "button", class: "button icon-only", "aria-label": label, title: label, onclick }, icon(drawing));

/** @param {{text: string, href: string, icon?: IconName, kind?: string}} options */
export const linkButton = ({ text, href, icon: drawing, kind = "" }) =>
  h("a", { href, class: `button ${kind}`.trim() }, drawing && icon(drawing), h("span", {}, text));

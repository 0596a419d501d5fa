/** Links to a node and to an image, wherever the name of one stands. */

import { h, replace } from "../dom.js";
import { imagesInShort } from "../format.js";
import { t } from "../language.js";
import { imageLink, nodeLink, setLink, taskLink } from "../router.js";

/** Characters of a digest that tell it from all others: `sha256:` and twelve. */
const DIGEST = 19;

/** @param {string} name */
export const nodeName = (name) => h("a", { href: nodeLink(name), class: "name", title: name }, name);

/** @param {string} image */
export const imageName = (image) => h("a", { href: imageLink(image), class: "name", title: image }, image);

/**
 * The images of a task in short; where there is no room the registry and the path go, not the tag.
 * @param {HTMLElement} element @param {string[]} images
 */
export function showImages(element, images) {
  const text = imagesInShort(images);
  if (element.textContent === text) return;
  showCut(element, text, images[0].lastIndexOf("/") + 1);
}

/** A text of which what comes before a place gives way. @param {HTMLElement} element @param {string} text @param {number} at */
export function showCut(element, text, at) {
  element.classList.add("cut");
  replace(element, h("span", { class: "path" }, text.slice(0, at)), h("span", { class: "tail" }, text.slice(at)));
  element.setAttribute("aria-label", text);
}

/** @param {string} [id] */
export const taskName = (id) => id && h("a", { href: taskLink(id), class: "id" }, id);

/** @param {string} [digest] */
export const digestName = (digest) => digest && h("code", { title: digest }, digest.slice(0, DIGEST));

/** @param {string} name */
export const setName = (name) => h("a", { href: setLink(name), class: "name" }, name);

/** @param {string[]} sets */
export function setNames(sets) {
  const links = sets.flatMap((name, at) => [at > 0 && t("list.separator"), setName(name)]);
  return sets.length > 0 && h("span", { class: "hint" }, t("places.sets"), links);
}

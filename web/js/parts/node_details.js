/** One node of a task in full: beside the map, for the cell that is pointed at. */

import { h, replace } from "../dom.js";
import { bytes, duration, percent, speed, timeElement } from "../format.js";
import { t } from "../language.js";
import { worded } from "../messages.js";
import { chip, wordOf } from "./chips.js";
import { iconButton } from "./buttons.js";
import { imageName, nodeName } from "./places.js";
import { reasonInWords } from "./reasons.js";

export class NodeDetails {
  element = h("div", { class: "details" });

  /** @param {() => void} onClose */
  constructor(onClose) {
    this.onClose = onClose;
    this.show(null, false);
  }

  /** @param {Api.TaskNode | null} node @param {boolean} isPinned whether it stays when left */
  show(node, isPinned) {
    this.element.classList.toggle("pinned", isPinned);
    if (node === null) replace(this.element, h("p", { class: "hint" }, t("map.choose")));
    else replace(this.element, this.#head(node, isPinned), facts(node), why(node), images(node));
  }

  /** @param {Api.TaskNode} node @param {boolean} isPinned */
  #head(node, isPinned) {
    const close = iconButton({ icon: "close", label: t("map.close"), onclick: this.onClose });
    return h("header", {}, h("h3", {}, nodeName(node.nodeName)), chip("state", node.state), isPinned && close);
  }
}

/** @param {Api.TaskNode} node */
function facts(node) {
  const words = [t("map.batch", { n: node.batch }), t("map.attempt", { n: node.attempt })];
  const line = h("p", { class: "facts" }, words.join(" · "));
  if (node.nextRetryAt) line.append(" · ", ...nextTry(node.nextRetryAt));
  return line;
}

/** The words around a time, whichever order the language puts them in. @param {string} time */
function nextTry(time) {
  const [before, after] = t("map.next", { time: "\n" }).split("\n");
  return [before, timeElement(time), after];
}

/** @param {Api.TaskNode} node */
function why(node) {
  if (!node.reason) return null;
  return h(
    "div",
    { class: "why" },
    h("p", {}, h("strong", {}, node.reason), " ", reasonInWords(node.reason)),
    node.message && h("p", { class: "raw" }, worded(node)),
  );
}

/** @param {Api.TaskNode} node */
const images = (node) => h("ul", { class: "image-states" }, node.images.map(imageLine));

/** @param {Api.NodeImage} image */
function imageLine(image) {
  const share = shareOf(image);
  const done = h("span");
  const track = h("span", { class: "track" }, done);
  track.dataset.state = image.state;
  done.style.width = `${100 * share}%`;
  return h(
    "li",
    {},
    imageName(image.image),
    chip("image", image.state),
    track,
    h("span", { class: "numbers" }, numbers(image, share)),
  );
}

/** @param {Api.NodeImage} image */
function shareOf(image) {
  if (image.state === "pulled" || image.state === "present") return 1;
  return image.totalBytes ? Math.min((image.bytes ?? 0) / image.totalBytes, 1) : 0;
}

/** @param {Api.NodeImage} image @param {number} share */
function numbers(image, share) {
  const words = [];
  if (image.phase) words.push(wordOf("phase", image.phase));
  if (image.state === "pulling" && image.totalBytes) {
    words.push(percent(Math.floor(100 * share)));
    words.push(t("task.bytes.of", { bytes: bytes(image.bytes ?? 0), total: bytes(image.totalBytes) }));
  } else if (image.bytes !== undefined) words.push(bytes(image.bytes));
  if (image.bytesPerSecond && image.state === "pulling") words.push(speed(image.bytesPerSecond));
  if (image.seconds !== undefined) words.push(duration(image.seconds));
  return words.join(" · ");
}

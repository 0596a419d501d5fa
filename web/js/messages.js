/**
 * What the service says, in the viewer's language: worded anew from its code and parameters
 * (docs/messages.md), or in its own English where the code is newer than this page.
 */

import { number } from "./language.js";
import { language } from "./preferences.js";
import { MESSAGES, VALUES } from "./words/zh_messages.js";

/** @type {Record<string, Record<string, string>>} */
const WORDS = { en: {}, "zh-CN": MESSAGES };

/**
 * @typedef {object} Said
 * @property {string} [message] in English
 * @property {string} [messageCode]
 * @property {Record<string, string | number>} [messageParams]
 */

/** @param {Said} said @returns {string} empty where nothing is said */
export function worded({ message = "", messageCode = "", messageParams = {} }) {
  const words = WORDS[language()];
  if (!Object.hasOwn(words, messageCode)) return message;
  const places = words[messageCode].matchAll(/\{(\w+)\}/g);
  if ([...places].some(([, name]) => !Object.hasOwn(messageParams, name))) return message;
  return words[messageCode].replace(/\{(\w+)\}/g, (_, name) => {
    const value = messageParams[name];
    if (typeof value === "number") return number(value);
    return WORDED.has(name) ? valueInWords(value) : value;
  });
}

/** Parameters that hold words of the service's own, at times. */
const WORDED = new Set(["got", "status"]);

/** @param {string} value */
function valueInWords(value) {
  const [count = ""] = /\d[\d,]*/.exec(value) ?? [];
  const words = /** @type {Record<string, string>} */ (VALUES)[count ? value.replace(count, "{n}") : value];
  return words === undefined ? value : words.replace("{n}", count);
}

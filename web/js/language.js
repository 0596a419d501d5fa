/**
 * Words of the page in the viewer's language. An unknown key is an error of ours and is told to the
 * console, where the tests look.
 */

import { language } from "./preferences.js";
import { WORDS } from "./words/words.js";

/** @param {string} key @returns {import("./words/words.js").Word | undefined} */
const wordOf = (key) => WORDS[key]?.[language() === "en" ? 0 : 1];

/**
 * A text with its `{places}` filled in; `{n}` also chooses between singular and plural.
 * @param {string} key
 * @param {Record<string, string | number>} [values]
 */
export function t(key, values = {}) {
  const found = wordOf(key);
  if (found === undefined) {
    // biome-ignore lint/suspicious/noConsole: where the tests look
    console.error(`no words for "${key}" in ${language()}`);
    return key;
  }
  const text = typeof found === "string" ? found : choose(found, Number(values.n));
  return text.replace(/\{(\w+)\}/g, (_, name) => {
    const value = values[name];
    return typeof value === "number" ? number(value) : (value ?? "");
  });
}

/**
 * Whether there are words for a key: reasons and states may be newer than this page.
 * @param {string} key
 */
export const hasWords = (key) => wordOf(key) !== undefined;

/** @param {Record<string, string>} forms @param {number} count */
function choose(forms, count) {
  const form = formatter("plural", () => new Intl.PluralRules(language())).select(count);
  return forms[form] ?? forms.other;
}

/** @type {Map<string, any>} */
const formatters = new Map();

/**
 * Making an Intl formatter takes a hundred times longer than using it.
 * @template Formatter
 * @param {string} name @param {() => Formatter} make @returns {Formatter}
 */
export function formatter(name, make) {
  const key = `${language()} ${name}`;
  if (!formatters.has(key)) formatters.set(key, make());
  return formatters.get(key);
}

/** @param {number} value */
export const number = (value) =>
  formatter("number", () => new Intl.NumberFormat(language())).format(value);

/** Gives what a table shows out of the page's hands: as CSV, as JSON, or as names alone. */

import { h } from "../dom.js";
import { t } from "../language.js";
import { copyText } from "./clipboard.js";

/**
 * @typedef {object} Exported
 * @property {string[]} head
 * @property {(string | number)[][]} rows the first cell of each is its name
 * @property {object[]} items the same as the server told it
 */

/**
 * @param {string} name of the file, without its ending
 * @param {() => Exported | Promise<Exported>} collect
 * @param {(problem: Error) => void} [onProblem] told why nothing could be collected, where it is asked for
 */
export function exportButtons(name, collect, onProblem = fail) {
  /** @type {[string, string, (exported: Exported) => string][]} */
  const forms = [
    ["csv", "text/csv", asCsv],
    ["json", "application/json", ({ items }) => `${JSON.stringify(items, null, 2)}\n`],
    ["names", "text/plain", ({ rows }) => [...new Set(rows.map(([first]) => `${first}\n`))].join("")],
  ];
  const copy = async (/** @type {Event} */ event) => {
    const pressed = /** @type {HTMLElement} */ (event.currentTarget);
    await copyText(forms[2][2](await collect()));
    pressed.textContent = t("action.copied");
  };
  const one = (/** @type {typeof forms[number]} */ [form, type, make]) =>
    h(
      "button",
      {
        type: "button",
        class: "button quiet",
        "aria-label": t("export.label", { form: t(`export.${form}`) }),
        onclick: async () => {
          try {
            save(`${name}.${form === "names" ? "txt" : form}`, type, make(await collect()));
          } catch (problem) {
            onProblem(/** @type {Error} */ (problem));
          }
        },
      },
      t(`export.${form}`),
    );
  return h("div", { class: "export" }, h("span", { class: "hint" }, t("export.title")), forms.map(one), h("button", { type: "button", class: "button quiet", onclick: copy }, t("export.copy")));
}

/** What is here already cannot be refused: a fault is one of ours. @param {Error} problem */
function fail(problem) {
  throw problem;
}

/**
 * Every item of a list that the server gives page by page.
 * @template Item
 * @param {(offset: number) => Promise<{items: Item[], total: number}>} ask for one page
 */
export async function everyPage(ask) {
  /** @type {Item[]} */
  const all = [];
  for (let most = 1; all.length < most; ) {
    const { items, total } = await ask(all.length);
    most = items.length ? total : 0;
    all.push(...items);
  }
  return all;
}

/**
 * RFC 4180. A cell that a spreadsheet would take for a formula is a text: it may come from anybody.
 * @param {Exported} exported
 */
export function asCsv({ head, rows }) {
  const cell = (/** @type {string | number} */ value) => {
    const text = typeof value === "string" && /^[=+\-@\t\r]/.test(value) ? `'${value}` : String(value);
    return /[",\n\r]/.test(text) ? `"${text.replaceAll('"', '""')}"` : text;
  };
  return [head, ...rows].map((row) => `${row.map(cell).join(",")}\r\n`).join("");
}

/** @param {string} name @param {string} type @param {string} text */
function save(name, type, text) {
  const href = URL.createObjectURL(new Blob([text], { type }));
  h("a", { href, download: name }).click();
  setTimeout(() => URL.revokeObjectURL(href), 60_000);
}

/** Asks before something that cannot be undone. */

import { h } from "../dom.js";
import { t } from "../language.js";
import { button } from "./buttons.js";

/**
 * @param {{title: string, text: string, yes: string, no: string, about: string}} words
 * @returns {Promise<boolean>} whether the answer is yes; Escape is no
 */
export function ask({ title, text, yes, no, about }) {
  return new Promise((resolve) => {
    const dialog = h(
      "dialog",
      { class: "dialog", "aria-labelledby": "dialog-title", "aria-describedby": "dialog-text" },
      h("h2", { id: "dialog-title" }, title),
      h("p", { class: "about" }, about),
      h("p", { id: "dialog-text" }, text),
      h(
        "div",
        { class: "buttons" },
        button({ text: no, onclick: () => dialog.close("") }),
        button({ text: yes, kind: "danger", onclick: () => dialog.close("yes") }),
      ),
    );
    dialog.addEventListener("close", () => {
      dialog.remove();
      resolve(dialog.returnValue === "yes");
    });
    document.body.append(dialog);
    dialog.showModal();
  });
}

/** Whatever pulls onto more nodes, or stops on more, is asked for. */
export const MANY_NODES = 50;

/** @param {string} about what would be run @param {number} count of nodes, as far as is known */
export const askToRun = (about, count) =>
  ask({
    title: t("action.many.ask", { n: count }),
    text: t("action.many.what"),
    yes: t("action.many.yes"),
    no: t("action.many.no"),
    about,
  });

/** @param {string[]} retries that there are */
export const askToRetryAgain = (retries) =>
  ask({
    title: t("action.retried.ask"),
    text: t("action.retried.what"),
    yes: t("action.retried.yes"),
    no: t("action.retried.no"),
    about: retries.join(t("list.separator")),
  });

/** @param {string} about what would be cancelled, in short */
export const askToCancel = (about) =>
  ask({
    title: t("action.cancel.ask"),
    text: t("action.cancel.what"),
    yes: t("action.cancel.yes"),
    no: t("action.cancel.no"),
    about,
  });

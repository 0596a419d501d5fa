/** Short notices at the edge. Good news goes by itself, bad news stays until it is closed. */

import { h } from "../dom.js";
import { t } from "../language.js";
import { worded } from "../messages.js";
import { iconButton } from "./buttons.js";

const STAYS = 5_000;

export class Toasts {
  element = h("div", { class: "toasts", role: "status", "aria-live": "polite" });

  /** @param {string} text */
  tell(text) {
    const toast = h("div", { class: "toast" }, h("p", {}, text));
    this.element.append(toast);
    setTimeout(() => toast.remove(), STAYS);
  }

  /** @param {Error & {status?: number}} problem */
  complain(problem) {
    const text = problem.status === 0 ? t("problem.away") : worded(problem);
    const close = iconButton({
      icon: "close",
      label: t("problem.close"),
      onclick: () => toast.remove(),
    });
    const words = [h("strong", {}, t("problem.title")), h("p", {}, text)];
    const toast = h("div", { class: "toast bad", role: "alert" }, h("div", {}, words), close);
    this.element.append(toast);
  }
}

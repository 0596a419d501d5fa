/** What whoever is not known sees in place of any other view. */

import { h, replace, setAttribute, setText } from "../dom.js";
import { t } from "../language.js";
import { worded } from "../messages.js";
import { button } from "../parts/buttons.js";
import { logIn, logInElsewhere, whoAsks } from "../session.js";

export class LoginView {
  #fault = h("p", { class: "fault", id: "token-fault", role: "alert", hidden: true });
  #token = h("input", {
    id: "token",
    name: "token",
    type: "password",
    autocomplete: "current-password",
    spellcheck: "false",
    required: true,
    "aria-describedby": "token-fault token-hint",
  });
  #submit = button({ text: t("session.log.in"), kind: "primary", type: "submit" });
  #elsewhere = h("div", { hidden: true });
  #stopped = false;

  /** @param {import("../router.js").Route} _route @param {import("../app.js").Shell} shell */
  constructor(_route, shell) {
    this.shell = shell;
    this.element = h(
      "form",
      { class: "view login card", novalidate: true, onsubmit: (event) => this.#send(event) },
      h("h1", { tabindex: -1 }, t("session.title")),
      this.#elsewhere,
      h(
        "div",
        { class: "field" },
        h("label", { for: "token" }, t("session.token")),
        this.#token,
        this.#fault,
        h("p", { class: "hint", id: "token-hint" }, t("session.token.hint")),
      ),
      h("div", {}, this.#submit),
    );
  }

  start() {
    this.shell.title(t("session.title"));
    this.#token.focus();
    whoAsks().then((session) => this.#show(session), () => {});
  }

  stop() {
    this.#stopped = true;
  }

  /** @param {Api.Session} session */
  #show(session) {
    if (this.#stopped) return;
    if (session.identified || !session.required) {
      this.shell.identified(session); // another tab has logged in meanwhile
    } else if (session.logins.includes("oidc")) {
      replace(this.#elsewhere, button({ text: t("session.elsewhere"), kind: "primary", onclick: logInElsewhere }));
      this.#elsewhere.hidden = false;
    }
  }

  /** @param {Event} event */
  async #send(event) {
    event.preventDefault();
    this.#submit.disabled = true;
    try {
      const session = await logIn(this.#token.value.trim());
      if (!this.#stopped) this.shell.identified(session);
    } catch (error) {
      this.#complain(/** @type {import("../server.js").Problem} */ (error));
    } finally {
      this.#submit.disabled = false;
    }
  }

  /** @param {import("../server.js").Problem} problem */
  #complain(problem) {
    const known = problem.status === 401 ? t("session.unknown") : worded(problem);
    setText(this.#fault, problem.status === 0 ? t("problem.away") : known);
    this.#fault.hidden = false;
    setAttribute(this.#token, "aria-invalid", "true");
    this.#token.focus();
  }
}

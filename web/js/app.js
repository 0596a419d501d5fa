/**
 * The shell around every view: navigation, the state of the connection, notices, and which view is
 * shown. A view is made anew for each place and for each change of language.
 */

import { h, replace, setAttribute, setText } from "./dom.js";
import { clockTime, offsetOf } from "./format.js";
import { t } from "./language.js";
import { worded } from "./messages.js";
import { icon } from "./parts/icons.js";
import { button, iconButton, linkButton } from "./parts/buttons.js";
import { Toasts } from "./parts/toasts.js";
import { language, setLanguage, setTheme, theme, THEMES } from "./preferences.js";
import { KeptPlaces } from "./kept_places.js";
import { link, parseRoute } from "./router.js";
import { now, REFUSED, UNIDENTIFIED } from "./server.js";
import { logOut, whoAsks } from "./session.js";

/**
 * Each is loaded when it is wanted: the list is shown before the code of the others has come.
 * @type {Record<string, () => Promise<new (route: Route, shell: Shell) => View>>}
 */
const VIEWS = {
  tasks: async () => (await import("./views/tasks_view.js")).TasksView,
  task: async () => (await import("./views/task_view.js")).TaskView,
  new: async () => (await import("./views/new_task_view.js")).NewTaskView,
  nodes: async () => (await import("./views/nodes_view.js")).NodesView,
  node: async () => (await import("./views/node_view.js")).NodeView,
  images: async () => (await import("./views/images_view.js")).ImagesView,
  image: async () => (await import("./views/image_view.js")).ImageView,
  sets: async () => (await import("./views/sets_view.js")).SetsView,
  set: async () => (await import("./views/set_view.js")).SetView,
  put: async () => (await import("./views/put_set_view.js")).PutSetView,
  audit: async () => (await import("./views/audit_view.js")).AuditView,
  login: async () => (await import("./views/login_view.js")).LoginView,
};
const THEME_ICONS = /** @type {const} */ ({ system: "system", light: "sun", dark: "moon" });
/** A restart is over before anybody need know of it. */
const BANNER_AFTER = 1_500;

/**
 * @typedef {import("./router.js").Route} Route
 * @typedef {import("./event_stream.js").StreamState} StreamState
 * @typedef {object} View
 * @property {HTMLElement} element
 * @property {() => void} start
 * @property {() => void} stop
 */

export class Shell {
  /** What outlives a view: the draft of a new task. @type {Record<string, any>} */
  kept = {};
  #toasts = new Toasts();
  #places = new KeptPlaces();
  #header = h("header", { class: "top" });
  /** Made once: where nobody answers, it could not be fetched anew. */
  #logo = h("img", { src: "/web/icon.svg", alt: "", width: 24, height: 24 });
  #connection = h("span", { class: "connection", hidden: true });
  #banner = h("div", { class: "banner", role: "alert", hidden: true });
  #warning = h("div", { class: "banner", role: "status", hidden: true });
  #who = h("span", { class: "who", hidden: true });
  /** Who asks, once that is known. @type {Api.Session | null} */
  #session = null;
  /** The server wants to know who asks, and does not. */
  #locked = false;
  #main = h("main", { id: "main", tabindex: -1 });
  #footer = h("footer", { class: "foot" });
  #speaker = h("div", { class: "unseen", role: "status", "aria-live": "polite" });
  /** @type {View | null} */
  #view = null;
  #place = "";
  /** How often a view was asked for: what comes late belongs to an earlier one. */
  #turn = 0;
  /** @type {{state: "" | StreamState, at: number, timer: number}} */
  #connected = { state: "", at: 0, timer: 0 };

  /** @param {HTMLElement} body */
  constructor(body) {
    this.body = body;
  }

  start() {
    const skip = h("a", { class: "skip", href: "#main", onclick: (event) => this.#skip(event) });
    skip.dataset.words = "app.skip";
    this.body.querySelector("#first")?.remove();
    this.body.append(skip, this.#header, this.#warning, this.#banner, this.#main, this.#footer, this.#toasts.element, this.#speaker);
    addEventListener("hashchange", () => this.#show());
    this.#places.start();
    this.kept = this.#places.draft();
    addEventListener("pagehide", () => this.#places.keep(this.kept));
    addEventListener(UNIDENTIFIED, () => this.#lock());
    addEventListener(REFUSED, (event) => this.complain(/** @type {CustomEvent} */ (event).detail));
    this.#show();
    whoAsks().then((session) => this.#know(session), () => {}); // who does not answer is told of elsewhere
  }

  /** The name of the place, for the window and for screen readers. @param {string} text */
  title(text) {
    document.title = `${text} · ${t("app.name")}`;
  }

  /** @param {string} text for screen readers only */
  announce(text) {
    setText(this.#speaker, text);
  }

  /** @param {string} text */
  tell(text) {
    this.#toasts.tell(text);
  }

  /** @param {Error & {status?: number}} problem */
  complain(problem) {
    if (problem.status !== 401) this.#toasts.complain(problem); // the login says so
  }

  /** Somebody has logged in, and sees what they wanted. @param {Api.Session} session */
  identified(session) {
    this.#locked = false;
    this.#know(session);
    this.#show();
  }

  /** Shows how the view's stream is. @param {"" | StreamState} state */
  connection(state) {
    const before = this.#connected;
    if (state === "lost" && before.state !== "lost") {
      const timer = setTimeout(() => this.#showLost(before.at), BANNER_AFTER);
      this.#connected = { ...before, state, timer };
    } else if (state !== "lost") {
      clearTimeout(before.timer);
      if (state === "live" && this.#main.classList.contains("stale")) this.tell(t("stream.healed"));
      this.#showBanner(state === "slow" ? t("stream.slow.banner") : "");
      this.#main.classList.remove("stale");
      this.#connected = { state, at: before.at, timer: 0 };
    }
    this.#showConnection(state);
  }

  /** Something was heard: what is shown is of this moment. */
  heard() {
    this.#connected.at = now();
  }

  // ── who asks ──

  /** @param {Api.Session} session */
  #know(session) {
    this.#session = session;
    if (session.required && !session.identified) this.#lock();
    this.#drawWho();
  }

  /** Nothing is shown but the login: what was shown is not for whoever looks now. */
  #lock() {
    if (this.#locked) return;
    this.#locked = true;
    this.#session = null;
    this.#show();
  }

  #drawWho() {
    const session = this.#session;
    this.#who.hidden = !session?.identified;
    const audit = this.#header.querySelector(".audit");
    if (audit) setAttribute(audit, "hidden", !(session?.identified && session.readsAudit));
    setText(this.#warning, session?.messageCode === "access.open" ? t("session.open") : worded(session ?? {}));
    this.#warning.hidden = !session?.message;
    const leave = button({ text: t("session.log.out"), onclick: () => this.#leave() });
    replace(this.#who, h("span", { class: "name", title: session?.groups.join(", ") ?? "" }, session?.user ?? ""), leave);
  }

  async #leave() {
    try {
      await logOut();
      this.kept = {};
      this.#lock();
    } catch (error) {
      this.complain(/** @type {Error} */ (error));
    }
  }

  // ── views ──

  async #show() {
    if (location.hash === "#main") return; // the skip link, where scripts came late
    const route = parseRoute(location.hash);
    const name = this.#locked ? "login" : route.name;
    const place = `${route.name}/${route.id}`;
    const isArrival = this.#place !== "" && place !== this.#place;
    this.#place = place;
    if (isArrival && (route.query.has("from") || route.query.has("set"))) this.kept = {}; // a template is always read anew
    this.#view?.stop();
    this.#view = null;
    this.connection("");
    this.#connected.at = 0;
    this.#drawHeader(route.name);
    const turn = ++this.#turn;
    const View = await this.#load(name);
    if (View === null || turn !== this.#turn) return; // or the viewer has gone on
    this.#view = new View(route, this);
    this.#main.replaceChildren(this.#view.element);
    this.#view.start();
    if (isArrival) this.#arrive();
    this.#places.scroll(this.#main);
  }

  /**
   * Code that does not come is asked for again by loading the page: a browser keeps the failure.
   * @param {string} name
   */
  async #load(name) {
    try {
      return await VIEWS[name]();
    } catch {
      const again = button({ text: t("problem.reload"), onclick: () => location.reload() });
      const words = h("p", {}, t("problem.away"));
      this.#main.replaceChildren(h("div", { class: "card empty", role: "alert" }, words, again));
      return null;
    }
  }

  /** A link leads to the heading of its place, for eyes and for screen readers. */
  #arrive() {
    this.#main.querySelector("h1")?.focus({ preventScroll: true });
  }

  /** @param {Event} event */
  #skip(event) {
    event.preventDefault();
    this.#main.focus();
  }

  // ── the header ──

  /** @param {string} name */
  #drawHeader(name) {
    setText(/** @type {Element} */ (this.body.querySelector(".skip")), t("app.skip"));
    this.#drawWho();
    this.#drawFooter();
    const current = (/** @type {string[]} */ own) => (own.includes(name) ? "page" : null);
    replace(
      this.#header,
      h("a", { class: "brand", href: link("tasks") }, this.#logo, h("span", {}, t("app.name"))),
      h(
        "nav",
        { "aria-label": t("nav.main") },
        h("a", { href: link("tasks"), "aria-current": current(["tasks", "task"]) }, t("nav.tasks")),
        h("a", { href: link("sets"), "aria-current": current(["sets", "set", "put"]) }, t("nav.sets")),
        h("a", { href: link("nodes"), "aria-current": current(["nodes", "node"]) }, t("nav.nodes")),
        h("a", { href: link("images"), "aria-current": current(["images", "image"]) }, t("nav.images")),
        this.#auditLink(current(["audit"])),
      ),
      this.#connection,
      this.#who,
      this.#languageButton(),
      this.#themeButton(),
      linkButton({ text: t("nav.new"), href: link("new"), icon: "plus", kind: "primary" }),
    );
  }

  /** The same by other means: what describes the API, and the command. */
  #drawFooter() {
    const docs = h("a", { href: "/docs" }, t("app.docs"));
    const { timeZone } = Intl.DateTimeFormat().resolvedOptions();
    replace(this.#footer, docs, h("span", {}, t("app.zone", { timeZone, offset: offsetOf(new Date()) })), h("span", {}, t("app.command"), " ", h("code", {}, `ips --server ${location.origin} ls`)));
  }

  /** @param {string | null} current */
  #auditLink(current) {
    const isShown = this.#session?.identified && this.#session.readsAudit;
    return h("a", { href: link("audit"), class: "audit", "aria-current": current, hidden: !isShown }, t("audit.title"));
  }

  #languageButton() {
    const other = language() === "en" ? "zh-CN" : "en";
    const text = other === "en" ? "EN" : "中文";
    const attributes = {
      type: "button",
      class: "button language",
      lang: other,
      title: t("app.language"),
      "aria-label": t("app.language"),
      onclick: () => this.#switchLanguage(other),
    };
    return h("button", attributes, text);
  }

  /** @param {import("./preferences.js").Language} other */
  #switchLanguage(other) {
    setLanguage(other);
    this.#show();
    /** @type {HTMLElement | null} */ (this.#header.querySelector(".language"))?.focus();
  }

  #themeButton() {
    const shown = iconButton({ icon: "system", label: "", onclick: () => {
      setTheme(THEMES[(THEMES.indexOf(theme()) + 1) % THEMES.length]);
      draw();
    } });
    const draw = () => {
      const label = t(`app.theme.${theme()}`);
      replace(shown, icon(THEME_ICONS[theme()]));
      setAttribute(shown, "aria-label", label);
      shown.title = label;
    };
    shown.classList.add("theme");
    draw();
    return shown;
  }

  // ── the connection ──

  /** @param {"" | StreamState} state */
  #showConnection(state) {
    this.#connection.hidden = state === "";
    if (state === "") return;
    this.#connection.dataset.state = state;
    const hint = state === "live" || state === "over" ? t(`stream.${state}.hint`) : "";
    setAttribute(this.#connection, "title", hint || null);
    replace(this.#connection, h("span", { class: "mark", "aria-hidden": "true" }), h("span", {}, t(`stream.${state}`)));
  }

  /** @param {number} at 0: nothing has come yet, and nothing is shown */
  #showLost(at) {
    const time = at && clockTime(new Date(at).toISOString());
    this.#showBanner(time ? t("stream.lost.banner", { time }) : t("problem.away"));
    this.#main.classList.add("stale");
  }

  /** @param {string} text none: no banner */
  #showBanner(text) {
    setText(this.#banner, text);
    this.#banner.hidden = text === "";
  }
}

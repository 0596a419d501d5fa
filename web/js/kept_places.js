/** Where a viewer was: how far they had scrolled, and what was typed into a form, over a way back or a reload. */

const DRAFT = "ips.draft";
const PAUSE = 150;
/** Milliseconds for which a place waits for what it shows. */
const PATIENCE = 10_000;

export class KeptPlaces {
  #timer = 0;
  /** Ends the way back to a place: until then what is scrolled past is not noted. @type {(() => void) | null} */
  #arrive = null;

  start() {
    history.scrollRestoration = "manual"; // a browser would scroll before anything has come
    addEventListener("scroll", () => this.#later(), { passive: true });
    addEventListener("click", () => this.#note(), true);
    addEventListener("hashchange", () => clearTimeout(this.#timer), true);
  }

  #later() {
    clearTimeout(this.#timer);
    this.#timer = setTimeout(() => this.#note(), PAUSE);
  }

  #note() {
    clearTimeout(this.#timer);
    if (!this.#arrive) history.replaceState({ y: scrollY }, "");
  }

  /** Scrolls to where this place was left, once so much has come, unless the viewer moves. @param {Element} content */
  scroll(content) {
    const y = history.state?.y ?? 0;
    this.#arrive?.();
    scrollTo(0, y);
    if (y === 0) return;
    const observer = new ResizeObserver(() => {
      scrollTo(0, y);
      if (Math.abs(scrollY - y) < 2) arrive();
    });
    const arrive = () => {
      observer.disconnect();
      if (this.#arrive === arrive) this.#arrive = null;
    };
    this.#arrive = arrive;
    observer.observe(content);
    for (const moved of ["wheel", "keydown", "pointerdown"]) addEventListener(moved, arrive, { once: true });
    setTimeout(arrive, PATIENCE);
  }

  /**
   * Keeps a draft over a reload, but not what may be secret in it; one that was made over what has
   * changed since is dropped, for a reload reads that again.
   * @param {Record<string, any>} kept
   */
  keep(kept) {
    const draft = kept.draft && { ...kept.draft, webhookUrl: "" };
    try {
      sessionStorage.setItem(DRAFT, JSON.stringify(kept.isOvertaken ? {} : { ...kept, draft }));
    } catch {
      // Storage is forbidden here.
    }
  }

  /** @returns {Record<string, any>} what was kept */
  draft() {
    try {
      return JSON.parse(sessionStorage.getItem(DRAFT) ?? "{}");
    } catch {
      return {};
    }
  }
}

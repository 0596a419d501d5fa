/**
 * What a viewer chose on this machine: language and theme. Nothing else is kept in the browser.
 */

export const THEMES = /** @type {const} */ (["system", "light", "dark"]);
export const LANGUAGES = /** @type {const} */ (["en", "zh-CN"]);

/** @typedef {(typeof LANGUAGES)[number]} Language @typedef {(typeof THEMES)[number]} Theme */

/** `appearance.js` has decided it. */
export const language = () => /** @type {Language} */ (document.documentElement.lang);

export const theme = () =>
  /** @type {Theme} */ (document.documentElement.dataset.theme ?? "system");

/** @param {Language} chosen */
export function setLanguage(chosen) {
  document.documentElement.lang = chosen;
  keep("ips.language", chosen);
}

/** @param {Theme} chosen */
export function setTheme(chosen) {
  if (chosen === "system") delete document.documentElement.dataset.theme;
  else document.documentElement.dataset.theme = chosen;
  keep("ips.theme", chosen);
}

/**
 * Calls `listener` whenever colours change, by the system or by the switch.
 * @param {() => void} listener
 * @returns {() => void} stops it
 */
export function onTheme(listener) {
  const system = matchMedia("(prefers-color-scheme: dark)");
  const observer = new MutationObserver(listener);
  observer.observe(document.documentElement, { attributeFilter: ["data-theme"] });
  system.addEventListener("change", listener);
  return () => {
    observer.disconnect();
    system.removeEventListener("change", listener);
  };
}

/** @param {string} name @param {string} value */
function keep(name, value) {
  try {
    localStorage.setItem(name, value);
  } catch {
    // Storage is forbidden here: the choice holds until the page is closed.
  }
}

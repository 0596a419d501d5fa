/**
 * What a viewer chose on this machine: language and theme. Nothing else is kept in the browser.
 */

export const THEMES = /** @type {const} */ (["system", "light", "dark"]);
export const LANGUAGES = /** @type {const} */ (["en", "zh-CN"]);

/** @returns {string} one of LANGUAGES; `appearance.js` has decided it. */
export const language = () => document.documentElement.lang;

/** @returns {string} one of THEMES */
export const theme = () => document.documentElement.dataset.theme ?? "system";

/** @param {string} chosen one of LANGUAGES */
export function setLanguage(chosen) {
  document.documentElement.lang = chosen;
  keep("ips.language", chosen);
}

/** @param {string} chosen one of THEMES */
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

function keep(name, value) {
  try {
    localStorage.setItem(name, value);
  } catch {
    // Storage is forbidden here: the choice holds until the page is closed.
  }
}

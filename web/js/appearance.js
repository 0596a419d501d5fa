// Sets theme and language before the first paint, so that nothing flashes. A classic script, since
// modules run only after the document has been read. `preferences.js` writes what this reads.
(() => {
  const root = document.documentElement;
  /** @param {string} name */
  const stored = (name) => {
    try {
      return localStorage.getItem(name);
    } catch {
      return null; // storage is forbidden here: the system's choice holds
    }
  };
  const theme = stored("ips.theme");
  if (theme === "light" || theme === "dark") root.dataset.theme = theme;
  const language = stored("ips.language") ?? navigator.language;
  root.lang = language.toLowerCase().startsWith("zh") ? "zh-CN" : "en";
})();

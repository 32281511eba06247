// Before anything is shown: the theme that was chosen on an earlier visit, else the system's.
(() => {
  "use strict";
  let chosen = null;
  try {
    chosen = localStorage.getItem("kingyo-theme");
  } catch { /* a page without storage follows the system */ }
  const dark = chosen === "dark" || (chosen !== "light" && matchMedia("(prefers-color-scheme: dark)").matches);
  document.documentElement.dataset.theme = dark ? "dark" : "light";
})();

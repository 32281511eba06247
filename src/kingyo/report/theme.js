// Draws the charts in the page's colours, and again when the theme or the printer changes them.
(() => {
  "use strict";
  const root = document.documentElement;
  const button = document.getElementById("theme");
  const system = matchMedia("(prefers-color-scheme: dark)");
  const choices = ["auto", "light", "dark"];
  const key = "kingyo-theme";
  let chosen = "auto";
  try {
    const stored = localStorage.getItem(key);
    if (choices.includes(stored)) chosen = stored;
  } catch { /* a page without storage follows the system */ }

  const config = { displayModeBar: false, responsive: true, displaylogo: false };
  const figures = [...document.querySelectorAll("[data-figure]")].map((place) => ({
    place,
    content: JSON.parse(document.getElementById(`figure-${place.dataset.figure}`).textContent),
  }));

  // Colours are written as tokens, such as "@accent": the custom property of that name.
  const paint = (value, style) => {
    if (typeof value === "string" && /^@[a-z-]+$/.test(value)) {
      return style.getPropertyValue(`--${value.slice(1)}`).trim() || value;
    }
    if (Array.isArray(value)) return value.map((each) => paint(each, style));
    if (value !== null && typeof value === "object") {
      return Object.fromEntries(Object.entries(value).map(([name, each]) => [name, paint(each, style)]));
    }
    return value;
  };

  const draw = () => {
    const style = getComputedStyle(root);
    for (const { place, content } of figures) {
      const { data, layout } = paint(content, style);
      layout.font.family = getComputedStyle(document.body).fontFamily;
      Plotly.react(place, data, layout, config);
    }
  };

  const show = (theme) => {
    root.dataset.theme = theme;
    draw();
  };

  const apply = () => {
    show(chosen === "auto" ? (system.matches ? "dark" : "light") : chosen);
    button.textContent = `Theme: ${chosen}`;
  };

  button.addEventListener("click", () => {
    chosen = choices[(choices.indexOf(chosen) + 1) % choices.length];
    try {
      localStorage.setItem(key, chosen);
    } catch { /* it lasts as long as the page */ }
    apply();
  });
  system.addEventListener("change", apply);
  addEventListener("beforeprint", () => show("light"));
  addEventListener("afterprint", apply);
  apply();
})();

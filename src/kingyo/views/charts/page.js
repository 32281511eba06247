// Draws charts once they can be seen, sorts tables, copies text.
(() => {
  "use strict";
  const datasets = JSON.parse(document.getElementById("datasets").textContent);
  const options = { mode: "vega-lite", renderer: "svg", actions: false, ast: true };
  const places = [...document.querySelectorAll("[data-chart]")];

  const isWaiting = (place) => !place.dataset.drawn && !place.closest("details:not([open])");
  const draw = () => places.filter(isWaiting).map((place) => {
    place.dataset.drawn = "yes";
    const spec = JSON.parse(place.nextElementSibling.textContent);
    return vegaEmbed(place, { ...spec, datasets }, options);
  });
  draw();
  document.addEventListener("toggle", draw, true);
  addEventListener("beforeprint", () => {
    for (const each of document.querySelectorAll("details")) each.open = true;
    draw();
  });

  const value = (row, column) => {
    const cell = row.cells[column];
    return cell.dataset.value ?? cell.textContent.trim();
  };
  const compare = (a, b) => (a === "" || b === "" ? (a === "") - (b === "") : a - b || (a > b) - (a < b));
  for (const button of document.querySelectorAll("th > button")) {
    button.addEventListener("click", () => {
      const head = button.parentElement;
      const body = head.closest("table").tBodies[0];
      const down = head.ariaSort === "descending";
      for (const each of head.parentElement.cells) each.ariaSort = null;
      head.ariaSort = down ? "ascending" : "descending";
      const sign = down ? 1 : -1;
      const rows = [...body.rows].map((row) => [value(row, head.cellIndex), row]);
      rows.sort(([a], [b]) => (a === "" || b === "" ? 1 : sign) * compare(a, b));
      body.append(...rows.map(([, row]) => row));
    });
  }

  for (const button of document.querySelectorAll("[data-copy]")) {
    button.addEventListener("click", async () => {
      const place = document.getElementById(button.dataset.copy);
      try {
        await navigator.clipboard.writeText(place.textContent);
        button.textContent = "Copied";
      } catch {
        getSelection().selectAllChildren(place);
        button.textContent = "Selected: press Ctrl-C";
      }
    });
  }
})();

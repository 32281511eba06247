"""A page of charts by plotly.js that needs no network. It knows nothing of what the charts show."""

from __future__ import annotations

import html
import json
from collections.abc import Mapping, Sequence

INK = "#1c1c1e"


def write_page(title: str, said: Sequence[str], figures: Sequence[Mapping[str, object]]) -> bytes:
    """Write one HTML file.

    Args:
        title: of the page.
        said: paragraphs of plain text above the charts.
        figures: data and layout of each chart, as plotly.js takes them.
    """
    from plotly.offline import get_plotlyjs  # pyright: ignore[reportMissingTypeStubs]

    embedded = json.dumps(figures).replace("<", "\\u003c")  # a name of a model must not end the script
    paragraphs = "".join(f"<p>{html.escape(each)}</p>" for each in said)
    page = f"""<!doctype html>
<html lang="en"><head><meta charset="utf-8">
<meta name="viewport" content="width=device-width"><title>{html.escape(title)}</title>
<style>
body {{ font: 15px system-ui, sans-serif; color: {INK}; max-width: 70rem; margin: 2rem auto; }}
body {{ padding: 0 1rem; }}
</style>
<script>{get_plotlyjs()}</script></head>
<body>{paragraphs}<div id="charts"></div>
<script>
for (const figure of {embedded}) {{
  const place = document.createElement("div");
  document.getElementById("charts").append(place);
  Plotly.newPlot(place, figure.data, figure.layout, {{responsive: true, displayModeBar: false}});
}}
</script></body></html>
"""
    return page.encode()

"""HTML that is escaped by construction: whatever is not ``Html`` already is text, and is escaped.

Answers of models come into the page, and may hold anything. It knows no section and no style.
"""

from __future__ import annotations

import html
import json
from collections.abc import Iterable

_VOID = frozenset({"br", "img", "link", "meta"})


class Html(str):
    """Markup that may stand in the page as it is. Made by the functions of this module alone."""

    __slots__ = ()


def element(tag: str, *children: Html | str | None, **attributes: str | bool | None) -> Html:
    """Build one element; text among its children and all attribute values are escaped.

    Args:
        tag: its name.
        children: elements and text, in order; None is left out.
        attributes: ``class_`` is written ``class``, other underscores become hyphens (``aria_label``). True
            stands without a value; False and None are left out.
    """
    written = "".join(
        f" {_name(name)}" if value is True else f' {_name(name)}="{html.escape(value)}"'
        for name, value in attributes.items()
        if value is not None and value is not False
    )
    opened = f"<{tag}{written}>"
    return Html(opened if tag in _VOID else f"{opened}{join(children)}</{tag}>")


def join(children: Iterable[Html | str | None]) -> Html:
    """Put elements and text one after the other."""
    return Html("".join(escape(child) for child in children if child is not None))


def escape(text: Html | str) -> Html:
    """Escape text; markup stays as it is."""
    return text if isinstance(text, Html) else Html(html.escape(text))


def whole(text: str, name: str) -> Html:
    """Escape text; lines do not break within a name in it."""
    if not name:
        return escape(text)
    first, *others = text.split(name)
    marked = element("span", name, class_="whole")
    return join([first, *(part for other in others for part in (marked, other))])


def own(markup: str) -> Html:
    """Trust markup, style or script that this package ships or made; never text of a run."""
    return Html(markup)


def json_text(value: object) -> Html:
    """Write JSON for a ``<script type="application/json">``: nothing in it can end the element."""
    text = json.dumps(value, ensure_ascii=False, allow_nan=False, separators=(",", ":"))
    return Html(text.replace("&", r"\u0026").replace("<", r"\u003c").replace(">", r"\u003e"))


def table(
    head: Iterable[Html | str],
    rows: Iterable[Iterable[Html | str]],
    *,
    label: str,
    numbers: bool = True,
    marked: str | None = None,
) -> Html:
    """Build a table whose first column names the rows; it scrolls within its own box when it is too wide.

    Args:
        head: names of the columns.
        rows: cells; the first of each row is its header.
        label: what the table shows, for those who cannot see it.
        numbers: align all but the first column to the right.
        marked: the row that stands out, by its first cell.
    """
    headers = element("tr", *(element("th", cell, scope="col") for cell in head))
    lines = [_row(first, others, "bred" if first == marked else None) for first, *others in rows]
    content = element(
        "table",
        element("thead", headers),
        element("tbody", *lines),
        class_="numbers" if numbers else None,
        aria_label=label,
    )
    return element("div", content, class_="scroll", tabindex="0", role="region", aria_label=label)


def _row(first: Html | str, others: Iterable[Html | str], class_: str | None) -> Html:
    cells = (element("td", cell) for cell in others)
    return element("tr", element("th", first, scope="row"), *cells, class_=class_)


def _name(attribute: str) -> str:
    return attribute.rstrip("_").replace("_", "-")

"""Reads a page: tags, attributes and text; raises when tags do not match."""

import json
from functools import cache
from html.parser import HTMLParser
from pathlib import Path
from typing import Any

from kingyo.store import RunStore
from kingyo.views.page import page_view, render_page
from kingyo.views.run_data import RunData, read_run_data

VOID = {"meta", "br", "link", "img"}


class Reader(HTMLParser):
    def __init__(self, page: str) -> None:
        super().__init__(convert_charrefs=True)
        self.open: list[str] = []
        self.attributes: list[tuple[str, str, str]] = []
        self.texts: list[str] = []
        self.scripts: list[str] = []
        self.tags: list[str] = []
        self.feed(page)
        self.close()
        assert self.open == []

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.tags.append(tag)
        self.attributes += [(tag, name, value or "") for name, value in attrs]
        if tag not in VOID:
            self.open.append(tag)

    def handle_endtag(self, tag: str) -> None:
        if tag not in ("path", "svg") or tag in self.open:
            assert self.open.pop() == tag

    def handle_startendtag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.tags.append(tag)

    def handle_data(self, data: str) -> None:
        if self.open and self.open[-1] == "script":
            self.scripts.append(data)
        elif self.open and self.open[-1] != "style":
            self.texts.append(data)

    @property
    def text(self) -> str:
        return plain(" ".join(self.texts))

    def values(self, attribute: str) -> list[str]:
        return [value for _, name, value in self.attributes if name == attribute]


def plain(text: str) -> str:
    """Return a text with single spaces, none of which keeps lines together."""
    return " ".join(text.split())


def data_of_run(folder: Path) -> RunData:
    with RunStore.read(folder) as store:
        return read_run_data(store)


@cache
def rendered(folder: Path) -> str:
    return render_page(page_view(data_of_run(folder))).decode()


def data_of(spec: Any, datasets: dict[str, Any]) -> list[dict[str, Any]]:
    """All rows that a chart shows, layer by layer."""
    shared = spec.get("data")
    rows: list[dict[str, Any]] = []
    for each in spec.get("layer", [spec]):
        data = each.get("data", shared)
        rows += data["values"] if "values" in data else datasets[data["name"]]
    return rows


def as_json(value: object) -> Any:
    return json.loads(json.dumps(value, allow_nan=False))

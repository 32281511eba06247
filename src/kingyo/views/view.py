"""A view: tables, statements, charts and cards of items as plain data, for any renderer, also as JSON."""

import re
from collections.abc import Mapping
from dataclasses import dataclass, field
from fnmatch import fnmatchcase
from pathlib import Path

from kingyo.views.charts import Chart, Datasets, Rows


@dataclass(frozen=True)
class Cell:
    """A text, what stands small beside it, such as an interval, and a number to sort by."""

    text: str
    detail: str = ""
    value: float | None = None

    def __str__(self) -> str:
        return f"{self.text} {self.detail}".rstrip()


Row = tuple[Cell, ...]


@dataclass(frozen=True, kw_only=True)
class Table:
    """A table."""

    title: str
    head: Row
    rows: tuple[Row, ...]
    marked: str = ""
    note: str = ""
    has_numbers: bool = True
    is_sortable: bool = False


@dataclass(frozen=True, kw_only=True)
class Statement:
    """A sentence, or more, with commands between backticks; ``lead`` is its number, ``detail`` the rest."""

    topic: str
    text: str
    lead: str = ""
    detail: str = ""
    is_warning: bool = False
    is_command: bool = False

    def __str__(self) -> str:
        warning = "Warning: " if self.is_warning else ""
        text = f"{self.text}: {self.lead}" if self.lead else self.text
        return f"{warning}{text}{f', {self.detail}' if self.detail else ''}"


@dataclass(frozen=True, kw_only=True)
class Image:
    """An image; ``url`` holds it, or a thumbnail, and is empty if it is lost or unreadable."""

    name: str
    url: str


@dataclass(frozen=True, kw_only=True)
class Answer:
    """A model's answer to an item; ``mark`` is ✓, ✗, or its score in percent."""

    model: str
    mark: str
    text: str
    is_cut: bool
    image: Image | None


@dataclass(frozen=True, kw_only=True)
class ItemCard:
    """An item with the answers of models."""

    id: str
    task: str
    prompt: str
    expected: str
    seed: int | None
    choices: tuple[str, ...] = ()
    images: tuple[Image, ...] = ()
    answers: tuple[Answer, ...] = ()


@dataclass(frozen=True, kw_only=True)
class Cards:
    """Items with answers; ``shown`` of them are not folded. ``models`` are the columns of a contact sheet."""

    title: str = ""
    note: str = ""
    items: tuple[ItemCard, ...]
    shown: int = 6
    models: tuple[str, ...] = ()


@dataclass(frozen=True, kw_only=True)
class Section:
    """A part of a page: statements, tables, charts (also ``slice-*``) and cards; None cannot fold."""

    name: str
    title: str
    hint: str = ""
    blocks: tuple[str, ...]
    is_open: bool | None = False


@dataclass(frozen=True, kw_only=True)
class RunView:
    """A run as it is shown; ``example``: where an item is from, and the item."""

    run: str
    folder: str
    status: str
    trials: int
    statements: tuple[Statement, ...]
    tables: Mapping[str, Table]
    charts: Mapping[str, Chart] = field(default_factory=dict[str, Chart])
    datasets: Datasets = field(default_factory=dict[str, Rows])
    cards: Mapping[str, Cards] = field(default_factory=dict[str, Cards])
    example: tuple[str, ItemCard] | None = None
    panels: tuple[Section, ...] = ()
    sections: tuple[Section, ...] = ()
    source: str = ""

    def said(self, *topics: str) -> list[Statement]:
        return [each for topic in topics for each in self.statements if each.topic == topic]

    def matching(self, block: str) -> list[Chart]:
        """Return the charts of a block such as ``slice-*``."""
        return [chart for name, chart in self.charts.items() if fnmatchcase(name, block)]


_FOLDERS = re.compile(r"(?<![\w/.~:<])/(?:[^\s/:+'\"`<>]+/)+")
"""The folders of an absolute path, which may begin after a quote or a ``+``."""


def shown_folder(folder: Path) -> Path:
    """Return a folder as commands on the page name it: relative to the working directory, or its name."""
    if not folder.is_absolute():
        return folder
    here = Path.cwd()
    return folder.relative_to(here) if here in folder.parents else Path(folder.name)


def without_places(text: str, folder: Path) -> str:
    """Return a text with a run's folder as it is shown, and the last parts of other absolute paths."""
    if folder.is_absolute():
        text = text.replace(str(folder), str(shown_folder(folder)))
    return _FOLDERS.sub("…/", text)

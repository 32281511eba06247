"""The command that says what there is: list methods, strategies, graders, presets."""

from __future__ import annotations

import dataclasses
import inspect
import json
import re
from enum import StrEnum
from typing import Annotated

import typer
from rich.console import Console
from rich.markup import escape
from rich.table import Table

from kingyo.errors import KingyoError

ATTRIBUTE = re.compile(r"^    (\w+): (.+)$", re.MULTILINE)
OWN_GRADER = (
    "A function of your own: def FUNCTION(answer, item), with the model's text and the item, whose right "
    "answer is item.answer; it returns true, false or a number from 0 to 1."
)


@dataclasses.dataclass(frozen=True, kw_only=True)
class Row:
    """One thing that can be named in a run.yaml or a recipe."""

    name: str
    doc: str
    options: list[str]


class What(StrEnum):
    """What can be listed."""

    methods = "methods"
    strategies = "strategies"
    graders = "graders"
    presets = "presets"


def add_to(app: typer.Typer) -> None:
    """Register the command."""
    app.command("list")(show_list)


def show_list(
    what: Annotated[What, typer.Argument(help="What to list.")],
    as_json: Annotated[bool, typer.Option("--json", help="Print JSON instead of text.")] = False,
    as_markdown: Annotated[
        bool, typer.Option("--markdown", help="Print the page docs/methods.md (methods only).")
    ] = False,
) -> None:
    """List merge methods, strategies, graders or presets, with their options.

    Example: `kingyo list methods`
    """
    if as_markdown:
        typer.echo(_page(what), nl=False)
        return
    if as_json:
        typer.echo(json.dumps(_as_data(what), ensure_ascii=False, indent=2))
        return
    table = Table("name", "what", "options", show_lines=True)
    for row in _rows(what):
        table.add_row(row.name, escape(row.doc), escape("\n".join(row.options)))
    Console().print(table)


def _rows(what: What) -> list[Row]:
    return {
        What.methods: _methods,
        What.strategies: _strategies,
        What.graders: _graders,
        What.presets: _presets,
    }[what]()


def _as_data(what: What) -> list[dict[str, object]]:
    if what is not What.methods:
        return [dataclasses.asdict(row) for row in _rows(what)]
    from kingyo.methods.catalogue import describe, ordered

    return [describe(name) for name in ordered()]


def _page(what: What) -> str:
    from kingyo.methods.catalogue import page

    if what is not What.methods:
        raise KingyoError(
            "--markdown",
            expected="methods, which have a page",
            received=what.value,
            remedy="Leave the flag out, or take --json.",
        )
    return page()


def _methods() -> list[Row]:
    from kingyo.methods import METHODS
    from kingyo.methods.catalogue import default, inputs, kind, ordered, searched

    found: list[Row] = []
    for name in ordered():
        method = METHODS.get(name)
        options = [
            f"{each.name} ({default(each)}; {kind(each)}{', per source' if each.per_source else ''}"
            f"{'' if each.search_low is None else f'; searched {searched(each)}'}): {each.doc}"
            for each in method.params
        ]
        found.append(Row(name=name, doc=f"{method.doc} Merges {inputs(method)}.", options=options))
    return found


def _strategies() -> list[Row]:
    from kingyo.strategies import STRATEGIES

    return [_described(name, STRATEGIES.get(name)) for name in STRATEGIES.names()]


def _graders() -> list[Row]:
    from kingyo.tasks import GRADERS

    built_in = [_described(name, GRADERS.get(name)) for name in GRADERS.names()]
    return [*built_in, Row(name="FILE.py:FUNCTION", doc=OWN_GRADER, options=[])]


def _presets() -> list[Row]:
    from kingyo.strategies.presets import PRESETS

    found: list[Row] = []
    for name, preset in PRESETS.items():
        options = [f"{key}: {_shown(value)}" for key, value in preset.settings.items()]
        if preset.merge is not None:
            options.append(f"merge: {preset.merge.method}, groups {preset.merge.groups}")
        found.append(
            Row(
                name=name,
                doc=f"{preset.doc} ({preset.source})",
                options=[f"strategy: {preset.strategy}", *options],
            )
        )
    return found


def _described(name: str, factory: object) -> Row:
    """Describe a class by its docstring and the fields of its settings (or its own)."""
    doc = inspect.getdoc(factory) or ""
    settings = getattr(factory, "Settings", factory)
    if not dataclasses.is_dataclass(settings):
        return Row(name=name, doc=_first_sentence(doc), options=[])
    said = dict(ATTRIBUTE.findall(inspect.getdoc(settings) or ""))
    options = [
        f"{field.name} ({_shown(field.default)}): {field.metadata.get('doc') or said.get(field.name, '')}"
        for field in dataclasses.fields(settings)
    ]
    return Row(name=name, doc=_first_sentence(doc), options=options)


def _first_sentence(doc: str) -> str:
    return doc.split("\n\n", maxsplit=1)[0].replace("\n", " ")


def _shown(value: object) -> str:
    if value is None or value is dataclasses.MISSING:
        return "required" if value is dataclasses.MISSING else "none"
    if isinstance(value, bool):
        return str(value).lower()
    return f"{value:g}" if isinstance(value, float) else str(value)

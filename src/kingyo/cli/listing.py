"""The command that says what there is: methods, strategies, graders, presets, kinds, and each of them."""

from __future__ import annotations

import dataclasses
import inspect
import re
from collections.abc import Sequence
from enum import StrEnum
from importlib.util import find_spec
from typing import TYPE_CHECKING, Annotated

import typer

from kingyo.cli.as_json import print_json
from kingyo.cli.terminal import echo
from kingyo.errors import KingyoError, unknown

if TYPE_CHECKING:
    from kingyo.cli.console import Console

ATTRIBUTE = re.compile(r"^    (\w+): (.+)$", re.MULTILINE)
EXTRAS = {"bayes": ("optuna",), "language": ("lingua",)}
"""Extra -> the modules that it installs."""
OWN_GRADER = (
    "A function of your own: def FUNCTION(answer, item), with the model's text and the item, whose right "
    "answer is item.answer; it returns true, false or a number from 0 to 1."
)


@dataclasses.dataclass(frozen=True, kw_only=True)
class Listing:
    """One thing that can be named in a run.yaml or a recipe.

    Attributes:
        name: of it.
        doc: what it is.
        options: what it can be told, each with its default.
        more: what those who choose may want to know beside.
        extra: the extra of an installation that it needs, if any.
        is_for_most: whether it is one of the few that most runs choose from.
    """

    name: str
    doc: str
    options: list[str]
    more: str = ""
    extra: str | None = None
    is_for_most: bool = False

    @property
    def is_installed(self) -> bool:
        """Whether its extra is installed, or none is needed."""
        return all(find_spec(each) is not None for each in EXTRAS.get(self.extra or "", ()))

    @property
    def line(self) -> str:
        """Its description, with the extra that it needs, in one line."""
        if self.extra is None:
            return self.doc
        here = "installed" if self.is_installed else f"in a clone: pip install -e '.[{self.extra}]'"
        return f"{self.doc} Extra: {self.extra} ({here})."


class ListKind(StrEnum):
    """What can be listed."""

    methods = "methods"
    strategies = "strategies"
    graders = "graders"
    presets = "presets"
    kinds = "kinds"


def add_to(app: typer.Typer) -> None:
    """Register the command."""
    app.command("list")(show_list)


def show_list(
    what: Annotated[ListKind, typer.Argument(help="What to list.")],
    name: Annotated[
        str | None, typer.Argument(metavar="[NAME]", help="One of them, with all its options.")
    ] = None,
    as_json: Annotated[bool, typer.Option("--json", help="Print JSON instead of text.")] = False,
    as_markdown: Annotated[
        bool, typer.Option("--markdown", help="Print the page docs/methods.md (methods only).")
    ] = False,
) -> None:
    """List merge methods, strategies, graders, presets or kinds of models; or one of them, with its options.

    Example: `kingyo list methods`, then `kingyo list methods ties`
    """
    if as_markdown:
        echo(_page(what, name), nl=False)
        return
    if as_json:
        print_json(_as_data(what, name))
        return
    from rich.markup import escape
    from rich.table import Table

    from kingyo.cli.console import Console

    rows, console = _rows(what), Console()
    if name is not None:
        _print_one(console, next(row for row in rows if row.name == _known(name, what, rows)))
        return
    table = Table.grid(padding=(0, 2))
    for row in rows:
        if row.is_for_most != rows[max(0, rows.index(row) - 1)].is_for_most:
            table.add_row()
        table.add_row(escape(row.name), escape(row.line))
    if rows[0].is_for_most:
        console.print("For most runs, the default first; below them the others.\n")
    console.print(table)
    can = "do" if what is ListKind.kinds else "be given"
    echo(f"\n`kingyo list {what.value} NAME` says what one of them can {can}.")


def _known(name: str, what: ListKind, rows: list[Listing]) -> str:
    names = [row.name for row in rows]
    if name not in names:
        raise unknown(what.value, name, names)
    return name


def _print_one(console: Console, row: Listing) -> None:
    from rich.markup import escape
    from rich.padding import Padding

    console.print(f"[bold]{escape(row.name)}[/bold]: {escape(row.line)}")
    if row.more:
        console.print(escape(row.more))
    for option in row.options:
        console.print(Padding(escape(option), (1 if option == row.options[0] else 0, 0, 0, 2)))


def _rows(what: ListKind) -> list[Listing]:
    return {
        ListKind.methods: _methods,
        ListKind.strategies: _strategies,
        ListKind.graders: _graders,
        ListKind.presets: _presets,
        ListKind.kinds: _kinds,
    }[what]()


def _as_data(what: ListKind, name: str | None) -> list[dict[str, object]]:
    rows = _rows(what)
    if name is not None:
        rows = [row for row in rows if row.name == _known(name, what, rows)]
    if what is not ListKind.methods:
        return [
            {
                "name": row.name,
                "doc": row.doc,
                "options": row.options,
                "for_most_runs": row.is_for_most,
                "extra": row.extra,
                "installed": row.is_installed,
            }
            for row in rows
        ]
    from kingyo.methods.catalogue import describe

    return [describe(row.name) for row in rows]


def _page(what: ListKind, name: str | None) -> str:
    from kingyo.methods.catalogue import page

    if name is not None:
        raise KingyoError(
            "--markdown", expected="all methods", received=name, remedy="Leave out the name, or the flag."
        )
    if what is not ListKind.methods:
        raise KingyoError(
            "--markdown",
            expected="methods, which have a page",
            received=what.value,
            remedy="Leave the flag out, or take --json.",
        )
    return page()


def _methods() -> list[Listing]:
    from kingyo.methods import METHODS
    from kingyo.methods.catalogue import default, inputs, kind, ordered, searched
    from kingyo.methods.contract import guide_of

    found: list[Listing] = []
    for name in ordered():
        method = METHODS.get(name)
        options = [
            f"{each.name} ({default(each)}; {kind(each)}{', per source' if each.per_source else ''}"
            f"{'' if each.search_low is None else f'; searched {searched(each)}'}): {each.doc}"
            for each in method.params
        ]
        guide = guide_of(method)
        more = f"Merges {inputs(method)}." + (f" When: {guide.when}" if guide else "")
        found.append(Listing(name=name, doc=method.doc, options=options, more=more))
    return found


def _strategies() -> list[Listing]:
    from kingyo.strategies import STRATEGIES
    from kingyo.strategies.presets import PRESETS, RECOMMENDED

    rows = {name: _described(name, STRATEGIES.get(name)) for name in STRATEGIES.names()}
    return _for_most_first(rows, [PRESETS[name].strategy for name in RECOMMENDED])


def _for_most_first(rows: dict[str, Listing], names: Sequence[str]) -> list[Listing]:
    first = [dataclasses.replace(rows[name], is_for_most=True) for name in names]
    return [*first, *(row for name, row in rows.items() if name not in names)]


def _graders() -> list[Listing]:
    from kingyo.tasks import GRADERS

    built_in = [_described(name, GRADERS.get(name)) for name in GRADERS.names()]
    return [*built_in, Listing(name="FILE.py:FUNCTION", doc=OWN_GRADER, options=[])]


def _kinds() -> list[Listing]:
    """Kinds of models; their options are what they can do."""
    from kingyo.models.kinds import ABILITIES, MODEL_KINDS, described

    found: list[Listing] = []
    for name in MODEL_KINDS.names():
        kind = MODEL_KINDS.get(name)
        abilities = [*kind.provides, *(each for each in ABILITIES if isinstance(kind, each))]
        doc = _first_sentence(inspect.getdoc(kind) or "")
        found.append(Listing(name=name, doc=doc, options=[described(each) for each in abilities]))
    return found


def _presets() -> list[Listing]:
    from kingyo.strategies import STRATEGIES
    from kingyo.strategies.presets import PRESETS, RECOMMENDED

    found: dict[str, Listing] = {}
    for name, preset in PRESETS.items():
        options = [f"{key}: {_shown(value)}" for key, value in preset.settings.items()]
        options += [f"screen.{key}: {_shown(value)}" for key, value in preset.screen.items()]
        if preset.fewest_items is not None:
            options.append(
                f"screen.items: {preset.fewest_items} to {preset.screen['items']}, a hundredth of a budget "
                "of item_evaluations alone"
            )
        if preset.merge is not None:
            options.append(f"merge: {preset.merge.method}, groups {preset.merge.groups}")
        found[name] = Listing(
            name=name,
            doc=f"{preset.doc} ({preset.source})",
            options=[f"strategy: {preset.strategy}", *options],
            extra=_extra(STRATEGIES.get(preset.strategy)),
        )
    return _for_most_first(found, RECOMMENDED)


def _extra(factory: object) -> str | None:
    return getattr(factory, "extra", None)


def _described(name: str, factory: object) -> Listing:
    """Describe a class by its docstring and the fields of its settings (or its own)."""
    doc = inspect.getdoc(factory) or ""
    settings = getattr(factory, "Settings", factory)
    if not dataclasses.is_dataclass(settings):
        return Listing(name=name, doc=_first_sentence(doc), options=[], extra=_extra(factory))
    said = dict(ATTRIBUTE.findall(inspect.getdoc(settings) or ""))
    options = [
        f"{field.name} ({_shown(field.default)}): {field.metadata.get('doc') or said.get(field.name, '')}"
        for field in dataclasses.fields(settings)
    ]
    return Listing(name=name, doc=_first_sentence(doc), options=options, extra=_extra(factory))


def _first_sentence(doc: str) -> str:
    return doc.split("\n\n", maxsplit=1)[0].replace("\n", " ")


def _shown(value: object) -> str:
    if value is None or value == () or value is dataclasses.MISSING:
        return "required" if value is dataclasses.MISSING else "none"
    if isinstance(value, bool):
        return str(value).lower()
    return f"{value:g}" if isinstance(value, float) else str(value)

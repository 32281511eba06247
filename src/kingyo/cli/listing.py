"""The command ``list``: methods, strategies, graders, presets and kinds of models."""

import dataclasses
import inspect
from collections.abc import Callable, Mapping, Sequence
from typing import Literal

from rich.markup import escape
from rich.padding import Padding
from rich.table import Table

from kingyo.api.options import docs_of
from kingyo.cli.console import Console
from kingyo.cli.output import echo, print_json
from kingyo.core.io.extras import install_command
from kingyo.errors import unknown_name_error

OWN_GRADERS = {
    "FILE.py:FUNCTION": "Your own function: def FUNCTION(answer, item), with the answer of the model and the "
    "item, whose correct answer is item.answer. It returns true, false or a number from 0 to 1.",
    "FILE.py:CLASS": "Images: your own frozen dataclass with __call__(self, pictures, items), which returns "
    "a number from 0 to 1 for each picture. Its fields are the options.",
}

ListKind = Literal["methods", "strategies", "graders", "presets", "kinds"]


@dataclasses.dataclass(frozen=True, kw_only=True)
class Listing:
    """One thing that can be named in a run.yaml or a recipe; ``extra`` is that of the package."""

    name: str
    doc: str
    options: list[str] = dataclasses.field(default_factory=list[str])
    for_most_runs: bool = False
    extra: str | None = None

    def __str__(self) -> str:
        extra = f" Extra: {self.extra} (`{install_command(self.extra)}`)." if self.extra else ""
        return f"{self.doc}{extra}"


def show_list(kind: ListKind, name: str | None = None, *, as_json: bool = False) -> None:
    """List merge methods, strategies, graders, presets or kinds of models; or show one with its options.

    Example: `kingyo list methods`, then `kingyo list methods ties`

    Args:
        kind: what to list.
        name: show this one with all its options.
    """
    from kingyo.merging.methods.catalogue import describe

    listings = _LISTINGS[kind]()
    names = [each.name for each in listings]
    if name is not None and name not in names:
        raise unknown_name_error(kind, name, names)
    shown = [each for each in listings if name in (None, each.name)]
    console = Console()
    if as_json:
        print_json([describe(each.name) if kind == "methods" else vars(each) for each in shown])
    elif name is None:
        if any(each.for_most_runs for each in shown):
            console.print("Those for most runs come first, with the default.\n")
        table = Table.grid(padding=(0, 2))
        for each in shown:
            table.add_row(escape(each.name), escape(str(each)))
        console.print(table)
        echo(f"\n`kingyo list {kind} NAME` shows the {'abilities' if kind == 'kinds' else 'options'} of one.")
    else:
        console.print(f"[bold]{escape(name)}[/bold]: {escape(str(shown[0]))}")
        for i, option in enumerate(shown[0].options):
            console.print(Padding(escape(option), (0 if i else 1, 0, 0, 2)))


def _methods() -> list[Listing]:
    from kingyo.merging.methods import METHODS
    from kingyo.merging.methods.catalogue import inputs, ordered, text, values

    listings: list[Listing] = []
    for name in ordered():
        method = METHODS.get(name)
        when = text(method, "when")
        options = [f"Merges {inputs(method)}.{f' When: {when}' if when else ''}"]
        options += [
            f"{each.name} ({values(each)}; {each.valid}{', per source' * each.per_source}): {each.doc}"
            for each in method.params
        ]
        listings.append(Listing(name=name, doc=method.doc, options=options))
    return listings


def strategies() -> list[Listing]:
    """Return all strategies, those of recommended presets first."""
    from kingyo.search.strategies import STRATEGIES
    from kingyo.search.strategies.presets import PRESETS, RECOMMENDED

    listings = {name: _described(name, STRATEGIES.get(name)) for name in STRATEGIES.names()}
    return _for_most_first(listings, [PRESETS[name].strategy for name in RECOMMENDED])


def _graders() -> list[Listing]:
    from kingyo.tasks.graders.grader import GRADERS, graders_of

    of_images = [_described(name, GRADERS.get(name)) for name in graders_of("images")]
    return [
        *(_described(name, GRADERS.get(name)) for name in graders_of("texts")),
        *(dataclasses.replace(each, doc=f"Images: {each.doc}") for each in of_images),
        *(Listing(name=name, doc=doc) for name, doc in OWN_GRADERS.items()),
    ]


def _kinds() -> list[Listing]:
    from kingyo.models.kinds import ABILITIES, MODEL_KINDS, described

    listings: list[Listing] = []
    for name in MODEL_KINDS.names():
        kind = MODEL_KINDS.get(name)
        abilities = [*kind.provides, *(each for each in ABILITIES if isinstance(kind, each))]
        options = [*map(described, abilities)]
        listings.append(Listing(name=name, doc=_first_paragraph(kind), options=options))
    return listings


def _presets() -> list[Listing]:
    from kingyo.search.strategies import STRATEGIES
    from kingyo.search.strategies.presets import PRESETS, RECOMMENDED

    listings: dict[str, Listing] = {}
    for name, preset in PRESETS.items():
        settings = {**preset.settings, **{f"screen.{key}": value for key, value in preset.screen.items()}}
        if preset.merge is not None:
            settings["merge"] = f"{preset.merge.method}, groups {preset.merge.groups}"
        listings[name] = Listing(
            name=name,
            doc=f"{preset.doc} ({preset.source})",
            options=[
                f"strategy: {preset.strategy}",
                *(f"{key}: {_shown(value)}" for key, value in settings.items()),
            ],
            extra=getattr(STRATEGIES.get(preset.strategy), "extra", None),
        )
    return _for_most_first(listings, RECOMMENDED)


def _for_most_first(listings: dict[str, Listing], names: Sequence[str]) -> list[Listing]:
    first = [dataclasses.replace(listings[name], for_most_runs=True) for name in names]
    return [*first, *(each for name, each in listings.items() if name not in names)]


def _described(name: str, factory: object) -> Listing:
    settings, options = getattr(factory, "Settings", factory), list[str]()
    if dataclasses.is_dataclass(settings):
        docs = docs_of(settings if isinstance(settings, type) else type(settings))
        options = [
            f"{field.name} ({_shown(field.default)}): {docs[field.name]}"
            for field in dataclasses.fields(settings)
        ]
    extra: str | None = getattr(factory, "extra", None)
    return Listing(name=name, doc=_first_paragraph(factory), options=options, extra=extra)


def _first_paragraph(documented: object) -> str:
    return (inspect.getdoc(documented) or "").split("\n\n", maxsplit=1)[0].replace("\n", " ")


def _shown(value: object) -> str:
    if value is dataclasses.MISSING:
        return "required"
    if value is None or value == ():
        return "none"
    if isinstance(value, bool):
        return str(value).lower()
    return f"{value:g}" if isinstance(value, float) else str(value)


_LISTINGS: Mapping[ListKind, Callable[[], list[Listing]]] = {
    "methods": _methods,
    "strategies": strategies,
    "graders": _graders,
    "presets": _presets,
    "kinds": _kinds,
}

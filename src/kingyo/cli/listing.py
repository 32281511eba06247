"""What ``kingyo list`` can list: methods, strategies, graders, presets and kinds of models."""

from __future__ import annotations

import dataclasses
import inspect
import re
from collections.abc import Mapping, Sequence
from importlib.util import find_spec

ATTRIBUTE = re.compile(r"^    (\w+): (.+)$", re.MULTILINE)
EXTRAS = {"bayes": ("optuna",), "language": ("lingua",)}
"""Extra -> the modules that it installs."""
OWN_GRADER = (
    "Your own function: def FUNCTION(answer, item), with the answer of the model and the item, whose correct "
    "answer is item.answer. It returns true, false or a number from 0 to 1."
)


@dataclasses.dataclass(frozen=True, kw_only=True)
class Listing:
    """One thing that can be named in a run.yaml or a recipe.

    Attributes:
        name: its name.
        doc: what it is.
        options: its options, each with its default.
        more: further help with the choice.
        extra: the extra of the package that it needs; None if it needs none.
        is_for_most: whether it is one of the few that suit most runs.
        record: its JSON data; None makes them from the other attributes.
    """

    name: str
    doc: str
    options: list[str]
    more: str = ""
    extra: str | None = None
    is_for_most: bool = False
    record: Mapping[str, object] | None = None

    @property
    def is_installed(self) -> bool:
        """Whether its extra is installed, or none is needed."""
        return all(find_spec(each) is not None for each in EXTRAS.get(self.extra or "", ()))

    @property
    def line(self) -> str:
        """Its description in one line, with the extra that it needs."""
        if self.extra is None:
            return self.doc
        state = "installed" if self.is_installed else f"in a clone: pip install -e '.[{self.extra}]'"
        return f"{self.doc} Extra: {self.extra} ({state})."

    def to_json(self) -> Mapping[str, object]:
        """Return it as JSON data."""
        if self.record is not None:
            return self.record
        return {
            "name": self.name,
            "doc": self.doc,
            "options": self.options,
            "for_most_runs": self.is_for_most,
            "extra": self.extra,
            "installed": self.is_installed,
        }


def methods() -> list[Listing]:
    """Return all merge methods, by family."""
    from kingyo.methods import METHODS
    from kingyo.methods.catalogue import default, describe, inputs, kind, ordered, searched
    from kingyo.methods.contract import guide_of

    listings: list[Listing] = []
    for name in ordered():
        method = METHODS.get(name)
        options = [
            f"{each.name} ({default(each)}; {kind(each)}{', per source' if each.per_source else ''}"
            f"{'' if each.search_low is None else f'; searched {searched(each)}'}): {each.doc}"
            for each in method.params
        ]
        guide = guide_of(method)
        more = f"Merges {inputs(method)}." + (f" When: {guide.when}" if guide else "")
        listings.append(Listing(name=name, doc=method.doc, options=options, more=more, record=describe(name)))
    return listings


def strategies() -> list[Listing]:
    """Return all search strategies; those for most runs come first."""
    from kingyo.strategies import STRATEGIES
    from kingyo.strategies.presets import PRESETS, RECOMMENDED

    listings = {name: _described(name, STRATEGIES.get(name)) for name in STRATEGIES.names()}
    return _for_most_first(listings, [PRESETS[name].strategy for name in RECOMMENDED])


def graders() -> list[Listing]:
    """Return the built-in graders, and how to write one."""
    from kingyo.tasks import GRADERS

    built_in = [_described(name, GRADERS.get(name)) for name in GRADERS.names()]
    return [*built_in, Listing(name="FILE.py:FUNCTION", doc=OWN_GRADER, options=[])]


def kinds() -> list[Listing]:
    """Return all kinds of models. Their options are what such models can do."""
    from kingyo.models.kinds import ABILITIES, MODEL_KINDS, described

    listings: list[Listing] = []
    for name in MODEL_KINDS.names():
        kind = MODEL_KINDS.get(name)
        abilities = [*kind.provides, *(each for each in ABILITIES if isinstance(kind, each))]
        doc = _first_paragraph(inspect.getdoc(kind) or "")
        listings.append(Listing(name=name, doc=doc, options=[described(each) for each in abilities]))
    return listings


def presets() -> list[Listing]:
    """Return all presets of a search; those for most runs come first."""
    from kingyo.strategies import STRATEGIES
    from kingyo.strategies.presets import PRESETS, RECOMMENDED

    listings: dict[str, Listing] = {}
    for name, preset in PRESETS.items():
        options = [f"{key}: {_shown(value)}" for key, value in preset.settings.items()]
        options += [f"screen.{key}: {_shown(value)}" for key, value in preset.screen.items()]
        if preset.fewest_items is not None:
            options.append(
                f"screen.items: {preset.fewest_items} to {preset.screen['items']}, a hundredth of a budget "
                "that only has item_evaluations"
            )
        if preset.merge is not None:
            options.append(f"merge: {preset.merge.method}, groups {preset.merge.groups}")
        listings[name] = Listing(
            name=name,
            doc=f"{preset.doc} ({preset.source})",
            options=[f"strategy: {preset.strategy}", *options],
            extra=_extra(STRATEGIES.get(preset.strategy)),
        )
    return _for_most_first(listings, RECOMMENDED)


def _for_most_first(listings: dict[str, Listing], names: Sequence[str]) -> list[Listing]:
    first = [dataclasses.replace(listings[name], is_for_most=True) for name in names]
    return [*first, *(each for name, each in listings.items() if name not in names)]


def _extra(factory: object) -> str | None:
    return getattr(factory, "extra", None)


def _described(name: str, factory: object) -> Listing:
    """Describe a class by its docstring and the fields of its settings."""
    doc = inspect.getdoc(factory) or ""
    settings = getattr(factory, "Settings", factory)
    if not dataclasses.is_dataclass(settings):
        return Listing(name=name, doc=_first_paragraph(doc), options=[], extra=_extra(factory))
    ancestors = inspect.getmro(settings if isinstance(settings, type) else type(settings))
    docs = dict(ATTRIBUTE.findall("\n".join(inspect.getdoc(each) or "" for each in ancestors)))
    options = [
        f"{field.name} ({_shown(field.default)}): {field.metadata.get('doc') or docs.get(field.name, '')}"
        for field in dataclasses.fields(settings)
    ]
    return Listing(name=name, doc=_first_paragraph(doc), options=options, extra=_extra(factory))


def _first_paragraph(doc: str) -> str:
    return doc.split("\n\n", maxsplit=1)[0].replace("\n", " ")


def _shown(value: object) -> str:
    if value is None or value == () or value is dataclasses.MISSING:
        return "required" if value is dataclasses.MISSING else "none"
    if isinstance(value, bool):
        return str(value).lower()
    return f"{value:g}" if isinstance(value, float) else str(value)

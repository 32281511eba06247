"""Write the page of methods, and the lists of keys in these pages from the classes of settings.

    python docs/tables.py

A page marks a list with ``<!-- keys: MODULE:CLASS -->``. Words after the class select some of its keys.
"""

from __future__ import annotations

import dataclasses
import importlib
import inspect
import re
from collections import Counter
from collections.abc import Iterator
from pathlib import Path

from pydantic import BaseModel

from kingyo.merging.methods import METHODS
from kingyo.merging.methods.catalogue import (
    family_paragraphs,
    inputs,
    ordered,
    own_paragraphs,
    values,
)
from kingyo.merging.methods.contract import MergeMethod, Parameter, reproduces
from kingyo.search.strategies.presets import PRESETS

DOCS = Path(__file__).parent
TABLE = re.compile(r"(<!-- keys: (\S+?):(\w+)((?: \w+)*) -->\n\n)(?:- .*\n)*\n?")
PRESET_TABLE = re.compile(r"(<!-- presets -->\n\n)(?:\|.*\n)*\n?")
ATTRIBUTE = re.compile(r"^    (\w+): (.+(?:\n {8}.+)*)", re.MULTILINE)
DEFAULT = re.compile(r" ?Default: (.+)\.$")
METHODS_BEGIN = """\
# Merge methods

<!-- Generated from the methods' declarations by `python docs/tables.py`. -->

θ₀ is the base, θᵢ a source, and δᵢ = θᵢ - θ₀ its task vector. The formulas apply to each tensor. All
methods compute in float32 or wider and round once at the end; mergekit computes mostly in the models' dtype.
Results are bit-identical on every machine and with any number of threads, except where a method states
otherwise.

A "per source" parameter may be set for one source or for all. Every value may be a gradient or have filters.
"Searched" is the default range of a search. "Differs" is about mergekit 0.1.5; differences that concern all
methods are [with the recipes](recipes.md#where-mergekit-015-differs)."""
WHERE = {
    "on one machine": "machine",
    "with the same number of threads": "machine with the same number of threads",
}


def with_tables(text: str) -> str:
    """Return a page whose tables say what the classes say."""
    titles = re.findall(r"^#+ (\S+)$", text, re.MULTILINE)

    def table(match: re.Match[str]) -> str:
        settings = getattr(importlib.import_module(match[2]), match[3])
        (section,) = {text[: match.start()].rpartition("\n#")[2].partition("\n")[0].strip("# ")}
        rows: list[str] = []
        for name, meaning, default in keys(settings):
            title = next((each for each in titles if each in (name, f"{section}.{name}")), None)
            shown = f"[`{name}`](#{title.replace('.', '')})" if title not in (None, section) else f"`{name}`"
            if not match[4] or name in match[4].split():
                rows.append(f"- {shown} ({default}): {meaning}")
        return match[1] + "\n".join([*rows, "", ""])

    return PRESET_TABLE.sub(lambda match: match[1] + "\n".join([*presets(), "", ""]), TABLE.sub(table, text))


def presets() -> Iterator[str]:
    """Yield the lines of the table of presets."""
    yield from ("| preset | strategy | items | method, groups |", "|---|---|---|---|")
    for name, preset in PRESETS.items():
        most = str(preset.screen.get("items", "all"))
        items = f"{preset.fewest_items} to {most}" if preset.fewest_items else most
        searched = "paths" if preset.space == "dataflow" else "any"
        if preset.merge is not None:
            searched = f"`{preset.merge.method}`, `{preset.merge.groups}`"
        searched += f"; then paths by `{preset.path_preset}`" if preset.path_preset else ""
        yield f"| `{name}` | `{preset.strategy}` | {items} | {searched} |"


def keys(settings: type[object]) -> Iterator[tuple[str, str, str]]:
    """Yield name, meaning and default of each key of a pydantic model or a dataclass."""
    documented = [inspect.cleandoc(each.__doc__ or "") for each in reversed(settings.__mro__)]
    docs = dict(ATTRIBUTE.findall("\n".join(documented)))
    if issubclass(settings, BaseModel):
        fields = {name: (each.alias or name, each.default) for name, each in settings.model_fields.items()}
    else:
        fields = {each.name: (each.name, each.default) for each in dataclasses.fields(settings)}
    for name, (key, default) in fields.items():
        meaning = " ".join(docs[name].split()).replace("``", "`").replace("|", "\\|")
        stated = DEFAULT.search(meaning)
        meaning = DEFAULT.sub("", meaning)
        yield key, meaning[0].upper() + meaning[1:], stated[1] if stated else _text(default)


def _text(default: object) -> str:
    if default is None or default == ():
        return "none" if default is None else "`[]`"
    if isinstance(default, bool):
        return f"`{str(default).lower()}`"
    if isinstance(default, str):
        return f'`"{default}"`' if "{" in default else f"`{default}`"
    return f"`{default:g}`" if isinstance(default, int | float) else "**required**"


def methods_page() -> str:
    return "\n".join([*_overview(), *_shared(), *(line for name in ordered() for line in _section(name))])


def _overview() -> Iterator[str]:
    yield from (METHODS_BEGIN, "", "| method | merges | when to choose it |", "|---|---|---|")
    for name in ordered():
        method = METHODS.get(name)
        yield f"| [`{name}`](#{name}) | {inputs(method).replace(' or more', '+')} | {method.when} |"
    yield ""


def _shared() -> Iterator[str]:
    """Describe the parameters that several methods have; defaults and ranges are in the sections."""
    yield from ("## Shared parameters", "", "| parameter | value | what it does |", "|---|---|---|")
    for each in _shared_parameters():
        yield f"| `{each.name}` | {_valid(each)} | {each.doc} |"
    yield ""


def _shared_parameters() -> list[Parameter]:
    """Return those with one description in several methods; of one name those with the commonest."""
    params = [each for name in METHODS.names() for each in METHODS.get(name).params]
    counts = Counter(each.doc for each in params)
    by_doc = {each.doc: each for each in params}
    commonest = {by_doc[doc].name: doc for doc, n in reversed(counts.most_common()) if n > 1}
    return [each for doc, each in by_doc.items() if commonest.get(each.name) == doc]


def _valid(each: Parameter) -> str:
    return f"{each.valid}; per source" if each.per_source else each.valid


def _section(name: str) -> Iterator[str]:
    method = METHODS.get(name)
    earlier = [METHODS.get(each) for each in ordered()[: ordered().index(name)]]
    twin = next((each.name for each in earlier if family_paragraphs(each) == family_paragraphs(method)), None)
    yield from (f"## {name}", "", method.doc, "")
    own = own_paragraphs(method)
    alike = f"{'Otherwise as' if own else 'As'} [{twin}](#{twin})."
    yield from (f"{each}\n" for each in ([*own, alike] if twin else [*family_paragraphs(method), *own]))
    facts = ["Uses random numbers."] if method.stochastic else []
    if reproduces(method) in WHERE:
        facts.append(f"Bit-identical only on the same {WHERE[reproduces(method)]}.")
    facts.append(f"Source: {method.source}.")
    yield from (" ".join(facts), "")
    shared = [each.doc for each in _shared_parameters()]
    common = [f"`{each.name}` ({values(each)})" for each in method.params if each.doc in shared]
    yield from (f"[Shared](#shared-parameters): {', '.join(common)}.", "") if common else ()
    special = [each for each in method.params if each.doc not in shared]
    yield from (f"- `{each.name}`: {_valid(each)} ({values(each)}). {each.doc}" for each in special)
    yield from [""] if special else ()
    if differs := _differs(method):
        same = next((each.name for each in earlier if _differs(each) == differs), None)
        yield from (f"Differs: {f'as [{same}](#{same}).' if same else ' '.join(differs)}", "")


def _differs(method: MergeMethod) -> tuple[str, ...]:
    return getattr(method, "differs", ())


if __name__ == "__main__":
    (DOCS / "methods.md").write_text(methods_page(), encoding="utf-8")
    for path in DOCS.glob("*.md"):
        path.write_text(with_tables(path.read_text(encoding="utf-8")), encoding="utf-8")

"""Descriptions of all methods from their declarations, as data and as docs/methods.md."""

from __future__ import annotations

import inspect
from collections import Counter
from collections.abc import Iterator
from dataclasses import asdict

from kingyo.errors import KingyoError
from kingyo.merging.methods import METHODS
from kingyo.merging.methods.contract import (
    MergeMethod,
    Parameter,
    Reproduces,
    guide_of,
    reproduces,
    takes_base,
)

_FAMILIES = (
    ("linear", "slerp", "nuslerp", "multislerp", "karcher", "passthrough"),
    ("task_arithmetic", "model_stock", "ties", "dare_linear", "dare_ties", "della_linear", "della"),
    ("breadcrumbs", "breadcrumbs_ties", "sce", "consensus", "ram", "ramplus_tl"),
    ("nearswap", "arcee_fusion", "tsv", "iso_c", "iso_cts", "singular_bands"),
)
"""The order of the page by families; methods that are not listed come last."""

_INTRODUCTION = """\
# Merge methods

<!-- Generated from the methods' declarations by `python docs/tables.py`. -->

θ₀ is the base, θᵢ a source, and δᵢ = θᵢ - θ₀ its task vector. The formulas apply to each tensor. All
methods compute in float32 or wider and round once at the end; mergekit computes mostly in the models' dtype.
Results are bit-identical on every machine and with any number of threads, except where a method states
otherwise.

A "per source" parameter may be set for one source or for all. Every value may be a gradient or have filters.
"Searched" is the default range of a search. "Differs" is about mergekit 0.1.5; differences that concern all
methods are [with the recipes](recipes.md#where-mergekit-015-differs)."""

_ELSEWHERE: dict[Reproduces, str] = {
    "on one machine": "Bit-identical only on the same machine.",
    "with the same number of threads": "Bit-identical only on the same machine with the same number "
    "of threads.",
}


def with_command(error: KingyoError, method: MergeMethod) -> KingyoError:
    """Add the command that describes a method to a remedy; there is none for a method of a user's file."""
    if method.name not in METHODS.names() or METHODS.get(method.name) is not method:
        return error
    remedy = f"{error.remedy} See `kingyo list methods {method.name}`."
    return KingyoError(error.argument, error.expected, error.received, remedy)


def ordered() -> list[str]:
    """Return the names of all methods, by family."""
    names, first = METHODS.names(), [name for family in _FAMILIES for name in family]
    return [*(name for name in first if name in names), *(name for name in names if name not in first)]


def describe(name: str) -> dict[str, object]:
    """Return everything that a method declares, as plain data."""
    method, guide = METHODS.get(name), guide_of(METHODS.get(name))
    return {
        "name": name,
        "doc": method.doc,
        "how": "\n\n".join(_how(method)),
        "when": guide.when if guide else None,
        "source": guide.source if guide else None,
        "differs": list(guide.differs) if guide else [],
        "needs_base": method.needs_base,
        "takes_base": takes_base(method),
        "min_sources": method.min_sources,
        "max_sources": method.max_sources,
        "stochastic": method.stochastic,
        "reproduces": reproduces(method),
        "parameters": [asdict(each) for each in method.params],
    }


def inputs(method: MergeMethod) -> str:
    """Return a method's inputs as text, such as "a base and 1 source" or "2 sources, optionally a base"."""
    least, most = method.min_sources, method.max_sources
    number = f"{least}" if least == most else f"{least} or more" if most is None else f"{least} to {most}"
    sources = f"{number} source{'' if most == 1 else 's'}"
    if method.needs_base:
        return f"a base and {sources}"
    return f"{sources}, optionally a base" if takes_base(method) else sources


def kind(parameter: Parameter) -> str:
    """Return a parameter's type and bounds as text."""
    if parameter.kind == "bool":
        return "true or false"
    noun = "whole number" if parameter.kind == "int" else "number"
    is_free = parameter.low is None and parameter.high is None
    return noun if is_free else f"{noun} {parameter.describe_bounds()}"


def default(parameter: Parameter) -> str:
    """Return a parameter's default as text, or "required"."""
    value = parameter.default
    if value is None:
        return "required"
    return str(value).lower() if isinstance(value, bool) else f"{value:g}"


def searched(parameter: Parameter) -> str:
    """Return a parameter's search range as text, or a dash."""
    if parameter.search_low is None or parameter.search_high is None:
        return "–"
    scale = ", log scale" if parameter.search_scale == "log" else ""
    return f"{parameter.search_low:g} to {parameter.search_high:g}{scale}"


def page() -> str:
    """Return the text of docs/methods.md."""
    return "\n".join([*_overview(), *_shared(), *(line for name in ordered() for line in _section(name))])


def _overview() -> Iterator[str]:
    yield from (_INTRODUCTION, "", "| method | merges | when to choose it |", "|---|---|---|")
    for name in ordered():
        method, guide = METHODS.get(name), guide_of(METHODS.get(name))
        merged = inputs(method).replace(" or more", "+")
        yield f"| [`{name}`](#{name}) | {merged} | {guide.when if guide else ''} |"
    yield ""


def _shared() -> Iterator[str]:
    """Describe the parameters that several methods have; defaults and ranges are in the sections."""
    yield from ("## Shared parameters", "", "| parameter | value | what it does |", "|---|---|---|")
    for each in _shared_parameters():
        yield f"| `{each.name}` | {kind(each)}{'; per source' if each.per_source else ''} | {each.doc} |"
    yield ""


def _shared_parameters() -> list[Parameter]:
    every = {each.doc: each for name in METHODS.names() for each in METHODS.get(name).params}
    counts = Counter(each.doc for name in METHODS.names() for each in METHODS.get(name).params)
    commonest = {every[doc].name: every[doc] for doc, n in reversed(counts.most_common()) if n > 1}
    return [each for each in every.values() if each in commonest.values()]


def _line(each: Parameter) -> str:
    own = "; per source" if each.per_source else ""
    return f"- `{each.name}`: {kind(each)}{own} ({_values(each)}). {each.doc}"


def _values(each: Parameter) -> str:
    return default(each) + ("" if each.search_low is None else f", searched {searched(each)}")


def _section(name: str) -> Iterator[str]:
    method, guide = METHODS.get(name), guide_of(METHODS.get(name))
    earlier = ordered()[: ordered().index(name)]
    yield from (f"## {name}", "", method.doc, "")
    how = _how(method)
    twin = next((each for each in earlier if set(_how(METHODS.get(each))) & set(how)), None)
    if twin:  # its paragraphs are not repeated
        new = [each for each in how if each not in _how(METHODS.get(twin))]
        how = [*new, f"{'Otherwise as' if new else 'As'} [{twin}](#{twin})."]
    yield from (f"{each}\n" for each in how)
    facts = ["Uses random numbers."] if method.stochastic else []
    facts += [_ELSEWHERE[reproduces(method)]] if reproduces(method) in _ELSEWHERE else []
    facts += [f"Source: {_source(guide.source, earlier)}."] if guide else []
    yield from (" ".join(facts), "")
    shared = [each.doc for each in _shared_parameters()]
    common = [f"`{each.name}` ({_values(each)})" for each in method.params if each.doc in shared]
    yield from (f"[Shared](#shared-parameters): {', '.join(common)}.", "") if common else ()
    special = [each for each in method.params if each.doc not in shared]
    yield from (*map(_line, special), "") if special else ()
    if guide and guide.differs:
        twin = next((each for each in earlier if _differs(each) == guide.differs), None)
        shown = [f"as [{twin}](#{twin})."] if twin else guide.differs
        yield from (f"Differs: {' '.join(shown)}", "")


def _source(source: str, earlier: list[str]) -> str:
    for each in earlier:
        guide = guide_of(METHODS.get(each))
        if guide and source.startswith(guide.source):
            return f"as [{each}](#{each}){source.removeprefix(guide.source)}"
    return source


def _differs(name: str) -> tuple[str, ...]:
    guide = guide_of(METHODS.get(name))
    return tuple(guide.differs) if guide else ()


def _how(method: MergeMethod) -> list[str]:
    guide = guide_of(method)
    text = (guide.how if guide else "") or inspect.getdoc(type(method)) or ""
    paragraphs = inspect.cleandoc(text).partition("\n\nAttributes:")[0].split("\n\n")
    return [" ".join(paragraph.split()).replace("``", "`") for paragraph in paragraphs if paragraph]

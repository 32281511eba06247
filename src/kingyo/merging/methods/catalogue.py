"""Descriptions of all methods from their declarations, as data and as docs/methods.md."""

import inspect
from collections import Counter
from collections.abc import Iterator
from dataclasses import asdict

from kingyo.errors import KingyoError
from kingyo.merging.methods import METHODS
from kingyo.merging.methods.contract import MergeMethod, Parameter, reproduces, takes_base

_ORDER = (
    *("linear", "slerp", "nuslerp", "multislerp", "karcher", "passthrough"),
    *("task_arithmetic", "model_stock", "ties", "dare_linear", "dare_ties", "della_linear", "della"),
    *("breadcrumbs", "breadcrumbs_ties", "sce", "consensus", "ram", "ramplus_tl"),
    *("nearswap", "arcee_fusion", "tsv", "iso_c", "iso_cts", "singular_bands"),
)
"""The order of the page, by families; methods that are not listed come last."""

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

_WHERE = {
    "on one machine": "machine",
    "with the same number of threads": "machine with the same number of threads",
}


def with_command(error: KingyoError, method: MergeMethod) -> KingyoError:
    """Add the command that describes a method to a remedy; there is none for a method of a user's file."""
    if method.name not in METHODS.names() or METHODS.get(method.name) is not method:
        return error
    remedy = f"{error.remedy} See `kingyo list methods {method.name}`."
    return KingyoError(error.argument, error.expected, error.received, remedy)


def ordered() -> list[str]:
    """Return the names of all methods, by family."""
    names = METHODS.names()
    return [*(name for name in _ORDER if name in names), *(name for name in names if name not in _ORDER)]


def describe(name: str) -> dict[str, object]:
    """Return everything that a method declares, as plain data."""
    method = METHODS.get(name)
    return {
        "name": name,
        "doc": method.doc,
        "how": "\n\n".join([*_paragraphs(method), *_own_paragraphs(method)]),
        "when": text(method, "when") or None,
        "source": text(method, "source") or None,
        "differs": list(_differs(method)),
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


def values(parameter: Parameter) -> str:
    """Return a parameter's default as text, or "required"; and the range of a search, if any."""
    value = parameter.default
    shown = "required" if value is None else str(value).lower() if isinstance(value, bool) else f"{value:g}"
    if parameter.search_low is None or parameter.search_high is None:
        return shown
    scale = ", log scale" if parameter.search_scale == "log" else ""
    return f"{shown}, searched {parameter.search_low:g} to {parameter.search_high:g}{scale}"


def text(method: MergeMethod, field: str) -> str:
    """Return an optional text that a method declares; empty if there is none."""
    return str(getattr(method, field, ""))


def page() -> str:
    """Return the text of docs/methods.md."""
    return "\n".join([*_overview(), *_shared(), *(line for name in ordered() for line in _section(name))])


def _overview() -> Iterator[str]:
    yield from (_INTRODUCTION, "", "| method | merges | when to choose it |", "|---|---|---|")
    for name in ordered():
        method = METHODS.get(name)
        yield f"| [`{name}`](#{name}) | {inputs(method).replace(' or more', '+')} | {text(method, 'when')} |"
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
    twin = next((each.name for each in earlier if _paragraphs(each) == _paragraphs(method)), None)
    yield from (f"## {name}", "", method.doc, "")
    own = _own_paragraphs(method)
    alike = f"{'Otherwise as' if own else 'As'} [{twin}](#{twin})."
    yield from (f"{each}\n" for each in ([*own, alike] if twin else [*_paragraphs(method), *own]))
    facts = ["Uses random numbers."] if method.stochastic else []
    if reproduces(method) in _WHERE:
        facts.append(f"Bit-identical only on the same {_WHERE[reproduces(method)]}.")
    facts.append(f"Source: {text(method, 'source')}.")
    yield from (" ".join(facts), "")
    shared = [each.doc for each in _shared_parameters()]
    common = [f"`{each.name}` ({values(each)})" for each in method.params if each.doc in shared]
    yield from (f"[Shared](#shared-parameters): {', '.join(common)}.", "") if common else ()
    special = [each for each in method.params if each.doc not in shared]
    yield from (f"- `{each.name}`: {_valid(each)} ({values(each)}). {each.doc}" for each in special)
    yield from [""] if special else ()
    if _differs(method):
        same = next((each.name for each in earlier if _differs(each) == _differs(method)), None)
        yield from (f"Differs: {f'as [{same}](#{same}).' if same else ' '.join(_differs(method))}", "")


def _differs(method: MergeMethod) -> tuple[str, ...]:
    return getattr(method, "differs", ())


def _paragraphs(method: MergeMethod) -> list[str]:
    return _unwrapped(inspect.getdoc(type(method)) or "")


def _own_paragraphs(method: MergeMethod) -> list[str]:
    return _unwrapped(text(method, "how"))


def _unwrapped(written: str) -> list[str]:
    paragraphs = inspect.cleandoc(written).partition("\n\nAttributes:")[0].split("\n\n")
    return [" ".join(paragraph.split()).replace("``", "`") for paragraph in paragraphs if paragraph]

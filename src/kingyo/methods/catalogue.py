"""What there is to know of the methods, from what they declare: as data, and as the page docs/methods.md."""

from __future__ import annotations

import inspect
from collections.abc import Iterator

from kingyo.methods import METHODS
from kingyo.methods.contract import MergeMethod, Parameter, Reproduces, guide_of, reproduces, takes_base

_KIN = (
    ("linear", "slerp", "nuslerp", "multislerp", "karcher", "passthrough"),
    ("task_arithmetic", "model_stock", "ties", "dare_linear", "dare_ties", "della_linear", "della"),
    ("breadcrumbs", "breadcrumbs_ties", "sce", "consensus", "ram", "ramplus_tl"),
    ("nearswap", "arcee_fusion", "tsv", "iso_c", "iso_cts", "singular_bands"),
)
"""The order of the page, kin beside kin; methods that are not named here come last."""

_INTRODUCTION = """\
# Merge methods

<!-- Made of what the methods declare, by `kingyo list methods --markdown > docs/methods.md`. -->

θ₀ is the base, θᵢ a source, δᵢ = θᵢ - θ₀ its task vector; formulas hold tensor by tensor. All methods
compute in float32 or wider, whatever the dtype of the models, and round once at the end; mergekit computes
most in the models' dtype. Sums have a fixed order and random draws come from a hash, so results have the
same bits on every machine, for any number of threads; methods for which that cannot be promised say so.

What is given "per source" may stand below a source, or for all; every value may be a gradient or have
filters. "Searched" is where a search looks if run.yaml says nothing.

With `base_model` mergekit lets `linear` and `karcher` merge the base too; here it is merged if it is among
the models. A parameter that a method does not know, or that stands below a source and is not "per source", is
an error here; mergekit ignores it. What comes after the layers has the last value of a gradient here, the
first in mergekit."""

_ELSEWHERE: dict[Reproduces, str] = {
    "on one machine": "Another machine may round otherwise, and give other bits.",
    "with as many threads": "Another machine, or another number of threads, may round otherwise, and give "
    "other bits.",
}


def ordered() -> list[str]:
    """The names of all methods, kin beside kin."""
    names, first = METHODS.names(), [name for kin in _KIN for name in kin]
    return [*(name for name in first if name in names), *(name for name in names if name not in first)]


def describe(name: str) -> dict[str, object]:
    """All that a method declares, as plain data."""
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
        "parameters": [
            {
                "name": each.name,
                "kind": each.kind,
                "default": each.default,
                "low": each.low,
                "high": each.high,
                "search_low": each.search_low,
                "search_high": each.search_high,
                "search_scale": each.search_scale,
                "per_source": each.per_source,
                "inert": each.inert,
                "doc": each.doc,
            }
            for each in method.params
        ],
    }


def inputs(method: MergeMethod) -> str:
    """What it merges, in words: "a base and 1 source", "2 sources, a base if you like"."""
    least, most = method.min_sources, method.max_sources
    number = f"{least}" if least == most else f"{least} or more" if most is None else f"{least} to {most}"
    sources = f"{number} source{'' if most == 1 else 's'}"
    if method.needs_base:
        return f"a base and {sources}"
    return f"{sources}, a base if you like" if takes_base(method) else sources


def kind(parameter: Parameter) -> str:
    """Its type and what is valid, in words."""
    if parameter.kind == "bool":
        return "true or false"
    noun = "whole number" if parameter.kind == "int" else "number"
    is_free = parameter.low is None and parameter.high is None
    return noun if is_free else f"{noun} {parameter.describe_bounds()}"


def default(parameter: Parameter) -> str:
    """Its default, or that there is none."""
    value = parameter.default
    if value is None:
        return "required"
    return str(value).lower() if isinstance(value, bool) else f"{value:g}"


def searched(parameter: Parameter) -> str:
    """Where a search looks, or a dash."""
    if parameter.search_low is None or parameter.search_high is None:
        return "–"
    scale = ", in powers of ten" if parameter.search_scale == "log" else ""
    return f"{parameter.search_low:g} to {parameter.search_high:g}{scale}"


def page() -> str:
    """docs/methods.md."""
    return "\n".join([*_overview(), *(line for name in ordered() for line in _section(name))])


def _overview() -> Iterator[str]:
    yield from (_INTRODUCTION, "", "| method | merges | when to choose it |", "|---|---|---|")
    for name in ordered():
        method, guide = METHODS.get(name), guide_of(METHODS.get(name))
        yield f"| [`{name}`](#{name}) | {inputs(method)} | {guide.when if guide else ''} |"
    yield ""


def _section(name: str) -> Iterator[str]:
    method, guide = METHODS.get(name), guide_of(METHODS.get(name))
    yield from (f"## {name}", "", method.doc, "")
    yield from (f"{paragraph}\n" for paragraph in _how(method))
    facts = [f"Merges {inputs(method)}."]
    facts += ["Draws random numbers."] if method.stochastic else []
    facts += [_ELSEWHERE[reproduces(method)]] if reproduces(method) in _ELSEWHERE else []
    facts += [f"Source: {guide.source}."] if guide else []
    yield from (" ".join(facts), "")
    yield from ("| parameter | value | default | searched | what it does |", "|---|---|---|---|---|")
    for each in method.params:
        own = "; per source" if each.per_source else ""
        yield f"| `{each.name}` | {kind(each)}{own} | {default(each)} | {searched(each)} | {each.doc} |"
    yield ""
    if guide and guide.differs:
        yield from ("Compared with mergekit 0.1.5:", "", *(f"- {each}" for each in guide.differs), "")


def _how(method: MergeMethod) -> list[str]:
    """The paragraphs that say what it computes: of its guide, or of its class, up to the attributes."""
    guide = guide_of(method)
    text = (guide.how if guide else "") or inspect.getdoc(type(method)) or ""
    paragraphs = inspect.cleandoc(text).partition("\n\nAttributes:")[0].split("\n\n")
    return [" ".join(paragraph.split()).replace("``", "`") for paragraph in paragraphs if paragraph]

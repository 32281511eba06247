"""Descriptions of all methods from their declarations."""

import inspect
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
"""The order of lists, by families; methods that are not listed come last."""


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
        "how": "\n\n".join([*family_paragraphs(method), *own_paragraphs(method)]),
        "when": text(method, "when") or None,
        "source": text(method, "source") or None,
        "differs": list(getattr(method, "differs", ())),
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


def family_paragraphs(method: MergeMethod) -> list[str]:
    """Return what the methods of a class have in common, by paragraphs."""
    return _unwrapped(inspect.getdoc(type(method)) or "")


def own_paragraphs(method: MergeMethod) -> list[str]:
    return _unwrapped(text(method, "how"))


def _unwrapped(written: str) -> list[str]:
    paragraphs = inspect.cleandoc(written).partition("\n\nAttributes:")[0].split("\n\n")
    return [" ".join(paragraph.split()).replace("``", "`") for paragraph in paragraphs if paragraph]

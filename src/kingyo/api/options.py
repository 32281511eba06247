"""Options that are declared once, as a dataclass or model: its fields, their types, and its docstring.

A function of the API takes them as keywords, see ``takes``; ``kingyo.cli.options`` makes flags of them.
"""

from __future__ import annotations

import inspect
import re
from collections.abc import Callable, Collection, Mapping
from dataclasses import dataclass, fields, is_dataclass
from os import PathLike
from pathlib import Path
from typing import TYPE_CHECKING, Any, TypeVar, cast, get_type_hints

from kingyo.errors import KingyoError, combined_error

if TYPE_CHECKING:
    from pydantic.fields import FieldInfo

T = TypeVar("T")
F = TypeVar("F", bound=Callable[..., Any])

AnyPath = str | Path
_ATTRIBUTE = re.compile(r"^    (\w+(?:, \w+)*): (.+(?:\n {8,}.+)*)", re.MULTILINE)


@dataclass(frozen=True, kw_only=True)
class Option:
    """A field of a dataclass or model; ``doc`` is what the docstring of the class says of it."""

    name: str
    type: Any
    default: Any
    doc: str


def docs_of(kind: type) -> dict[str, str]:
    """Return what a class says of its fields: in their metadata, or under ``Attributes:``."""
    docs: dict[str, str] = {}
    for each in reversed(inspect.getmro(kind)):
        for names, text in _ATTRIBUTE.findall(inspect.getdoc(each) or ""):
            docs |= dict.fromkeys(names.split(", "), " ".join(text.split()))
    own = fields(kind) if is_dataclass(kind) else ()
    return docs | {each.name: each.metadata["doc"] for each in own if "doc" in each.metadata}


def options_of(kind: type, without: Collection[str] = ()) -> list[Option]:
    """Return the fields of a dataclass or a pydantic model with their types, defaults and descriptions."""
    docs, hints = docs_of(kind), get_type_hints(kind)
    if is_dataclass(kind):
        defaults: dict[str, Any] = {each.name: each.default for each in fields(kind)}
    else:
        models = cast("dict[str, FieldInfo]", vars(cast("type", kind))["__pydantic_fields__"])
        defaults = {name: each.get_default(call_default_factory=True) for name, each in models.items()}
    return [
        Option(name=name, type=hints[name], default=default, doc=docs.get(name, ""))
        for name, default in defaults.items()
        if name not in without
    ]


def takes(kind: type, *without: str) -> Callable[[F], F]:
    """Show the fields of a dataclass in the signature and docstring of a function with ``**options``."""

    def decorate(function: F) -> F:
        own = list(inspect.signature(function).parameters.values())[:-1]
        options = options_of(kind, without)
        added = [
            inspect.Parameter(each.name, inspect.Parameter.KEYWORD_ONLY, default=each.default)
            for each in options
        ]
        function.__signature__ = inspect.Signature([*own, *added])  # pyright: ignore[reportFunctionMemberAccess]
        lines = "".join(f"\n        {each.name}: {each.doc}" for each in options)
        function.__doc__ = (function.__doc__ or "").replace("\n        options: see below.", lines)
        return function

    return decorate


def checked(kind: type[T], values: Mapping[str, object]) -> T:
    """Return a dataclass of keywords; unknown names and wrong types are a KingyoError."""
    from pydantic import ValidationError

    from kingyo.core.io.schema import find_mistakes, validate_settings

    try:
        return validate_settings(kind, values)
    except ValidationError as error:
        mistakes = find_mistakes(error, "")
        for each in mistakes:
            each.argument = each.argument.removeprefix(": ")
        raise combined_error("options", mistakes, "valid values") from error


def as_path(argument: str, value: object, others: str = "") -> Path:
    """Return an argument as a path; ``others`` names what else it may be, for the error."""
    if isinstance(value, str | PathLike):
        return Path(cast("str | PathLike[str]", value))
    expected = f"a path, {others}" if others else "a path"
    remedy = f"Pass {expected}; a path is a str or a pathlib.Path."
    raise KingyoError(argument, expected, f"{value!r:.80}", remedy)


def as_reference(argument: str, value: object) -> str:
    """Return an argument as a reference to a model, as it was written."""
    return value if isinstance(value, str) else str(as_path(argument, value))

"""Parse the models, slices and modules of a recipe, with mergekit's keys.

Errors name the place, such as ``slices[0].sources[1]``. Functions with an argument ``refuse`` call it with
every mistake, and return the valid entries.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from typing import TypeVar, cast

from kingyo.errors import KingyoError, Refuse, attempt
from kingyo.recipe.checks import check_keys, items, mapping, short, text, with_meant
from kingyo.recipe.contents import LIST_MODELS, LIST_SLICES, Module, Slice, SliceSource, Source
from kingyo.recipe.values import parse_values

T = TypeVar("T")

_IGNORED = {"residual_weight": "Remove it: it has no effect in mergekit, either."}
_NAME_MODULES = "Write lines of `name of a part:`, each with models: or slices: below."


def parse_sources(data: object, where: str, refuse: Refuse) -> tuple[Source, ...]:
    """Parse the list below ``models:``."""
    entries = attempt(lambda: items(data, f"{where}: models", "models", LIST_MODELS), refuse, ())
    return _each(entries, f"{where}: models", _parse_source, refuse)


def parse_slices(data: object, where: str, refuse: Refuse) -> tuple[Slice, ...]:
    """Parse the list below ``slices:``."""
    entries = attempt(lambda: items(data, f"{where}: slices", "slices", LIST_SLICES), refuse, ())
    return _each(entries, f"{where}: slices", _parse_slice, refuse)


def parse_modules(data: object, where: str, refuse: Refuse) -> dict[str, Module]:
    """Parse the mapping below ``modules:``."""
    entries = attempt(lambda: mapping(data, f"{where}: modules", _NAME_MODULES), refuse, None)
    if entries is not None and not entries:
        refuse(
            KingyoError(
                f"{where}: modules", expected="at least one part", received="none", remedy=_NAME_MODULES
            )
        )
    modules = {
        str(name): attempt(
            lambda name=name, entry=entry: _parse_module(entry, f"{where}: modules.{name}", refuse),
            refuse,
            None,
        )
        for name, entry in (entries or {}).items()
    }
    return {name: module for name, module in modules.items() if module is not None}


def _each(
    entries: Sequence[object], where: str, parse: Callable[[object, str, Refuse], T | None], refuse: Refuse
) -> tuple[T, ...]:
    """Parse the entries of a list, and return those that are valid."""
    parsed = [
        attempt(lambda i=i, entry=entry: parse(entry, f"{where}[{i}]", refuse), refuse, None)
        for i, entry in enumerate(entries)
    ]
    return tuple(each for each in parsed if each is not None)


def parse_reference(value: object, where: str) -> str | None:
    """Parse a model reference: a text, or mergekit's mapping of its parts, which is converted to text.

    Raises:
        KingyoError: the value is neither.
    """
    if isinstance(value, Mapping):
        parts = cast("Mapping[str, object]", value)
        check_keys(parts, ("model", "lora"), where)
        model, lora = (_parse_path(parts.get(key), f"{where}.{key}") for key in ("model", "lora"))
        if model is None:
            raise _no_model(f"{where}.model")
        return model if lora is None else f"{model}+{lora}"
    if value is not None and not isinstance(value, str):
        raise KingyoError(
            where,
            expected="text",
            received=short(value),
            remedy="Write a text, in quotes if it looks like a number.",
        )
    return value or None


def _parse_path(value: object, where: str) -> str | None:
    """Return ``path`` or ``path@revision`` from its parts."""
    if not isinstance(value, Mapping):
        return parse_reference(value, where)
    parts = cast("Mapping[str, object]", value)
    check_keys(parts, ("path", "revision"), where)
    path, revision = text(parts, "path", where), text(parts, "revision", where)
    if not path:
        raise _no_model(f"{where}.path")
    return path if not revision else f"{path}@{revision}"


def _parse_source(entry: object, where: str, refuse: Refuse) -> Source:
    pairs = mapping(entry, where, "Write it as `- model: path/to/model`.")
    if "layer_range" in pairs:
        raise KingyoError(
            where,
            expected="a complete model",
            received="'layer_range'",
            remedy="Choose layers below slices:, each with its sources.",
        )
    known = ("model", "parameters")
    attempt(lambda: check_keys(pairs, known, where), refuse, None)
    parameters = parse_values(pairs.get("parameters"), where, refuse)
    return Source(model=parse_model(with_meant(pairs, known, known), where), parameters=parameters)


def _parse_slice(entry: object, where: str, refuse: Refuse) -> Slice | None:
    pairs = mapping(entry, where, LIST_SLICES)
    known = ("sources", "base_model", "parameters")
    attempt(lambda: _check_keys(pairs, known, where), refuse, None)
    listed = with_meant(pairs, ("sources",), known).get("sources")
    sources = items(listed, f"{where}.sources", "sources", LIST_SLICES)
    base = attempt(lambda: parse_reference(pairs.get("base_model"), f"{where}.base_model"), refuse, None)
    parameters = parse_values(pairs.get("parameters"), where, refuse)
    valid = _each(sources, f"{where}.sources", _parse_slice_source, refuse)
    if not valid:
        return None
    try:
        return Slice(sources=valid, base_model=base, parameters=parameters)
    except KingyoError as error:
        raise _placed(error, where) from error


def _parse_slice_source(entry: object, where: str, refuse: Refuse) -> SliceSource:
    pairs = mapping(entry, where, "Write it as `- {model: path/to/model, layer_range: [0, 8]}`.")
    known = ("model", "layer_range", "parameters")
    attempt(lambda: check_keys(pairs, known, where), refuse, None)
    parameters = parse_values(pairs.get("parameters"), where, refuse)
    pairs = with_meant(pairs, known, known)
    model = parse_model(pairs, where)
    layers = parse_layers(pairs.get("layer_range"), f"{where}.layer_range")
    try:
        return SliceSource(model=model, layers=layers, parameters=parameters)
    except KingyoError as error:
        raise _placed(error, where) from error


def _parse_module(entry: object, where: str, refuse: Refuse) -> Module | None:
    pairs = mapping(entry, where, _NAME_MODULES)
    attempt(lambda: check_keys(pairs, ("models", "slices", "parameters"), where), refuse, None)
    parameters = parse_values(pairs.get("parameters"), where, refuse)
    sources = parse_sources(pairs["models"], where, refuse) if "models" in pairs else ()
    slices = parse_slices(pairs["slices"], where, refuse) if "slices" in pairs else ()
    if not sources and not slices and ("models" in pairs or "slices" in pairs):
        return None
    try:
        return Module(sources=sources, slices=slices, parameters=parameters)
    except KingyoError as error:
        raise _placed(error, where) from error


def parse_layers(value: object, where: str) -> tuple[int, int]:
    """Parse a ``layer_range``: the first layer, and the one after the last.

    Raises:
        KingyoError: the value is not a list of two whole numbers.
    """
    numbers = cast("list[object]", value) if isinstance(value, list | tuple) else []
    if len(numbers) != 2 or not all(type(number) is int for number in numbers):
        raise KingyoError(
            where,
            expected="two whole numbers (the first layer and the one after the last)",
            received=short(cast("object", value)),
            remedy="Write it as layer_range: [0, 8] for layers 0 to 7.",
        )
    first, end = cast("list[int]", numbers)
    return first, end


def parse_model(pairs: Mapping[str, object], where: str) -> str:
    """Parse the model of an entry.

    Raises:
        KingyoError: the entry names no model.
    """
    model = parse_reference(pairs.get("model"), f"{where}.model")
    if model is None:
        raise _no_model(f"{where}.model")
    return model


def _no_model(where: str) -> KingyoError:
    return KingyoError(
        where,
        expected="a folder or a Hub name",
        received="nothing",
        remedy="Add the line `model: path/to/model` to this entry.",
    )


def _check_keys(pairs: Mapping[str, object], known: tuple[str, ...], where: str) -> None:
    for key, remedy in _IGNORED.items():
        if key in pairs:
            raise KingyoError(where, expected="keys with an effect", received=f"'{key}'", remedy=remedy)
    check_keys(pairs, known, where)


def _placed(error: KingyoError, where: str) -> KingyoError:
    """Add the place in the file to an error, unless it has one."""
    return error if error.argument.startswith(where) else error.placed(where)

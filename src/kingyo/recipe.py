"""A recipe: the inert description of one merge, and its form in YAML that mergekit reads too.

It knows no merge method, no tensor and no file but the recipe's own; its hash is its identity.
"""

from __future__ import annotations

import contextlib
import hashlib
import json
import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from functools import cached_property
from pathlib import Path
from typing import Literal, cast, get_args

import yaml

from kingyo.errors import KingyoError, suggest
from kingyo.strict import read_yaml

Plain = float | bool | tuple[float, ...]
"""A number, a switch, or a gradient: numbers spread evenly over the layers, interpolated between them."""

KEYS = ("merge_method", "base_model", "models", "parameters", "dtype", "tokenizer_source", "seed")
WITHOUT_EFFECT = ("int8_mask",)
"""Parameters in mergekit's recipes that change how much memory it needs, and no result."""
LATER = ("slices", "modules", "tokenizer", "chat_template", "out_dtype")
Dtype = Literal["float32", "float16", "bfloat16"]
DTYPES: tuple[str, ...] = get_args(Dtype)
_LIST_MODELS = "List the models below models:, each as `- model: path/to/model`."


@dataclass(frozen=True, kw_only=True)
class Conditional:
    """A value for the tensors whose name contains ``filter``; None and ``"*"`` match every name."""

    filter: str | None
    value: Plain

    def __post_init__(self) -> None:
        object.__setattr__(self, "value", _plain(self.value, f"filter {self.filter}"))

    def matches(self, tensor: str) -> bool:
        """Whether it speaks about this tensor."""
        return self.filter is None or self.filter == "*" or self.filter in tensor


Value = Plain | tuple[Conditional, ...]


@dataclass(frozen=True, kw_only=True)
class Source:
    """One model that is merged: its reference as written, and the parameters that are its own."""

    model: str
    parameters: Mapping[str, Value] = field(default_factory=dict[str, Value])

    def __post_init__(self) -> None:
        object.__setattr__(self, "parameters", _values(self.parameters, self.model))


@dataclass(frozen=True, kw_only=True)
class Recipe:
    """Which sources, which method, which parameters.

    Attributes:
        merge_method: name of a registered method.
        sources: in order; random methods draw by position.
        base_model: reference of the common ancestor, when the method needs one or the output should take
            its configuration, tokenizer and dtype.
        parameters: for all sources; those of a source come first.
        dtype: of the merged weights; None keeps the dtype of the base, else of the first source.
        tokenizer_source: whose tokenizer goes into the output; ``base`` (or None) is the only choice yet.
        seed: of random methods.
    """

    merge_method: str
    sources: tuple[Source, ...]
    base_model: str | None = None
    parameters: Mapping[str, Value] = field(default_factory=dict[str, Value])
    dtype: str | None = None
    tokenizer_source: str | None = None
    seed: int = 0

    def __post_init__(self) -> None:
        object.__setattr__(self, "sources", tuple(self.sources))
        object.__setattr__(self, "parameters", _values(self.parameters, "parameters"))
        if not self.sources:
            raise KingyoError("models", expected="at least one model", received="none", remedy=_LIST_MODELS)
        if self.dtype is not None and self.dtype not in DTYPES:
            remedy = suggest(self.dtype, DTYPES)
            raise KingyoError("dtype", expected="a floating dtype", received=f"'{self.dtype}'", remedy=remedy)
        if self.tokenizer_source not in (None, "base"):
            raise _later("tokenizer_source", f"'{self.tokenizer_source}'", "Leave it out, or say 'base'.")

    def __hash__(self) -> int:
        return int(self.hash[:15], 16)

    @cached_property
    def hash(self) -> str:
        """The recipe's identity: SHA-256 of its canonical JSON, in hexadecimal."""
        canonical = json.dumps(self.to_dict(), sort_keys=True, separators=(",", ":"), ensure_ascii=False)
        return hashlib.sha256(canonical.encode()).hexdigest()

    def value_of(
        self, parameter: str, source: int | None, tensor: str, depth: float | None
    ) -> float | bool | None:
        """Resolve a parameter for one tensor; the source's own value comes before the recipe's.

        Args:
            parameter: its name.
            source: position among ``sources``, or None for the recipe's own value.
            tensor: name of the tensor, which filters look at.
            depth: where in the model the tensor sits, 0 (first layer) to 1 (last), for gradients.

        Returns:
            The value, or None when nobody gives one.
        """
        levels = (
            (self.sources[source].parameters, self.parameters) if source is not None else (self.parameters,)
        )
        for level in levels:
            value = level.get(parameter)
            plain = _first_match(value, tensor)
            if plain is not None:
                return _at_depth(plain, depth, parameter, tensor)
        return None

    def to_dict(self) -> dict[str, object]:
        """The recipe as the mapping that its YAML holds; ``from_dict`` reads it back equal."""
        models: list[dict[str, object]] = []
        for source in self.sources:
            entry: dict[str, object] = {"model": source.model}
            if source.parameters:
                entry["parameters"] = _dump_all(source.parameters)
            models.append(entry)
        found: dict[str, object] = {"merge_method": self.merge_method}
        if self.base_model is not None:
            found["base_model"] = self.base_model
        found["models"] = models
        if self.parameters:
            found["parameters"] = _dump_all(self.parameters)
        for key in ("dtype", "tokenizer_source"):
            if getattr(self, key) is not None:
                found[key] = getattr(self, key)
        if self.seed:
            found["seed"] = self.seed
        return found

    def to_yaml(self) -> str:
        """The recipe as YAML; mergekit reads it where it has the method (and ignores ``seed``)."""
        return yaml.safe_dump(self.to_dict(), sort_keys=False, allow_unicode=True)

    @staticmethod
    def from_dict(data: Mapping[str, object], where: str = "recipe") -> Recipe:
        """Read the mapping of a YAML recipe strictly.

        Args:
            data: what the YAML holds.
            where: the file, for messages.

        Raises:
            KingyoError: an unknown key (the nearest is suggested), one that is not supported yet, or a
                value of the wrong type.
        """
        for key in data:
            if key in LATER:
                raise _later(f"{where}: {key}", f"'{key}'", "Merge whole models, listed under models:.")
        _check_keys(data, KEYS, where)
        seed = data.get("seed", 0)
        if isinstance(seed, bool) or not isinstance(seed, int):
            raise KingyoError(
                f"{where}: seed",
                expected="a whole number",
                received=repr(seed),
                remedy="Write it without quotes, such as seed: 1, or leave it out.",
            )
        method = _text(data, "merge_method", where)
        if method is None:
            remedy = "`kingyo list methods` names them."
            raise KingyoError(
                f"{where}: merge_method", expected="a method's name", received="nothing", remedy=remedy
            )
        return Recipe(
            merge_method=method,
            sources=_parse_sources(data.get("models"), where),
            base_model=_text(data, "base_model", where),
            parameters=_parse_values(data.get("parameters"), where),
            dtype=_text(data, "dtype", where),
            tokenizer_source=_text(data, "tokenizer_source", where),
            seed=seed,
        )


def load_recipe(path: Path) -> Recipe:
    """Read a recipe from a YAML file.

    Raises:
        KingyoError: the file cannot be read, or see ``Recipe.from_dict``.
    """
    return Recipe.from_dict(read_yaml(path), str(path))


def _first_match(value: Value | None, tensor: str) -> Plain | None:
    if isinstance(value, tuple) and value and isinstance(value[0], Conditional):
        conditionals = cast("tuple[Conditional, ...]", value)
        return next((each.value for each in conditionals if each.matches(tensor)), None)
    return cast("Plain | None", value)


def _at_depth(value: Plain, depth: float | None, parameter: str, tensor: str) -> float | bool:
    """A gradient's value: its points lie evenly over [0, 1], straight lines between them."""
    if not isinstance(value, tuple):
        return value
    if depth is None:
        raise KingyoError(
            parameter,
            expected="one value",
            received=f"a gradient for '{tensor}', which has no depth",
            remedy="Give one number in place of the list, or a filter for this tensor.",
        )
    position = depth * (len(value) - 1)
    below = min(int(position), len(value) - 2) if len(value) > 1 else 0
    if below == position or len(value) == 1:
        return value[below]
    share = position - below
    return (1 - share) * value[below] + share * value[below + 1]


def _number(value: object, where: str) -> float:
    """A finite float. YAML 1.1 reads ``1e-5`` (no dot) as text: that is a number here."""
    if isinstance(value, str):
        with contextlib.suppress(ValueError):
            value = float(value)
    if isinstance(value, bool) or not isinstance(value, int | float) or not math.isfinite(value):
        raise KingyoError(
            where,
            expected="a finite number",
            received=repr(value),
            remedy="Write a plain number, such as 0.5.",
        )
    return float(value)


def _plain(value: object, where: str) -> Plain:
    if isinstance(value, bool):
        return value
    if isinstance(value, list | tuple):
        points = cast("Sequence[object]", value)
        if not points:
            raise KingyoError(
                where,
                expected="a gradient of at least one number",
                received="an empty list",
                remedy="Write numbers into the list, or leave the parameter out.",
            )
        return tuple(_number(point, where) for point in points)
    return _number(value, where)


def _values(values: Mapping[str, Value], where: str) -> dict[str, Value]:
    """A private copy in canonical types: whole numbers become floats, lists tuples."""
    return {
        name: cast("tuple[Conditional, ...]", tuple(value))
        if isinstance(value, tuple) and value and all(isinstance(each, Conditional) for each in value)
        else _plain(value, f"{where}: {name}")
        for name, value in values.items()
    }


def _parse_values(data: object, where: str) -> dict[str, Value]:
    if data is None:
        return {}
    if not isinstance(data, Mapping):
        raise KingyoError(
            f"{where}: parameters",
            expected="a mapping",
            received=type(data).__name__,
            remedy="Write lines of `name: value` below parameters:, or leave it out.",
        )
    entries = cast("Mapping[str, object]", data)
    return {
        str(name): _parse_value(value, f"{where}: parameters.{name}")
        for name, value in entries.items()
        if name not in WITHOUT_EFFECT
    }


def _parse_value(value: object, where: str) -> Value:
    if isinstance(value, list) and any(isinstance(each, Mapping) for each in cast("list[object]", value)):
        return tuple(_parse_conditional(each, where) for each in cast("list[object]", value))
    return _plain(cast("object", value), where)


def _parse_conditional(entry: object, where: str) -> Conditional:
    if not isinstance(entry, Mapping):
        raise KingyoError(
            where,
            expected="filter and value in every entry",
            received=repr(entry),
            remedy="Write every entry as `- {filter: mlp, value: 0.5}`; the last may go without filter.",
        )
    pairs = cast("Mapping[str, object]", entry)
    _check_keys(pairs, ("filter", "value"), where)
    chosen = pairs.get("filter")
    if not (chosen is None or isinstance(chosen, str)):
        raise KingyoError(
            f"{where}.filter",
            expected="part of a tensor's name",
            received=repr(chosen),
            remedy="Write text such as mlp, or '*' for every tensor.",
        )
    if "value" not in pairs:
        raise KingyoError(
            f"{where}.value",
            expected="a value",
            received="nothing",
            remedy="Add a value, such as value: 0.5, or delete the entry.",
        )
    return Conditional(filter=chosen, value=_plain(pairs["value"], f"{where}.value"))


def _parse_sources(data: object, where: str) -> tuple[Source, ...]:
    if not isinstance(data, list) or not data:
        received = repr(cast("object", data))
        raise KingyoError(
            f"{where}: models", expected="a list of models", received=received, remedy=_LIST_MODELS
        )
    return tuple(
        _parse_source(entry, f"{where}: models[{i}]") for i, entry in enumerate(cast("list[object]", data))
    )


def _parse_source(entry: object, where: str) -> Source:
    if not isinstance(entry, Mapping):
        raise KingyoError(
            where,
            expected="a mapping with the key model",
            received=repr(entry),
            remedy="Write it as `- model: path/to/model`.",
        )
    pairs = cast("Mapping[str, object]", entry)
    _check_keys(pairs, ("model", "parameters"), where)
    model = _text(pairs, "model", where)
    if model is None:
        raise KingyoError(
            f"{where}.model",
            expected="a folder or a Hub name",
            received="nothing",
            remedy="Add the line `model: path/to/model` to this entry.",
        )
    return Source(model=model, parameters=_parse_values(pairs.get("parameters"), where))


def _check_keys(data: Mapping[str, object], known: Sequence[str], where: str) -> None:
    for key in data:
        if key not in known:
            remedy = suggest(str(key), known)
            raise KingyoError(where, expected="known keys", received=f"'{key}'", remedy=remedy)


def _text(data: Mapping[str, object], key: str, where: str) -> str | None:
    value = data.get(key)
    if value is not None and not isinstance(value, str):
        raise KingyoError(
            f"{where}: {key}",
            expected="text",
            received=repr(value),
            remedy=f"Write one text after {key}:, in quotes if it looks like a number.",
        )
    return value


def _dump_all(values: Mapping[str, Value]) -> dict[str, object]:
    return {name: _dump(value) for name, value in values.items()}


def _dump(value: Value) -> object:
    if not isinstance(value, tuple):
        return value
    return [
        ({"filter": each.filter} if each.filter is not None else {}) | {"value": _dump(each.value)}
        if isinstance(each, Conditional)
        else each
        for each in value
    ]


def _later(where: str, received: str, remedy: str) -> KingyoError:
    return KingyoError(
        where, expected="a key that is supported", received=f"{received}, not supported yet", remedy=remedy
    )

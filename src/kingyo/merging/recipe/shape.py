"""Read dataclasses from what users write, with pydantic: all mistakes in one round."""

from __future__ import annotations

from collections.abc import Collection, Mapping
from dataclasses import MISSING, fields
from functools import cache
from typing import Annotated, Any, ClassVar, TypeVar, cast, get_type_hints

from pydantic import (
    BeforeValidator,
    ConfigDict,
    Field,
    GetCoreSchemaHandler,
    TypeAdapter,
    ValidationError,
    ValidatorFunctionWrapHandler,
    WrapValidator,
)
from pydantic.fields import FieldInfo
from pydantic_core import CoreSchema
from pydantic_core.core_schema import no_info_wrap_validator_function

from kingyo.core.io.schema import find_mistakes, short, validate_together
from kingyo.errors import KingyoError, combined_error, nearest, suggest

T = TypeVar("T")

Text = Annotated[str, Field(strict=True)]
Whole = Annotated[int, Field(strict=True)]


class Shape:
    """Base of dataclasses that are read from a mapping.

    An unknown key is a mistake. If it is a misspelt required key, or has a list or a mapping, its value is
    checked, too. A required key that is missing is checked as None.

    Attributes:
        FORM: what to write if the value is not a mapping.
        ELSEWHERE: remedies for keys that belong elsewhere.
    """

    __pydantic_config__ = ConfigDict(extra="forbid")
    FORM: ClassVar[str] = "Write it as lines of `key: value`."
    ELSEWHERE: ClassVar[Mapping[str, str]] = {}

    @classmethod
    def __get_pydantic_core_schema__(cls, source: type, handler: GetCoreSchemaHandler) -> CoreSchema:
        schema = handler.resolve_ref_schema(handler(source))
        inner = cast("CoreSchema", {key: value for key, value in schema.items() if key != "ref"})
        return no_info_wrap_validator_function(cls._read, inner, ref=schema.get("ref"))

    @classmethod
    def _read(cls, value: object, handler: ValidatorFunctionWrapHandler) -> object:
        given = mapping(value, cls.FORM)
        data = _corrected(given, keys_of(cls))
        return validate_together(lambda: cast("object", handler(data)), lambda: cls._check_keys(given))

    @classmethod
    def _check_keys(cls, given: Mapping[str, object]) -> None:
        known = keys_of(cls)
        remedies = {
            str(key): cls.ELSEWHERE.get(str(key)) or _remedy(str(key), value, known)
            for key, value in given.items()
            if key not in known
        }
        if remedies:
            received = ", ".join(f"'{key}'" for key in remedies)
            texts = [f"'{key}': {remedy}" for key, remedy in remedies.items()]
            remedy = " ".join(texts if len(texts) > 1 else remedies.values())
            raise KingyoError("", "a known key", received, remedy)


def parse(kind: type[T], data: object, where: str, expected: str) -> T:
    """Return an object of a ``Shape``; messages name ``where``, the file."""
    try:
        return validate(kind, data)
    except ValidationError as error:
        raise combined_error(where, find_mistakes(error, where), expected) from None


def validate(kind: type[T], data: object) -> T:
    return _adapter(kind).validate_python(data)


def dump(value: Shape) -> dict[str, object]:
    """Return the mapping for YAML: all keys whose values are not the default."""
    adapter = _adapter(type(value))
    return cast(
        "dict[str, object]", adapter.dump_python(value, mode="json", by_alias=True, exclude_defaults=True)
    )


@cache
def keys_of(kind: type) -> Mapping[str, bool]:
    """Return the keys of a dataclass, and whether each is required."""
    hints = get_type_hints(kind, include_extras=True)
    return {
        _key(each.name, hints[each.name]): each.default is MISSING and each.default_factory is MISSING
        for each in fields(cast("Any", kind))
        if each.init
    }


def wanted(expected: str, remedy: str) -> WrapValidator:
    """Say what a simple value should be, in place of pydantic's words."""

    def check(value: object, handler: ValidatorFunctionWrapHandler) -> object:
        try:
            return handler(value)
        except ValidationError:
            raise KingyoError("", expected, short(value), remedy) from None

    return WrapValidator(check)


def filled(kind: type | tuple[type, ...], expected: str, remedy: str) -> BeforeValidator:
    """Require a list or mapping with at least one entry."""

    def check(value: object) -> object:
        if not isinstance(value, kind) or not value:
            raise KingyoError("", expected, short(value), remedy)
        return value

    return BeforeValidator(check)


def named(remedy: str, without: Collection[str] = ()) -> BeforeValidator:
    """Require a mapping; no value is an empty one, and its keys become text."""

    def check(value: object) -> object:
        pairs: Mapping[str, object] = {} if value is None else mapping(value, remedy)
        return {str(name): each for name, each in pairs.items() if name not in without}

    return BeforeValidator(check)


def mapping(value: object, remedy: str) -> Mapping[str, object]:
    if not isinstance(value, Mapping):
        raise KingyoError("", "a mapping", short(value), remedy)
    return cast("Mapping[str, object]", value)


@cache
def _adapter(kind: type[T]) -> TypeAdapter[T]:
    return TypeAdapter(kind)


def _key(name: str, hint: object) -> str:
    details = (each for each in getattr(hint, "__metadata__", ()) if isinstance(each, FieldInfo))
    return next((each.alias for each in details if each.alias), name)


def _corrected(given: Mapping[str, object], known: Mapping[str, bool]) -> dict[str, object]:
    """Return the known keys, the required ones, and misspelt ones under their right names."""
    data = {key: value for key, value in given.items() if key in known}
    for key, value in given.items():
        near = None if key in known else nearest(str(key), known)
        if near is not None and (known[near] or type(value) in (dict, list)):
            data.setdefault(near, value)
    return {**{key: None for key, is_required in known.items() if is_required}, **data}


def _remedy(key: str, value: object, known: Collection[str]) -> str:
    """Return the remedy for an unknown key; a number beside ``parameters`` is probably a parameter."""
    points = cast("list[object]", value) if isinstance(value, list) else [value]
    is_number = bool(points) and all(isinstance(each, int | float) for each in points)
    if not is_number or "parameters" not in known:
        return suggest(key, known)
    near = nearest(key, {"seed", "layer_range"}.intersection(known))  # other keys do not hold numbers
    below = f"Move a parameter of the method below parameters:, as `parameters: {{{key}: …}}`."
    return f"Did you mean '{near}'?" if near else below

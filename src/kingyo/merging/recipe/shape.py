"""Read dataclasses from what users write, with pydantic: all mistakes in one round."""

from collections.abc import Collection, Iterable, Mapping
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
    """Base of dataclasses that are read from a mapping. ``FORM``: what to write if the value is none."""

    __pydantic_config__ = ConfigDict(extra="forbid")
    FORM: ClassVar[str] = "Write it as lines of `key: value`."

    @classmethod
    def __get_pydantic_core_schema__(cls, source: type, handler: GetCoreSchemaHandler) -> CoreSchema:
        schema = handler.resolve_ref_schema(handler(source))
        inner = cast("CoreSchema", {key: value for key, value in schema.items() if key != "ref"})
        return no_info_wrap_validator_function(cls._read, inner, ref=schema.get("ref"))

    @classmethod
    def _read(cls, value: object, handler: ValidatorFunctionWrapHandler) -> object:
        given, known = mapping(value, cls.FORM), keys_of(cls)
        data: dict[str, object] = {key: None for key, is_required in known.items() if is_required}
        for key, each in given.items():  # a misspelt key is checked, too
            near = key if key in known else nearest(str(key), known)
            if key in known or (near is not None and (known[near] or type(each) in (dict, list))):
                data[str(near)] = each

        return validate_together(lambda: cast("object", handler(data)), lambda: _check_keys(given, known))


def _check_keys(given: Iterable[str], known: Collection[str]) -> None:
    remedies = {key: suggest(str(key), known) for key in given if key not in known}
    if not remedies:
        return
    received = ", ".join(f"'{key}'" for key in remedies)
    texts = [f"'{key}': {remedy}" for key, remedy in remedies.items()]
    remedy = " ".join(texts if len(texts) > 1 else remedies.values())
    if "parameters" in known and not all(each.startswith("Did you") for each in remedies.values()):
        remedy += " Parameters of the method belong below parameters:."
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

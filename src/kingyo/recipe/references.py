"""References of models: a text, or mergekit's mapping of its parts, which is converted to text."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Annotated, cast

from pydantic import BeforeValidator, ValidationInfo

from kingyo.errors import KingyoError
from kingyo.recipe.shape import Shape, Text, validate


def _check_given(name: object) -> object:
    if name is None or name == "":
        raise KingyoError(
            "",
            expected="a folder or a Hub name",
            received="nothing",
            remedy="Add the line `model: path/to/model` to this entry.",
        )
    return name


_Name = Annotated[Text, BeforeValidator(_check_given)]


@dataclass(frozen=True, kw_only=True)
class _Location(Shape):
    path: _Name
    revision: Text | None = None


def _parse_location(value: object, info: ValidationInfo) -> object:
    if not isinstance(value, Mapping):
        return value
    location = validate(_Location, cast("object", value), info.context)
    return f"{location.path}@{location.revision}" if location.revision else location.path


@dataclass(frozen=True, kw_only=True)
class _Parts(Shape):
    model: Annotated[_Name, BeforeValidator(_parse_location)]
    lora: Annotated[Text | None, BeforeValidator(_parse_location)] = None


def _parse_parts(value: object, info: ValidationInfo) -> object:
    if not isinstance(value, Mapping):
        return None if value == "" else value
    parts = validate(_Parts, cast("object", value), info.context)
    return f"{parts.model}+{parts.lora}" if parts.lora else parts.model


Model = Annotated[_Name, BeforeValidator(_parse_parts)]
Base = Annotated[Text | None, BeforeValidator(_parse_parts)]

"""What is known of a run as data for JSON."""

from collections.abc import Mapping
from dataclasses import fields, is_dataclass
from typing import Any, cast

from kingyo.stats import Interval, interval_json


def plain_data(value: object) -> Any:
    """Return a value as JSON data: a dataclass by its fields, unless it has a ``to_json`` of its own."""
    if isinstance(value, Interval):
        return interval_json(value)
    if hasattr(value, "to_json"):
        return cast(Any, value).to_json()
    if is_dataclass(value) and not isinstance(value, type):
        return {each.name: plain_data(getattr(value, each.name)) for each in fields(value)}
    if isinstance(value, Mapping):
        return {str(key): plain_data(each) for key, each in cast("Mapping[object, object]", value).items()}
    if isinstance(value, list | tuple):
        return [plain_data(each) for each in cast("list[object]", value)]
    return value

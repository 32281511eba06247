"""Rows of the run database."""

from __future__ import annotations

import json
import sqlite3
from dataclasses import dataclass
from typing import TypeVar, cast

from kingyo.types import Trial


@dataclass(frozen=True, kw_only=True)
class StoredTrial:
    """A trial of a search and its recipe.

    Attributes:
        id: id of the row.
        search: name of the search.
        batch: number of the ask.
        name: name of a baseline.
        asked: number, genome and parents.
        recipe, recipe_hash: JSON text and its hash.
        told: number of outcomes that the strategy knew when it asked.
    """

    id: int
    search: str
    batch: int
    name: str | None
    asked: Trial
    recipe: str
    recipe_hash: str
    told: int = 0


@dataclass(frozen=True, kw_only=True)
class NewTrial:
    """A trial before it is stored."""

    asked: Trial
    recipe: str
    recipe_hash: str
    name: str | None = None


@dataclass(frozen=True, kw_only=True)
class EvaluationRow:
    """Totals of one evaluation.

    Attributes:
        trial, search: trial id and name of the search.
        failure: reason, or None.
        build_seconds, score_seconds: cost.
        ended_at: time in seconds since 1970.
        copied_from: trial id that all scores were copied from, or None.
        n: number of scored items.
        mean: over these items; None for a failure.
        value: on fit, the value that the strategy got: the mean, or an estimate from some of the items.
        is_partial: whether the strategy got an estimate.
    """

    trial: int
    search: str
    failure: str | None
    build_seconds: float
    score_seconds: float
    ended_at: float
    copied_from: int | None
    n: int
    mean: float | None
    value: float | None
    is_partial: bool


@dataclass(frozen=True, kw_only=True)
class StoredOutcome:
    """The outcome of a trial that a strategy got.

    Attributes:
        trial: trial id.
        failure: reason, or None.
        value: number that a search with one objective maximises; None for a failure.
        objectives: one number per objective; empty with only one.
        is_partial: whether only some of the items were scored.
    """

    trial: int
    failure: str | None
    value: float | None
    objectives: tuple[float, ...] = ()
    is_partial: bool = False


T = TypeVar("T")


def decoded(text: object, kind: type[T], name: str) -> T:
    """Return the value of a JSON column.

    Args:
        text: content of the column.
        kind: expected type.
        name: name of the column, for messages.

    Raises:
        sqlite3.DataError: it is not JSON, or of another type: someone edited the file.
    """
    try:
        value: object = json.loads(cast("str", text))
    except (TypeError, ValueError) as error:
        raise sqlite3.DataError(f"{name} is not JSON: {str(text)[:40]!r}") from error
    if not isinstance(value, kind):
        raise sqlite3.DataError(f"{name} is not a {kind.__name__}: {str(text)[:40]!r}")
    return value


def decoded_numbers(text: object, name: str) -> tuple[float, ...]:
    """Return the value of a JSON column of numbers; raises as ``decoded``."""
    values = cast("list[object]", decoded(text, list, name))
    if not all(isinstance(value, int | float) for value in values):
        raise sqlite3.DataError(f"{name} is not a list of numbers: {str(text)[:40]!r}")
    return tuple(float(cast("float", value)) for value in values)

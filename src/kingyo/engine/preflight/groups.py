"""Describe the tensors of a plan in few lines: tensors that differ only in the number of a layer are a group.

A model of three hundred tensors has about a dozen groups.
"""

from __future__ import annotations

import math
import re
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass

from kingyo.engine.jobs import TensorJob
from kingyo.engine.plan import Plan
from kingyo.engine.values import written
from kingyo.recipe import Conditional

_NUMBERS = re.compile(r"(?<=\.)\d+(?=\.|$)|^\d+(?=\.)")
_NUMBER = re.compile(r"[-+.\w]+")
_MAX_SPLITS = 4  # groups of one form by value; if there were more, one group has the range of values


@dataclass(frozen=True, kw_only=True)
class ValueRange:
    """The values of a parameter for the tensors of a group.

    Attributes:
        least, most: the smallest and the largest value.
        gradient: the points of the recipe's gradient, if it sets the values of all tensors.
        filter: the filter of the gradient.
    """

    least: float | bool
    most: float | bool
    gradient: tuple[float | bool | str, ...] | None = None
    filter: str | None = None

    def __str__(self) -> str:
        if self.least == self.most:
            return _number(self.least)
        if self.gradient is None:
            return f"{_number(self.least)}…{_number(self.most)}"
        points = "→".join(each if isinstance(each, str) else _number(each) for each in self.gradient)
        return points if self.filter is None else f"{points} (filter {self.filter})"


@dataclass(frozen=True, kw_only=True)
class JobGroup:
    """Tensors with the same shape, dtype and parameters, whose names differ only in numbers.

    Attributes:
        names: all names in order.
        label: the names as one, such as ``model.layers.{0–23}.mlp.up_proj.weight``.
        shape, dtype: those of each tensor.
        how: what is done with them, such as ``weight 0.5``; a list has one value for each source.
        values: ranges by parameter, one for each source or one for all of them.
        is_merged: whether they are merged and not copied.
    """

    names: tuple[str, ...]
    label: str
    shape: tuple[int, ...]
    dtype: str
    how: tuple[str, ...]
    values: Mapping[str, tuple[ValueRange, ...]]
    is_merged: bool

    @property
    def n_elements(self) -> int:
        """Number of elements of all tensors."""
        return len(self.names) * math.prod(self.shape)


_Cell = tuple[float | bool, Conditional | None]
"""The value of a parameter, and the gradient that gives it."""


def group(plan: Plan) -> tuple[JobGroup, ...]:
    """Return the groups of a plan's tensors."""
    forms: dict[tuple[object, ...], list[TensorJob]] = {}
    for job in plan.jobs:
        inputs = tuple(_NUMBERS.sub("*", each.tensor) for each in job.inputs)
        key = (_NUMBERS.sub("*", job.name), job.shape, job.dtype, job.method is None, inputs, job.sources)
        forms.setdefault(key, []).append(job)
    return tuple(each for jobs in forms.values() for each in _split(jobs))


def ungrouped(plan: Plan) -> tuple[JobGroup, ...]:
    """Return one group for each tensor."""
    return tuple(_group([job]) for job in plan.jobs)


def common_text(groups: Sequence[JobGroup]) -> tuple[str, ...]:
    """Return the parts of ``how`` that all merged groups share."""
    merged = [each.how for each in groups if each.is_merged]
    return tuple(part for part in (merged[0] if merged else ()) if all(part in how for how in merged))


def _split(jobs: Sequence[TensorJob]) -> Iterator[JobGroup]:
    """Split tensors by their values; the tensors of one gradient stay together."""
    parts: dict[object, list[TensorJob]] = {}
    for job in jobs:
        cells = {
            name: [number if gradient is None else gradient for number, gradient in row]
            for name, row in _cells(job).items()
        }
        parts.setdefault(repr(cells), []).append(job)
    yield from (_group(same) for same in ([jobs] if len(parts) > _MAX_SPLITS else parts.values()))


def _group(jobs: Sequence[TensorJob]) -> JobGroup:
    first, names, values = jobs[0], tuple(job.name for job in jobs), _values(jobs)
    return JobGroup(
        names=names,
        label=_label(names),
        shape=first.shape,
        dtype=first.dtype,
        how=_how(first, values),
        values=values,
        is_merged=first.method is not None,
    )


def _label(names: Sequence[str]) -> str:
    """Return one name for all; numbers that differ become ranges in braces."""
    parts = _NUMBERS.split(names[0])
    columns = list(zip(*(_NUMBERS.findall(name) for name in names), strict=True))
    numbers = [_ranges(sorted({int(each) for each in column})) for column in columns]
    return "".join(part + number for part, number in zip(parts, [*numbers, ""], strict=True))


def _ranges(numbers: Sequence[int]) -> str:
    if len(numbers) == 1:
        return str(numbers[0])
    runs: list[list[int]] = []
    for number in numbers:
        if runs and number == runs[-1][-1] + 1:
            runs[-1].append(number)
        else:
            runs.append([number])
    texts = [f"{run[0]}–{run[-1]}" if len(run) > 1 else str(run[0]) for run in runs]
    return f"{{{','.join(texts)}}}"


def _how(job: TensorJob, values: Mapping[str, tuple[ValueRange, ...]]) -> tuple[str, ...]:
    if job.method is None:
        sources = ", ".join(job.sources)
        return (f"copied from {sources}" if len(job.inputs) == 1 else f"must be equal in {sources}",)
    texts = {name: list(map(str, ranges)) for name, ranges in values.items()}
    return tuple(f"{name} {_list(each if len(set(each)) > 1 else each[:1])}" for name, each in texts.items())


def _list(texts: Sequence[str]) -> str:
    """Join values with spaces; with bars if some are more than a number."""
    return " ".join(texts) if all(map(_NUMBER.fullmatch, texts)) else " | ".join(texts)


def _values(jobs: Sequence[TensorJob]) -> Mapping[str, tuple[ValueRange, ...]]:
    rows = [_cells(job) for job in jobs]
    return {
        name: tuple(_value_range(column) for column in zip(*(row[name] for row in rows), strict=True))
        for name in rows[0]
    }


def _value_range(column: Sequence[_Cell]) -> ValueRange:
    numbers = [number for number, _ in column]
    least, most, gradient = min(numbers), max(numbers), column[0][1]
    if gradient is None or least == most or any(each != gradient for _, each in column):
        return ValueRange(least=least, most=most)
    assert isinstance(gradient.value, tuple)
    return ValueRange(least=least, most=most, gradient=gradient.value, filter=gradient.filter)


def _cells(job: TensorJob) -> Mapping[str, tuple[_Cell, ...]]:
    """Return the cells of each parameter: one for each source, or one for all of them."""
    values = {**{name: (value,) for name, value in job.values.shared.items()}, **job.values.per_source}
    if job.piece is None or job.method is None or job.piece.is_constant:
        return {name: tuple((number, None) for number in numbers) for name, numbers in values.items()}
    known = {parameter.name: parameter for parameter in job.method.params}
    return {
        name: tuple(
            (number, entry if entry is not None and isinstance(entry.value, tuple) else None)
            for number, entry in zip(
                numbers, written(job.piece, known[name], job.name, job.inputs), strict=True
            )
        )
        for name, numbers in values.items()
    }


def _number(value: float | bool) -> str:
    return str(value).lower() if isinstance(value, bool) else f"{value:.4g}"

"""The tensors of a plan in few lines: those of one form and equal values are one group.

Names of layers and experts differ in numbers alone; a model of three hundred tensors has a dozen forms.
"""

from __future__ import annotations

import math
import re
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass

from kingyo.engine import Plan, TensorJob
from kingyo.engine.values import written
from kingyo.recipe import Conditional

_NUMBERS = re.compile(r"(?<=\.)\d+(?=\.|$)|^\d+(?=\.)")
_NUMBER = re.compile(r"[-+.\w]+")
_MOST_SPLITS = 4  # groups that a form is split into; of more the values' ranges are told


@dataclass(frozen=True, kw_only=True)
class ValueRange:
    """A parameter's value over the tensors of a group.

    Attributes:
        least, most: of the tensors; they differ with a gradient, and where many values are one group.
        gradient: its points as the recipe has them, if it is one for all of these tensors.
        filter: the gradient's.
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
class MergeGroup:
    """Tensors of one form.

    Attributes:
        names: all of them, in order.
        label: their names in one, such as ``model.layers.{0–23}.mlp.up_proj.weight``.
        shape, dtype: of each.
        how: what is done with them, such as ``weight 0.5``; a list has one value for each source.
        values: the same as numbers, by parameter: one for each source, or one for all of them.
        is_merged: whether they are merged, and not taken as they are.
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
        """Numbers in all of them."""
        return len(self.names) * math.prod(self.shape)


_Cell = tuple[float | bool, Conditional | None]


def group(plan: Plan) -> tuple[MergeGroup, ...]:
    """Group the tensors of a plan."""
    forms: dict[tuple[object, ...], list[TensorJob]] = {}
    for job in plan.jobs:
        moved = tuple(_NUMBERS.sub("*", each.tensor) for each in job.inputs)
        key = (_NUMBERS.sub("*", job.name), job.shape, job.dtype, job.method is None, moved, job.sources)
        forms.setdefault(key, []).append(job)
    return tuple(each for jobs in forms.values() for each in _split(jobs))


def shared(groups: Sequence[MergeGroup]) -> tuple[str, ...]:
    """What is said of all groups that are merged."""
    merged = [each.how for each in groups if each.is_merged]
    return tuple(part for part in (merged[0] if merged else ()) if all(part in how for how in merged))


def ungrouped(plan: Plan) -> tuple[MergeGroup, ...]:
    """Every tensor as a group of its own."""
    return tuple(_group([job]) for job in plan.jobs)


def _split(jobs: Sequence[TensorJob]) -> Iterator[MergeGroup]:
    """Part a form by what the recipe says: the tensors of one gradient stay together."""
    parts: dict[object, list[TensorJob]] = {}
    for job in jobs:
        said = {name: [_said(cell) for cell in cells] for name, cells in _cells(job).items()}
        parts.setdefault(repr(said), []).append(job)
    yield from (_group(same) for same in ([jobs] if len(parts) > _MOST_SPLITS else parts.values()))


def _group(jobs: Sequence[TensorJob]) -> MergeGroup:
    first, names, values = jobs[0], tuple(job.name for job in jobs), _values(jobs)
    return MergeGroup(
        names=names,
        label=_label(names),
        shape=first.shape,
        dtype=first.dtype,
        how=_how(first, values),
        values=values,
        is_merged=first.method is not None,
    )


def _label(names: Sequence[str]) -> str:
    """One name for all; numbers that differ become a list in braces."""
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
    told = [f"{run[0]}–{run[-1]}" if len(run) > 1 else str(run[0]) for run in runs]
    return f"{{{','.join(told)}}}"


def _how(job: TensorJob, values: Mapping[str, tuple[ValueRange, ...]]) -> tuple[str, ...]:
    """One value for each source; one for all where these are equal."""
    if job.method is None:
        of = ", ".join(job.sources)
        return (f"copied from {of}" if len(job.inputs) == 1 else f"must be equal in {of}",)
    texts = {name: list(map(str, told)) for name, told in values.items()}
    return tuple(f"{name} {_list(each if len(set(each)) > 1 else each[:1])}" for name, each in texts.items())


def _list(texts: Sequence[str]) -> str:
    """One after the other; with bars where some are more than a number."""
    return " ".join(texts) if all(map(_NUMBER.fullmatch, texts)) else " | ".join(texts)


def _values(jobs: Sequence[TensorJob]) -> Mapping[str, tuple[ValueRange, ...]]:
    rows = [_cells(job) for job in jobs]
    return {
        name: tuple(_value_range(column) for column in zip(*(row[name] for row in rows), strict=True))
        for name in rows[0]
    }


def _value_range(column: Sequence[_Cell]) -> ValueRange:
    numbers = [number for number, _ in column]
    least, most, said = min(numbers), max(numbers), column[0][1]
    if said is None or least == most or any(each != said for _, each in column):
        return ValueRange(least=least, most=most)
    assert isinstance(said.value, tuple)
    return ValueRange(least=least, most=most, gradient=said.value, filter=said.filter)


def _cells(job: TensorJob) -> Mapping[str, tuple[_Cell, ...]]:
    """Each number, and the gradient that it is of: one for each source, or one for all of them."""
    found = {**{name: (value,) for name, value in job.values.shared.items()}, **job.values.per_source}
    if job.piece is None or job.method is None or job.piece.is_constant:
        return {name: tuple((number, None) for number in numbers) for name, numbers in found.items()}
    known = {parameter.name: parameter for parameter in job.method.params}
    return {
        name: tuple(
            (number, said if said is not None and isinstance(said.value, tuple) else None)
            for number, said in zip(
                numbers, written(job.piece, known[name], job.name, job.inputs), strict=True
            )
        )
        for name, numbers in found.items()
    }


def _said(cell: _Cell) -> object:
    number, gradient = cell
    return number if gradient is None else gradient


def _number(value: float | bool) -> str:
    return str(value).lower() if isinstance(value, bool) else f"{value:.4g}"

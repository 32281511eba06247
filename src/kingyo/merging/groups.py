"""The tensors of a plan in few lines: those of one form and equal values are one group.

Names of layers and experts differ in numbers alone; a model of three hundred tensors has a dozen forms.
"""

from __future__ import annotations

import math
import re
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass

from kingyo.merge import Plan, TensorJob

_NUMBERS = re.compile(r"(?<=\.)\d+(?=\.|$)|^\d+(?=\.)")
_MOST_SPLITS = 4  # groups that a form is split into; of more the values' ranges are told

Values = Mapping[str, tuple[float | bool, ...]]


@dataclass(frozen=True, kw_only=True)
class Group:
    """Tensors of one form.

    Attributes:
        names: all of them, in order.
        label: their names in one, such as ``model.layers.{0–23}.mlp.up_proj.weight``.
        shape, dtype: of each.
        how: what is done with them, such as ``weight 0.5``; a list has one value for each source.
        is_merged: whether they are merged, and not taken as they are.
    """

    names: tuple[str, ...]
    label: str
    shape: tuple[int, ...]
    dtype: str
    how: tuple[str, ...]
    is_merged: bool

    @property
    def n_elements(self) -> int:
        """Numbers in all of them."""
        return len(self.names) * math.prod(self.shape)


def group(plan: Plan) -> tuple[Group, ...]:
    """Group the tensors of a plan."""
    forms: dict[tuple[object, ...], list[TensorJob]] = {}
    for job in plan.jobs:
        moved = tuple(_NUMBERS.sub("*", each.tensor) for each in job.inputs)
        key = (_NUMBERS.sub("*", job.name), job.shape, job.dtype, job.method is None, moved, job.sources)
        forms.setdefault(key, []).append(job)
    return tuple(each for jobs in forms.values() for each in _split(jobs))


def shared(groups: Sequence[Group]) -> tuple[str, ...]:
    """What is said of all groups that are merged."""
    merged = [each.how for each in groups if each.is_merged]
    return tuple(part for part in (merged[0] if merged else ()) if all(part in how for how in merged))


def ungrouped(plan: Plan) -> tuple[Group, ...]:
    """Every tensor as a group of its own."""
    return tuple(_group([job], _how([job])) for job in plan.jobs)


def _split(jobs: Sequence[TensorJob]) -> Iterator[Group]:
    by_values: dict[tuple[str, ...], list[TensorJob]] = {}
    for job in jobs:
        by_values.setdefault(_how([job]), []).append(job)
    if len(by_values) > _MOST_SPLITS:
        yield _group(jobs, _how(jobs))
    else:
        yield from (_group(same, how) for how, same in by_values.items())


def _group(jobs: Sequence[TensorJob], how: tuple[str, ...]) -> Group:
    first, names = jobs[0], tuple(job.name for job in jobs)
    return Group(
        names=names,
        label=_label(names),
        shape=first.shape,
        dtype=first.dtype,
        how=how,
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


def _how(jobs: Sequence[TensorJob]) -> tuple[str, ...]:
    first = jobs[0]
    if first.method is None:
        of = ", ".join(first.sources)
        return (f"copied from {of}" if len(first.inputs) == 1 else f"must be equal in {of}",)
    columns = [_values(job) for job in jobs]
    return tuple(f"{name} {_told([column[name] for column in columns])}" for name in columns[0])


def _values(job: TensorJob) -> Values:
    return {**{name: (value,) for name, value in job.values.shared.items()}, **job.values.per_source}


def _told(rows: Sequence[tuple[float | bool, ...]]) -> str:
    """One value for each source, or the range of each over the tensors; one for all where these are equal."""
    texts = [
        _number(column[0]) if len(set(column)) == 1 else f"{_number(min(column))}…{_number(max(column))}"
        for column in zip(*rows, strict=True)
    ]
    return " ".join(texts if len(set(texts)) > 1 else texts[:1])


def _number(value: float | bool) -> str:
    return str(value).lower() if isinstance(value, bool) else f"{value:.4g}"

"""Find filters in a recipe that match no tensor, which are probably misspelt."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from typing import cast

from kingyo.engine.modules import SliceMerge
from kingyo.engine.slices import BoundTensor
from kingyo.errors import nearest
from kingyo.methods import MergeMethod
from kingyo.recipe import Conditional, Plain, Value, Values


@dataclass(frozen=True, kw_only=True)
class UnmatchedFilter:
    """A filter that matches no tensor.

    Attributes:
        where: the parameter, such as ``weight of ja``.
        filter: the filter as written.
        nearest: the most similar part of a tensor's name, or None.
    """

    where: str
    filter: str
    nearest: str | None

    def __str__(self) -> str:
        hint = f"; did you mean '{self.nearest}'?" if self.nearest is not None else ""
        return f"{self.where}: the filter '{self.filter}' matches no tensor{hint}"


def entries(value: Value | None) -> Iterator[Conditional]:
    """Yield the entries of a parameter; a value without filters is one entry."""
    if isinstance(value, tuple) and value and isinstance(value[0], Conditional):
        yield from cast("tuple[Conditional, ...]", value)
    elif value is not None:
        yield Conditional(filter=None, value=cast("Plain", value))


def filters_of(levels: Iterable[Values], parameter: str) -> tuple[str, ...]:
    """Return the filters of a parameter, each once, without those that match every name."""
    filters = [each.filter for level in levels for each in entries(level.get(parameter))]
    return tuple(dict.fromkeys(each for each in filters if each is not None and each != "*"))


def unmatched_filters(
    method: MergeMethod, merges: Sequence[tuple[SliceMerge, Sequence[BoundTensor]]]
) -> tuple[UnmatchedFilter, ...]:
    """Return the filters that match none of the tensors they could apply to.

    Args:
        method: the merge method.
        merges: merges with filters, each with all its tensors. A filter that several merges share, such as
            one of a recipe with slices, needs to match in only one of them.
    """
    seen: dict[tuple[str, str], list[Sequence[str]]] = {}
    for piece, tensors in merges:
        for where, filters, names in _uses(method, piece, tensors):
            for each in filters:
                seen.setdefault((where, each), []).append(names)
    return tuple(
        UnmatchedFilter(where=where, filter=each, nearest=_nearest_part(each, lists))
        for (where, each), lists in seen.items()
        if not any(each in name for names in lists for name in names)
    )


def _uses(
    method: MergeMethod, piece: SliceMerge, tensors: Sequence[BoundTensor]
) -> Iterator[tuple[str, tuple[str, ...], Sequence[str]]]:
    """Yield the place of filters, the filters, and the names that they are matched with; see ``resolve``."""
    for parameter in method.params:
        name = parameter.name
        shared = filters_of(piece.levels, name)
        if not parameter.per_source:
            if shared:
                yield name, shared, [tensor.name for tensor in tensors]
            continue
        for i, entry in enumerate(piece.merged):
            own = filters_of((entry.own,), name)
            names = [tensor.inputs[i].tensor for tensor in tensors] if own or shared else []
            yield f"{name} of {entry.reference}", own, names
            yield name, shared, names


def _nearest_part(written: str, lists: Sequence[Sequence[str]]) -> str | None:
    """Return the most similar part of a name with the same number of words, or None."""
    length = len(written.strip(".").split("."))
    parts: set[str] = set()
    for name in {name for names in lists for name in names}:
        words = name.split(".")
        runs = (words[i : i + length] for i in range(len(words) - length + 1))
        parts |= {".".join(run) for run in runs if not run[0].isdigit()}
    return nearest(written.strip("."), parts)

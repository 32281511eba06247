"""Filters that match no tensor: most are slips of the pen, and a merge would go on as if they were not there.

It knows pieces and names of tensors, and no weight.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from typing import cast

from kingyo.engine.layers import LayerTensor
from kingyo.engine.pieces import SliceMerge
from kingyo.errors import suggest
from kingyo.methods import MergeMethod
from kingyo.recipe import Conditional, Plain, Value, Values

_FOUND = "Did you mean "


@dataclass(frozen=True, kw_only=True)
class Unmatched:
    """A filter that matches no tensor.

    Attributes:
        where: the parameter, and whose it is, such as ``weight of ja``.
        filter: as written.
        nearest: the part of a tensor's name that is most like it, if one is near.
    """

    where: str
    filter: str
    nearest: str | None

    def __str__(self) -> str:
        hint = f"; did you mean '{self.nearest}'?" if self.nearest is not None else ""
        return f"{self.where}: the filter '{self.filter}' matches no tensor{hint}"


def filters_of(levels: Iterable[Values], parameter: str) -> tuple[str, ...]:
    """The filters that a parameter has, each once; those that match every name are none."""
    found = [each.filter for level in levels for each in entries(level.get(parameter))]
    return tuple(dict.fromkeys(each for each in found if each is not None and each != "*"))


def unmatched(
    method: MergeMethod, merged: Sequence[tuple[SliceMerge, Sequence[LayerTensor]]]
) -> tuple[Unmatched, ...]:
    """Look for filters that match none of the tensors that their values could speak of.

    Args:
        method: whose parameters they are.
        merged: pieces that have filters, each with all tensors that it merges. What several pieces share,
            such as the parameters of a recipe with slices, need match in one of them.
    """
    seen: dict[tuple[str, str], list[Sequence[str]]] = {}
    for piece, tensors in merged:
        for where, own, names in _places(method, piece, tensors):
            for each in own:
                seen.setdefault((where, each), []).append(names)
    return tuple(
        Unmatched(where=where, filter=each, nearest=_nearest(each, lists))
        for (where, each), lists in seen.items()
        if not any(each in name for names in lists for name in names)
    )


def _places(
    method: MergeMethod, piece: SliceMerge, tensors: Sequence[LayerTensor]
) -> Iterator[tuple[str, tuple[str, ...], Sequence[str]]]:
    """Where filters stand, the filters, and the names that they look at: see ``resolve``."""
    for parameter in method.params:
        name = parameter.name
        common = filters_of(piece.levels, name)
        if not parameter.per_source:
            if common:
                yield name, common, [tensor.name for tensor in tensors]
            continue
        for i, entry in enumerate(piece.merged):
            own = filters_of((entry.own,), name)
            names = [tensor.inputs[i].tensor for tensor in tensors] if own or common else []
            yield f"{name} of {entry.reference}", own, names
            yield name, common, names


def entries(value: Value | None) -> Iterator[Conditional]:
    """The entries of a parameter: without filters it is one."""
    if isinstance(value, tuple) and value and isinstance(value[0], Conditional):
        yield from cast("tuple[Conditional, ...]", value)
    elif value is not None:
        yield Conditional(filter=None, value=cast("Plain", value))


def _nearest(written: str, lists: Sequence[Sequence[str]]) -> str | None:
    """The nearest of all parts of names that have as many words; numbers alone are no parts."""
    length = len(written.strip(".").split("."))
    parts: set[str] = set()
    for name in {name for names in lists for name in names}:
        words = name.split(".")
        runs = (words[i : i + length] for i in range(len(words) - length + 1))
        parts |= {".".join(run) for run in runs if not run[0].isdigit()}
    told = suggest(written.strip("."), parts)
    return told.removeprefix(_FOUND).rstrip("?").strip("'") if told.startswith(_FOUND) else None

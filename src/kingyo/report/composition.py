"""What a genome is made of, as matrices: one per parameter, sources down, groups of layers across.

It reads the axes that a search stores of itself, named ``weight/ja/block.3``; it knows no merge method. Genes
of a path through layers, named ``pass 1/ja.3``, say nothing in such a picture: paths have their own.
"""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import cast

from kingyo.types import Genome

EVERY = "all sources"
OF_PATHS = re.compile(r"(pass \d+|log2 scale|network)/[^/]*")


@dataclass(frozen=True, kw_only=True)
class Matrix:
    """The genes of one parameter.

    Attributes:
        parameter: its name.
        rows, columns: sources and groups of layers; or the parameter and the sources when there is one group.
        cells: one row of genes per source; None where the space has no such axis.
        low, high: bounds of the axes.
        grouped: whether the columns are groups of layers.
    """

    parameter: str
    rows: tuple[str, ...]
    columns: tuple[str, ...]
    cells: tuple[tuple[float | None, ...], ...]
    low: float
    high: float
    grouped: bool

    @property
    def is_signed(self) -> bool:
        """Whether zero lies inside the bounds."""
        return self.low < 0 < self.high


def read_matrices(description: Mapping[str, object], genome: Genome) -> list[Matrix]:
    """Lay a genome out by the axes of its search; an empty list when they do not fit together."""
    axes = cast("list[Mapping[str, object]]", description.get("axes", []))
    if not genome or len(axes) != len(genome):
        return []
    genes: dict[str, dict[tuple[str, str], float]] = {}
    bounds: dict[str, list[float]] = {}
    for axis, gene in zip(axes, genome, strict=True):
        if OF_PATHS.fullmatch(str(axis["name"])):
            continue
        parameter, source, group = _parts(str(axis["name"]))
        genes.setdefault(parameter, {})[source, group] = gene
        bounds.setdefault(parameter, []).extend(cast(float, axis[bound]) for bound in ("low", "high"))
    return [_matrix(name, found, bounds[name]) for name, found in genes.items()]


def _matrix(parameter: str, genes: Mapping[tuple[str, str], float], bounds: Sequence[float]) -> Matrix:
    sources = tuple(dict.fromkeys(source for source, _ in genes))
    groups = tuple(dict.fromkeys(group for _, group in genes))
    rows, columns = sources, groups
    cells = tuple(tuple(genes.get((source, group)) for group in groups) for source in sources)
    if len(groups) == 1:
        rows, columns = (parameter,), sources
        cells = (tuple(genes.values()),)
    return Matrix(
        parameter=parameter,
        rows=rows,
        columns=columns,
        cells=cells,
        low=min(bounds),
        high=max(bounds),
        grouped=len(groups) > 1,
    )


def _parts(axis: str) -> tuple[str, str, str]:
    """Parameter, source and group of an axis; a space with other names gets rows of its own."""
    parts = axis.split("/", 2)
    if len(parts) == 3:
        return parts[0], parts[1], parts[2]
    return parts[0], EVERY, parts[1] if len(parts) == 2 else ""

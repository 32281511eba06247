"""The genes of a search: their names and ranges, their importance, and one genome laid out as matrices.

It reads the axes that a search stores, named such as ``weight/ja/block.3``, and knows no merge method.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass
from typing import cast

from kingyo.report.search_history import SearchHistory
from kingyo.results.importance import importance
from kingyo.stats import Interval
from kingyo.types import Genome

EVERY = "all sources"
SHOWN = 6  # genes that have charts of their own
OF_PATHS = re.compile(r"(pass \d+|log2 scale|network)/[^/]*")
"""Genes of a path through layers, which has its own picture."""


@dataclass(frozen=True, kw_only=True)
class Gene:
    """One axis of a search.

    Attributes:
        place: position in a genome.
        name: as stored, without a group that is the only one.
        low, high: its bounds.
        importance: its share of what decides between good and bad trials; None where it is not known.
    """

    place: int
    name: str
    low: float
    high: float
    importance: Interval | None


@dataclass(frozen=True, kw_only=True)
class Matrix:
    """The genes of one parameter in one genome.

    Attributes:
        parameter: its name.
        sources, groups: the sources, and the groups of layers; there may be one of either.
        cells: source and group -> gene.
        low, high: bounds of the axes.
    """

    parameter: str
    sources: tuple[str, ...]
    groups: tuple[str, ...]
    cells: Mapping[tuple[str, str], float]
    low: float
    high: float


def read_genes(history: SearchHistory | None) -> tuple[Gene, ...]:
    """Return the genes of a search, the most important first."""
    axes = [] if history is None else axes_of(history.description)
    scored = [] if history is None else history.scored
    scored = [(point, score) for point, score in scored if len(point.trial.asked.genome) == len(axes)]
    bounds = [(cast(float, axis["low"]), cast(float, axis["high"])) for axis in axes]
    shares = importance(
        [point.trial.asked.genome for point, _ in scored], [score for _, score in scored], bounds
    )
    genes = [
        Gene(
            place=place,
            name=str(axis["name"]).removesuffix("/all"),
            low=low,
            high=high,
            importance=shares[place] if shares else None,
        )
        for place, (axis, (low, high)) in enumerate(zip(axes, bounds, strict=True))
    ]
    return tuple(sorted(genes, key=lambda gene: -(gene.importance.score if gene.importance else 0.0)))


def read_matrices(description: Mapping[str, object], genome: Genome) -> tuple[Matrix, ...]:
    """Lay a genome out by the axes of its search; nothing when they do not fit together."""
    axes = axes_of(description)
    if not genome or len(axes) != len(genome):
        return ()
    cells: dict[str, dict[tuple[str, str], float]] = {}
    bounds: dict[str, list[float]] = {}
    for axis, gene in zip(axes, genome, strict=True):
        if OF_PATHS.fullmatch(str(axis["name"])):
            continue
        parameter, source, group = _parts(str(axis["name"]))
        cells.setdefault(parameter, {})[source, group] = gene
        bounds.setdefault(parameter, []).extend(cast(float, axis[bound]) for bound in ("low", "high"))
    return tuple(
        Matrix(
            parameter=name,
            sources=tuple(dict.fromkeys(source for source, _ in own)),
            groups=tuple(dict.fromkeys(group for _, group in own)),
            cells=own,
            low=min(bounds[name]),
            high=max(bounds[name]),
        )
        for name, own in cells.items()
    )


def axes_of(description: Mapping[str, object]) -> list[Mapping[str, object]]:
    """Return the axes that a search stored."""
    return cast("list[Mapping[str, object]]", description.get("axes", []))


def _parts(axis: str) -> tuple[str, str, str]:
    """Return parameter, source and group of an axis; a space with other names gets rows of its own."""
    parts = axis.split("/", 2)
    if len(parts) == 3:
        return parts[0], parts[1], parts[2]
    return parts[0], EVERY, parts[1] if len(parts) == 2 else ""

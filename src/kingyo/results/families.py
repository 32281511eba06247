"""Families of genes: those of one quantity at all places of a model, such as the weights of one source."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from statistics import fmean
from typing import cast

from kingyo.types import Genome


def axes_of(description: Mapping[str, object]) -> list[Mapping[str, object]]:
    """Return the axes that a search stored."""
    return cast("list[Mapping[str, object]]", description.get("axes", []))


def families_of(description: Mapping[str, object]) -> dict[str, list[int]]:
    """Return family -> the positions of its genes: ``weight/ja`` has the axes ``weight/ja/block.3``, …"""
    families: dict[str, list[int]] = {}
    for place, axis in enumerate(axes_of(description)):
        families.setdefault(family_of(str(axis["name"])), []).append(place)
    return families


def family_of(axis: str) -> str:
    """Return an axis' name without the group of tensors, which comes last."""
    parts = axis.split("/", 2)
    return "/".join(parts[: max(1, len(parts) - 1)])


def mean_text(genes: Sequence[float]) -> str:
    """Return the mean and the range of genes, such as "0.82 (0.10 to 1.30)"; one gene has no range."""
    low, high = f"{min(genes):.2f}", f"{max(genes):.2f}"
    text = f"{fmean(genes):.2f}" + (f" ({low} to {high})" if low != high else "")
    return text.replace("-", "−")


def means_by_family(description: Mapping[str, object], genome: Genome) -> dict[str, str]:
    """Return family -> mean and range of its genes; nothing if genome and axes do not fit together."""
    if len(axes_of(description)) != len(genome):
        return {}
    return {
        family: mean_text([genome[place] for place in places])
        for family, places in families_of(description).items()
    }

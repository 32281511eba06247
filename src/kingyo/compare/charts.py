"""What a picture of a comparison shows: a few charts, each by layer and by kind. It draws nothing."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

from kingyo.compare.advice import letter
from kingyo.compare.measures import Comparison, Measures


@dataclass(frozen=True, kw_only=True)
class Series:
    """One model, or one pair of them: a value for each layer and each kind; None where there is none."""

    name: str
    by_layer: tuple[float | None, ...]
    by_kind: tuple[float | None, ...]


@dataclass(frozen=True, kw_only=True)
class Chart:
    """A chart: what its values are, and its series."""

    title: str
    series: tuple[Series, ...]


def layers(found: Comparison) -> tuple[str, ...]:
    """Short names of the layers."""
    return tuple(layer.removeprefix("block.") for layer in found.layers)


def charts(found: Comparison) -> tuple[Chart, ...]:
    """The charts of a comparison; models go by their letters."""
    several = len(found.models) > 1
    if found.base is None:
        return (
            _of_pairs("‖difference‖ / ‖first‖", found, lambda sums, i, j: sums.relative(j, i)),
            _of_pairs("cosine of weights", found, Measures.cosine),
        )
    own = (
        _of_models("‖task vector‖ / ‖base‖", found, Measures.change),
        _of_models("energy of the largest 10 %", found, Measures.top_share),
    )
    shared = (
        _of_pairs("cosine of task vectors", found, Measures.delta_cosine),
        _of_pairs("opposite signs, by magnitude", found, Measures.weighted_conflict),
    )
    return (own[0], *shared, own[1]) if several else own


def _of_models(title: str, found: Comparison, value: Callable[[Measures, int], float | None]) -> Chart:
    names = range(len(found.models))
    return Chart(
        title=title, series=tuple(_series(letter(i), found, lambda sums, i=i: value(sums, i)) for i in names)
    )


def _of_pairs(title: str, found: Comparison, value: Callable[[Measures, int, int], float | None]) -> Chart:
    return Chart(
        title=title,
        series=tuple(
            _series(f"{letter(i)}, {letter(j)}", found, lambda sums, i=i, j=j: value(sums, i, j))
            for i, j in found.total.pairs()
        ),
    )


def _series(name: str, found: Comparison, value: Callable[[Measures], float | None]) -> Series:
    return Series(
        name=name,
        by_layer=tuple(value(each) for each in found.layers.values()),
        by_kind=tuple(value(each) for each in found.kinds.values()),
    )

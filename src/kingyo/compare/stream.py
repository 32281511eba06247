"""Comparing models tensor by tensor: some ten thousand numbers of each model in memory at a time.

Differences and sums are in float64. Nothing is kept but sums.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from itertools import combinations

import numpy as np
import torch
from torch import Tensor

from kingyo.checkpoints import Checkpoint, check_fit
from kingyo.compare.measures import BINS, Comparison, Group, Measures
from kingyo.errors import KingyoError

_BITS_WITHIN_A_BIN = 20
_AT_ONCE = 1 << 15  # numbers of each model: few enough for a processor's cache, and for one thread


def compare(
    models: Sequence[Checkpoint], base: Checkpoint | None, done: Callable[[int], None] = lambda _: None
) -> Comparison:
    """Measure how models differ from one another, and from their base.

    Args:
        models: two or more; with a base, one is enough.
        base: their common ancestor, if there is one.
        done: called with how many numbers of each model were read since the last call.

    Raises:
        KingyoError: too few models, tensors or shapes that differ, or weights that are not finite.
    """
    if len(models) + (base is not None) < 2:
        raise KingyoError(
            "models",
            expected="two models or more, or one and its base",
            received=f"{len(models)}",
            remedy="Name another model, or a base with --base.",
        )
    everyone = [*models, *([] if base is None else [base])]
    for other in everyone[1:]:
        check_fit(everyone[0], other)
    layout, infos = everyone[0].layout, everyone[0].tensors
    groups: dict[tuple[str, str], Measures] = {}
    differing: list[str] = []
    for layer, names in layout.groups("block").items():
        for name in names:
            tensors = [each.read(name) for each in everyone]
            if not infos[name].is_floating:
                differing += [] if all(torch.equal(tensors[0], each) for each in tensors) else [name]
                continue
            key = (layer, layout.kind(name))
            measured = _measure(tensors, done, has_base=base is not None)
            _check_finite(name, measured, everyone)
            groups[key] = groups[key] + measured if key in groups else measured
    return Comparison(
        models=tuple(each.reference for each in models),
        base=None if base is None else base.reference,
        groups=tuple(Group(layer=layer, kind=kind, measures=each) for (layer, kind), each in groups.items()),
        notes=tuple(f"{name} holds no floating-point numbers, and differs." for name in differing),
    )


def _measure(tensors: Sequence[Tensor], done: Callable[[int], None], *, has_base: bool) -> Measures:
    flat = [tensor.flatten() for tensor in tensors]
    total = Measures.zeros(len(flat) - has_base, has_base=has_base)
    for start in range(0, len(flat[0]), _AT_ONCE):
        rows = torch.stack([each[start : start + _AT_ONCE].double() for each in flat])
        total = total + _measure_rows(rows, has_base=has_base)
        done(rows.shape[1])
    return total


def _measure_rows(rows: Tensor, *, has_base: bool) -> Measures:
    """The sums over a span of numbers; one row is one model's."""
    n = rows.shape[1]
    found = Measures.zeros(len(rows) - has_base, has_base=has_base, numbers=n)
    found.products[:] = (rows @ rows.T).numpy()
    for i, j in combinations(range(len(rows)), 2):
        gap = rows[i] - rows[j]
        found.gaps[i, j] = found.gaps[j, i] = float(gap @ gap)
        found.equal[i, j] = found.equal[j, i] = n - np.count_nonzero(gap.numpy())
    if has_base:
        _measure_deltas(rows[:-1] - rows[-1], found)
    return found


def _measure_deltas(deltas: Tensor, found: Measures) -> None:
    """Fill in the sums over task vectors."""
    found.delta_products[:] = (deltas @ deltas.T).numpy()
    for i, delta in enumerate(deltas):
        bins = delta.float().abs().view(torch.int32) >> _BITS_WITHIN_A_BIN
        found.counts[i] = torch.bincount(bins, minlength=BINS).numpy()
        found.energies[i] = torch.bincount(bins, weights=delta * delta, minlength=BINS).numpy()
    for i, j in combinations(range(len(deltas)), 2):
        product = (deltas[i] * deltas[j]).numpy()
        found.opposed[i, j] = found.opposed[j, i] = np.count_nonzero(product < 0)
        found.shared[i, j] = found.shared[j, i] = np.count_nonzero(product)
        found.delta_sizes[i, j] = found.delta_sizes[j, i] = np.abs(product).sum()


def _check_finite(name: str, measured: Measures, models: Sequence[Checkpoint]) -> None:
    for i, model in enumerate(models):
        if not np.isfinite(measured.products[i, i]):
            raise KingyoError(
                f"{model.reference}: {name}",
                expected="finite weights",
                received="NaN or infinity",
                remedy="This model is broken: leave it out, or fetch it again.",
            )

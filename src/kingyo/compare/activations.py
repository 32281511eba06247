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
from kingyo.compare.comparison_sums import (
    TOP,
    CheckpointComparison,
    ComparisonSums,
    Counts,
    Floats,
    TensorGroup,
)
from kingyo.errors import KingyoError

_BINS = 2048  # of |δ|: the bits of a float32 but its sign and its last 20; eight between powers of two
_BITS_WITHIN_A_BIN = 20
_AT_ONCE = 1 << 15  # numbers of each model: few enough for a processor's cache, and for one thread


def compare(
    models: Sequence[Checkpoint], base: Checkpoint | None, done: Callable[[int], None] = lambda _: None
) -> CheckpointComparison:
    """Measure how models differ from one another, and from their base.

    Args:
        models: two or more; with a base, one is enough.
        base: their common ancestor, if there is one.
        done: called with how many numbers of each model were read since the last call.

    Raises:
        KingyoError: too few models, tensors or shapes that differ, or weights that are not finite.
    """
    everyone = _fitting(models, base)
    layout, infos = everyone[0].layout, everyone[0].tensors
    groups: dict[tuple[str, str], ComparisonSums] = {}
    notes = [note for each in everyone for note in each.notes]
    for layer, names in layout.groups("block").items():
        for name in names:
            tensors = [each.read(name) for each in everyone]
            if not infos[name].is_floating:
                if any(not torch.equal(tensors[0], each) for each in tensors[1:]):
                    notes.append(f"{name} holds no floating-point numbers, and differs.")
                continue
            key = (layer, layout.kind(name))
            measured = _measure(tensors, done, has_base=base is not None)
            _check_finite(name, measured, everyone)
            groups[key] = groups[key] + measured if key in groups else measured
    return CheckpointComparison(
        models=tuple(each.reference for each in models),
        base=None if base is None else base.reference,
        groups=tuple(
            TensorGroup(layer=layer, kind=kind, measures=each) for (layer, kind), each in groups.items()
        ),
        notes=tuple(dict.fromkeys(notes)),
    )


def _fitting(models: Sequence[Checkpoint], base: Checkpoint | None) -> list[Checkpoint]:
    """All that are compared, the base last, once they are found to be enough and of one shape."""
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
    return everyone


def _measure(tensors: Sequence[Tensor], done: Callable[[int], None], *, has_base: bool) -> ComparisonSums:
    """The sums over one tensor."""
    flat = [tensor.flatten() for tensor in tensors]
    n_models = len(flat) - has_base
    total = ComparisonSums.zeros(n_models, has_base=has_base)
    sizes = [_Sizes() for _ in range(n_models if has_base else 0)]
    for start in range(0, len(flat[0]), _AT_ONCE):
        rows = torch.stack([each[start : start + _AT_ONCE].double() for each in flat])
        span = ComparisonSums.zeros(n_models, has_base=has_base, numbers=rows.shape[1])
        _fill_weights(rows, span)
        if has_base:
            deltas = rows[:-1] - rows[-1]
            _fill_deltas(deltas, span)
            for each, delta in zip(sizes, deltas, strict=True):
                each.count(delta)
        total = total + span
        done(span.numbers)
    for i, each in enumerate(sizes):
        total.top[i] = [each.top(share) for share in TOP]
    return total


def _fill_weights(rows: Tensor, found: ComparisonSums) -> None:
    """Fill in the sums over weights; one row is one model's."""
    found.products[:] = (rows @ rows.T).numpy()
    for i, j in combinations(range(len(rows)), 2):
        gap = rows[i] - rows[j]
        found.gaps[i, j] = found.gaps[j, i] = float(gap @ gap)
        found.equal[i, j] = found.equal[j, i] = found.numbers - np.count_nonzero(gap.numpy())


def _fill_deltas(deltas: Tensor, found: ComparisonSums) -> None:
    """Fill in the sums over task vectors."""
    found.delta_products[:] = (deltas @ deltas.T).numpy()
    for i, j in combinations(range(len(deltas)), 2):
        product = (deltas[i] * deltas[j]).numpy()
        found.opposed[i, j] = found.opposed[j, i] = np.count_nonzero(product < 0)
        found.shared[i, j] = found.shared[j, i] = np.count_nonzero(product)
        found.delta_sizes[i, j] = found.delta_sizes[j, i] = np.abs(product).sum()


class _Sizes:
    """How large the numbers of one task vector are, in bins: no number is kept, none is sorted."""

    def __init__(self) -> None:
        self._counts: Counts = np.zeros(_BINS, dtype=np.int64)
        self._energies: Floats = np.zeros(_BINS)

    def count(self, delta: Tensor) -> None:
        bins = delta.float().abs().view(torch.int32) >> _BITS_WITHIN_A_BIN
        self._counts += torch.bincount(bins, minlength=_BINS).numpy()
        self._energies += torch.bincount(bins, weights=delta * delta, minlength=_BINS).numpy()

    def top(self, share: float) -> float:
        """Σ δ² over this share of the numbers, the largest ones; the bin at the edge is taken in part."""
        filled = self._counts > 0
        counts, energies = self._counts[filled][::-1], self._energies[filled][::-1]
        before = np.cumsum(counts) - counts
        taken = np.clip((share * counts.sum() - before) / counts, 0.0, 1.0)
        return float(energies @ taken)


def _check_finite(name: str, measured: ComparisonSums, models: Sequence[Checkpoint]) -> None:
    for i, model in enumerate(models):
        if not np.isfinite(measured.products[i, i]):
            raise KingyoError(
                f"{model.reference}: {name}",
                expected="finite weights",
                received="NaN or infinity",
                remedy="This model is broken: leave it out, or fetch it again.",
            )

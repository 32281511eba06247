"""Comparison of checkpoints tensor by tensor, in chunks of some ten thousand numbers.

Differences and sums are in float64.
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

_BINS = 2048  # bins of |δ|: float32 without its sign and last 20 bits, 8 bins per power of two
_BITS_WITHIN_A_BIN = 20
_CHUNK = 1 << 15  # numbers of each model at a time, to fit the processor's cache


def compare(
    models: Sequence[Checkpoint], base: Checkpoint | None, progress: Callable[[int], None] = lambda _: None
) -> CheckpointComparison:
    """Measure the differences between models, and their task vectors if a base is given.

    Args:
        models: two or more; with a base, one is enough.
        base: their common ancestor.
        done: called with the number of values per model read since the last call.

    Raises:
        KingyoError: too few models, different tensors or shapes, or weights that are not finite.
    """
    checkpoints = _compatible(models, base)
    layout, infos = checkpoints[0].layout, checkpoints[0].tensors
    groups: dict[tuple[str, str], ComparisonSums] = {}
    notes = [note for checkpoint in checkpoints for note in checkpoint.notes]
    for layer, names in layout.groups("block").items():
        for name in names:
            tensors = [checkpoint.read(name) for checkpoint in checkpoints]
            if not infos[name].is_floating:
                if any(not torch.equal(tensors[0], tensor) for tensor in tensors[1:]):
                    notes.append(f"{name} is not a floating-point tensor, and differs between models.")
                continue
            key = (layer, layout.kind(name))
            sums = _measure(tensors, progress, has_base=base is not None)
            _check_finite(name, sums, checkpoints)
            groups[key] = groups[key] + sums if key in groups else sums
    return CheckpointComparison(
        models=tuple(model.reference for model in models),
        base=None if base is None else base.reference,
        groups=tuple(
            TensorGroup(layer=layer, kind=kind, measures=sums) for (layer, kind), sums in groups.items()
        ),
        notes=tuple(dict.fromkeys(notes)),
    )


def _compatible(models: Sequence[Checkpoint], base: Checkpoint | None) -> list[Checkpoint]:
    """Return models and base, which comes last, after checking their number and shapes."""
    if len(models) + (base is not None) < 2:
        raise KingyoError(
            "models",
            expected="two models or more, or one model and its base",
            received=f"{len(models)}",
            remedy="Name another model, or a base with --base.",
        )
    checkpoints = [*models, *([] if base is None else [base])]
    for other in checkpoints[1:]:
        check_fit(checkpoints[0], other)
    return checkpoints


def _measure(tensors: Sequence[Tensor], progress: Callable[[int], None], *, has_base: bool) -> ComparisonSums:
    """Return the sums over one tensor."""
    flat = [tensor.flatten() for tensor in tensors]
    n_models = len(flat) - has_base
    total = ComparisonSums.zeros(n_models, has_base=has_base)
    histograms = [_Histogram() for _ in range(n_models if has_base else 0)]
    for start in range(0, len(flat[0]), _CHUNK):
        rows = torch.stack([values[start : start + _CHUNK].double() for values in flat])
        chunk = ComparisonSums.zeros(n_models, has_base=has_base, numbers=rows.shape[1])
        _fill_weights(rows, chunk)
        if has_base:
            deltas = rows[:-1] - rows[-1]
            _fill_deltas(deltas, chunk)
            for histogram, delta in zip(histograms, deltas, strict=True):
                histogram.count(delta)
        total = total + chunk
        progress(chunk.numbers)
    for i, histogram in enumerate(histograms):
        total.top[i] = [histogram.top(share) for share in TOP]
    return total


def _fill_weights(rows: Tensor, sums: ComparisonSums) -> None:
    """Fill in the sums over weights; each row is a model."""
    sums.products[:] = (rows @ rows.T).numpy()
    for i, j in combinations(range(len(rows)), 2):
        gap = rows[i] - rows[j]
        sums.gaps[i, j] = sums.gaps[j, i] = float(gap @ gap)
        sums.equal[i, j] = sums.equal[j, i] = sums.numbers - np.count_nonzero(gap.numpy())


def _fill_deltas(deltas: Tensor, sums: ComparisonSums) -> None:
    """Fill in the sums over task vectors."""
    sums.delta_products[:] = (deltas @ deltas.T).numpy()
    for i, j in combinations(range(len(deltas)), 2):
        product = (deltas[i] * deltas[j]).numpy()
        sums.opposed[i, j] = sums.opposed[j, i] = np.count_nonzero(product < 0)
        sums.shared[i, j] = sums.shared[j, i] = np.count_nonzero(product)
        sums.delta_sizes[i, j] = sums.delta_sizes[j, i] = np.abs(product).sum()


class _Histogram:
    """Histogram of the magnitudes of a task vector, in logarithmic bins."""

    def __init__(self) -> None:
        self._counts: Counts = np.zeros(_BINS, dtype=np.int64)
        self._energies: Floats = np.zeros(_BINS)

    def count(self, delta: Tensor) -> None:
        bins = delta.float().abs().view(torch.int32) >> _BITS_WITHIN_A_BIN
        self._counts += torch.bincount(bins, minlength=_BINS).numpy()
        self._energies += torch.bincount(bins, weights=delta * delta, minlength=_BINS).numpy()

    def top(self, share: float) -> float:
        """Return Σ δ² over the largest numbers, this share of all; the bin at the edge counts in part."""
        filled = self._counts > 0
        counts, energies = self._counts[filled][::-1], self._energies[filled][::-1]
        before = np.cumsum(counts) - counts
        taken = np.clip((share * counts.sum() - before) / counts, 0.0, 1.0)
        return float(energies @ taken)


def _check_finite(name: str, sums: ComparisonSums, models: Sequence[Checkpoint]) -> None:
    for i, model in enumerate(models):
        if not np.isfinite(sums.products[i, i]):
            raise KingyoError(
                f"{model.reference}: {name}",
                expected="finite weights",
                received="NaN or infinity",
                remedy="Leave this model out, or download it again.",
            )

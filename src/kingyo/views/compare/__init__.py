"""Differences between the weights of models, and agreement of their task vectors."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, fields
from itertools import combinations
from typing import Self

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from kingyo.errors import KingyoError
from kingyo.merging.checkpoints import Checkpoint, fit

Floats = NDArray[np.float64]
Counts = NDArray[np.int64]
Json = dict[str, object]

TOP = (0.1, 0.01)
"""Shares of the largest |δ| of a tensor whose part of ‖δ‖² is measured."""
_BINS = 2048  # bins of |δ|: float32 without its sign and last 20 bits, 8 bins per power of two
_BITS_WITHIN_A_BIN = 20
_CHUNK = 1 << 15  # numbers of each model at a time, to fit the processor's cache


def letter(position: int) -> str:
    """Return the letter of a model in tables and sentences: A, B, …, Z, A1, B1, …"""
    return chr(ord("A") + position % 26) + ("" if position < 26 else str(position // 26))


@dataclass(frozen=True, kw_only=True)
class ComparisonSums:
    """Sums over a group of tensors in float64; models come first, then the base, if any.

    Attributes:
        numbers: numbers per model.
        products: Σ w_i w_j, shape (models + base, models + base), as ``gaps`` and ``equal``.
        gaps: Σ (w_i − w_j)².
        equal: count of equal numbers.
        delta_products: Σ δ_i δ_j of task vectors, shape (models, models), as the following ones; empty
            without a base.
        delta_sizes: Σ |δ_i δ_j|.
        opposed: count of opposite signs.
        shared: count of numbers changed in both models.
        top: Σ δ_i² over the largest numbers of each tensor, shape (models, len(TOP)).
    """

    numbers: int
    products: Floats
    gaps: Floats
    equal: Counts
    delta_products: Floats
    delta_sizes: Floats
    opposed: Counts
    shared: Counts
    top: Floats

    @classmethod
    def zeros(cls, models: int, *, has_base: bool, numbers: int = 0) -> Self:
        rows, deltas = models + has_base, models if has_base else 0
        return cls(
            numbers=numbers,
            products=np.zeros((rows, rows)),
            gaps=np.zeros((rows, rows)),
            equal=np.zeros((rows, rows), dtype=np.int64),
            delta_products=np.zeros((deltas, deltas)),
            delta_sizes=np.zeros((deltas, deltas)),
            opposed=np.zeros((deltas, deltas), dtype=np.int64),
            shared=np.zeros((deltas, deltas), dtype=np.int64),
            top=np.zeros((deltas, len(TOP))),
        )

    def __add__(self, other: ComparisonSums) -> ComparisonSums:
        names = [each.name for each in fields(self)]
        return ComparisonSums(**{name: getattr(self, name) + getattr(other, name) for name in names})

    @property
    def n_models(self) -> int:
        return len(self.products) - self.has_base

    @property
    def has_base(self) -> bool:
        """Whether a base was given; without one there are no task vectors."""
        return len(self.delta_products) > 0

    def norm(self, i: int) -> float:
        """Return ‖w‖ of a model; index -1 is the base, if any."""
        return float(np.sqrt(self.products[i, i]))

    def distance(self, i: int, j: int) -> float:
        return float(np.sqrt(self.gaps[i, j]))

    def relative(self, i: int, j: int) -> float | None:
        """Return ‖w_i − w_j‖ / ‖w_j‖; None if the denominator is 0."""
        return _ratio(self.distance(i, j), self.norm(j))

    def cosine(self, i: int, j: int) -> float | None:
        """Return the cosine of the weights; None if either is 0."""
        return _ratio(float(self.products[i, j]), self.norm(i) * self.norm(j))

    def equal_share(self, i: int, j: int) -> float | None:
        return _ratio(float(self.equal[i, j]), self.numbers)

    def delta_norm(self, i: int) -> float:
        return float(np.sqrt(self.delta_products[i, i]))

    def change(self, i: int) -> float | None:
        return _ratio(self.delta_norm(i), self.norm(-1))

    def unchanged(self, i: int) -> float | None:
        """Return the share of numbers equal to the base."""
        return self.equal_share(i, -1)

    def delta_cosine(self, i: int, j: int) -> float | None:
        """Return the cosine of the task vectors; None if either is 0."""
        return _ratio(float(self.delta_products[i, j]), self.delta_norm(i) * self.delta_norm(j))

    def conflict(self, i: int, j: int) -> float | None:
        """Return the share of opposite signs among the numbers that both models changed; 0.5 is chance."""
        return _ratio(float(self.opposed[i, j]), float(self.shared[i, j]))

    def weighted_conflict(self, i: int, j: int) -> float | None:
        """Return the share of opposite signs, weighted by |δ_i δ_j|; 0.5 is chance."""
        share = _ratio(float(self.delta_products[i, j]), float(self.delta_sizes[i, j]))
        return None if share is None else (1 - share) / 2

    def top_share(self, i: int, which: int = 0) -> float | None:
        """Return the share of ‖δ‖² in the largest numbers of each tensor, ``TOP[which]`` of them."""
        return _ratio(float(self.top[i, which]), float(self.delta_products[i, i]))

    def pairs(self) -> Iterator[tuple[int, int]]:
        return combinations(range(self.n_models), 2)

    def record(self) -> Json:
        """Return all measures as plain data, models by letter; None if undefined."""
        return {
            "numbers": self.numbers,
            **({"base_norm": self.norm(-1)} if self.has_base else {}),
            "models": {letter(i): self._model(i) for i in range(self.n_models)},
            "pairs": {f"{letter(i)}-{letter(j)}": self._pair(i, j) for i, j in self.pairs()},
        }

    def _model(self, i: int) -> Json:
        record: Json = {"norm": self.norm(i)}
        if self.has_base:
            record |= {
                "delta_norm": self.delta_norm(i),
                "change": self.change(i),
                "cosine_with_base": self.cosine(i, -1),
                "unchanged": self.unchanged(i),
                "energy_of_top_10_percent": self.top_share(i, 0),
                "energy_of_top_1_percent": self.top_share(i, 1),
            }
        return record

    def _pair(self, i: int, j: int) -> Json:
        record: Json = {
            "distance": self.distance(i, j),
            "relative": self.relative(j, i),
            "cosine": self.cosine(i, j),
            "equal": self.equal_share(i, j),
        }
        if self.has_base:
            record |= {
                "delta_cosine": self.delta_cosine(i, j),
                "sign_conflict": self.conflict(i, j),
                "sign_conflict_by_magnitude": self.weighted_conflict(i, j),
            }
        return record


@dataclass(frozen=True, kw_only=True)
class CheckpointComparison:
    """Comparison of models by groups of tensors."""

    models: tuple[str, ...]
    base: str | None
    groups: Mapping[tuple[str, str], ComparisonSums]
    """Layer (``block.3``, ``embedding``, ``head``) and kind of tensor -> sums, from input to output."""
    notes: tuple[str, ...] = ()

    @property
    def total(self) -> ComparisonSums:
        return self._sum(self.groups)

    @property
    def layers(self) -> dict[str, ComparisonSums]:
        layers = dict.fromkeys(layer for layer, _ in self.groups)
        return {layer: self._sum(key for key in self.groups if key[0] == layer) for layer in layers}

    @property
    def kinds(self) -> dict[str, ComparisonSums]:
        kinds = dict.fromkeys(kind for _, kind in self.groups)
        return {kind: self._sum(key for key in self.groups if key[1] == kind) for kind in kinds}

    def record(self) -> Json:
        """Return all measures by group, layer, kind and in total, for ``--json``."""
        return {
            "models": {letter(i): reference for i, reference in enumerate(self.models)},
            "base": self.base,
            "total": self.total.record(),
            "kinds": {kind: sums.record() for kind, sums in self.kinds.items()},
            "layers": {layer: sums.record() for layer, sums in self.layers.items()},
            "groups": [
                {"layer": layer, "kind": kind, **sums.record()} for (layer, kind), sums in self.groups.items()
            ],
            "notes": list(self.notes),
        }

    def _sum(self, keys: Iterable[tuple[str, str]]) -> ComparisonSums:
        start = ComparisonSums.zeros(len(self.models), has_base=self.base is not None)
        return sum((self.groups[key] for key in keys), start=start)


def _ratio(part: float, total: float) -> float | None:
    return None if total == 0 else part / total


def compare(
    models: Sequence[Checkpoint], base: Checkpoint | None, progress: Callable[[int], None] = lambda _: None
) -> CheckpointComparison:
    """Measure the differences between models, and their task vectors if a base is given."""
    checkpoints, notes = _compatible(models, base)
    layout, infos = checkpoints[0].layout, checkpoints[0].tensors
    groups: dict[tuple[str, str], ComparisonSums] = {}
    notes += [note for checkpoint in checkpoints for note in checkpoint.notes]
    compared = checkpoints[-1].tensors
    for layer, names in layout.groups("block").items():
        for name in (name for name in names if name in compared):
            tensors = [checkpoint.read(name) for checkpoint in checkpoints]
            if not infos[name].is_floating:
                if any(not torch.equal(tensors[0], tensor) for tensor in tensors[1:]):
                    notes.append(f"{name} is not a floating-point tensor, and differs between models.")
                continue
            key = (layer, layout.kind(name))
            sums = _measure(tensors, progress, has_base=base is not None)
            for i, model in enumerate(checkpoints):
                if not np.isfinite(sums.products[i, i]):
                    remedy = "Leave this model out, or download it again."
                    raise KingyoError(
                        f"{model.reference}: {name}", "finite weights", "NaN or infinity", remedy
                    )
            groups[key] = groups[key] + sums if key in groups else sums
    return CheckpointComparison(
        models=tuple(model.reference for model in models),
        base=None if base is None else base.reference,
        groups=groups,
        notes=tuple(dict.fromkeys(notes)),
    )


def _compatible(models: Sequence[Checkpoint], base: Checkpoint | None) -> tuple[list[Checkpoint], list[str]]:
    """Return models and base, which comes last, after checking their number and shapes; and notes.

    If only some are vision-language models, the last one has only the tensors to compare: the layers and the
    norm of the language part.
    """
    if len(models) + (base is not None) < 2:
        expected = "two models or more, or one model and its base"
        remedy = "Name another model, or a base with --base."
        raise KingyoError("models", expected, f"{len(models)}", remedy)
    checkpoints = [*models, *([] if base is None else [base])]
    like, *others = checkpoints
    only, notes = None, list[str]()
    if len({len(each.layout.parts) > 1 for each in checkpoints}) > 1:
        layout = like.layout
        names = [name for name in like.tensors if layout.part(name) == "language"]
        only = [name for name in names if layout.kind(name) not in ("embedding", "head")]
        notes = ["Only the layers of the language parts are compared, because not all models see."]
    matched = fit(like, others, only=only)
    return [matched.models[each.reference] for each in checkpoints], [*notes, *matched.warnings]


def _measure(tensors: Sequence[Tensor], progress: Callable[[int], None], *, has_base: bool) -> ComparisonSums:
    flat = [tensor.flatten() for tensor in tensors]
    n_models = len(flat) - has_base
    total = ComparisonSums.zeros(n_models, has_base=has_base)
    histograms = [_Histogram() for _ in range(n_models if has_base else 0)]
    for start in range(0, len(flat[0]), _CHUNK):
        rows = torch.stack([values[start : start + _CHUNK].double() for values in flat])
        chunk = ComparisonSums.zeros(n_models, has_base=has_base, numbers=rows.shape[1])
        chunk.products[:] = (rows @ rows.T).numpy()
        for i, j in combinations(range(len(rows)), 2):
            gap = rows[i] - rows[j]
            chunk.gaps[i, j] = chunk.gaps[j, i] = float(gap @ gap)
            chunk.equal[i, j] = chunk.equal[j, i] = chunk.numbers - np.count_nonzero(gap.numpy())
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


def _fill_deltas(deltas: Tensor, sums: ComparisonSums) -> None:
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

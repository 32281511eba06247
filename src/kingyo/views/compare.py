"""Differences between the weights of models, and agreement of their task vectors."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, fields, replace
from itertools import combinations

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from kingyo.errors import KingyoError
from kingyo.merging.checkpoints import Checkpoint, fit

Floats = NDArray[np.float64]
Counts = NDArray[np.int64]
Json = dict[str, object]

TOP = 0.1
"""Share of the largest |δ| of a tensor whose part of ‖δ‖² is measured."""
_BINS = 2048  # bins of |δ|: float32 without its sign and last 20 bits, 8 bins per power of two
_BITS_WITHIN_A_BIN = 20
_CHUNK = 1 << 15  # numbers of each model at a time, to fit the processor's cache


def letter(position: int) -> str:
    """Return the letter of a model in tables and sentences: A, B, …, Z, A1, B1, …"""
    return chr(ord("A") + position % 26) + ("" if position < 26 else str(position // 26))


@dataclass(frozen=True, kw_only=True)
class ComparisonSums:
    """Sums over a group of tensors in float64: of task vectors v, or of the weights without a base.

    Attributes:
        numbers: numbers per model.
        base_square: Σ w² of the base; 0 without one.
        products: Σ v_i v_j, shape (models, models), as ``sizes`` and ``equal``.
        sizes: Σ |v_i v_j|.
        equal: count of equal numbers; on the diagonal that of zeros.
        top: Σ v² over the largest numbers of each tensor, shape (models,).
    """

    numbers: int
    base_square: float
    products: Floats
    sizes: Floats
    equal: Floats
    top: Floats

    @classmethod
    def zeros(cls, n_models: int) -> ComparisonSums:
        products, sizes, equal = np.zeros((3, n_models, n_models))
        top = np.zeros(n_models)
        return cls(numbers=0, base_square=0.0, products=products, sizes=sizes, equal=equal, top=top)

    def __add__(self, other: ComparisonSums) -> ComparisonSums:
        names = [each.name for each in fields(self)]
        return ComparisonSums(**{name: getattr(self, name) + getattr(other, name) for name in names})

    @property
    def n_models(self) -> int:
        return len(self.products)

    def norm(self, i: int) -> float:
        """Return ‖v‖ of a model."""
        return float(np.sqrt(self.products[i, i]))

    def change(self, i: int) -> float | None:
        """Return ‖δ‖ / ‖base‖; None if the base is 0."""
        return _ratio(self.norm(i), float(np.sqrt(self.base_square)))

    def unchanged(self, i: int) -> float | None:
        """Return the share of numbers equal to the base."""
        return _ratio(float(self.equal[i, i]), self.numbers)

    def equal_share(self, i: int, j: int) -> float | None:
        return _ratio(float(self.equal[i, j]), self.numbers)

    def cosine(self, i: int, j: int) -> float | None:
        """Return the cosine of two vectors; None if either is 0."""
        return _ratio(float(self.products[i, j]), self.norm(i) * self.norm(j))

    def opposed(self, i: int, j: int) -> float | None:
        """Return the share of opposite signs, weighted by |δ_i δ_j|; 0.5 is chance."""
        share = _ratio(float(self.products[i, j]), float(self.sizes[i, j]))
        return None if share is None else (1 - share) / 2

    def top_share(self, i: int) -> float | None:
        """Return the share of ‖δ‖² in the largest numbers of each tensor, ``TOP`` of them."""
        return _ratio(float(self.top[i]), float(self.products[i, i]))

    def pairs(self) -> Iterator[tuple[int, int]]:
        return combinations(range(self.n_models), 2)

    def record(self, *, has_base: bool) -> Json:
        """Return all measures as plain data, models by letter; None if undefined."""
        of_models: dict[str, Callable[[int], float | None]] = {"norm": self.norm}
        of_pairs: dict[str, Callable[[int, int], float | None]] = {"cosine": self.cosine}
        if has_base:
            of_models |= {
                "change": self.change,
                "unchanged": self.unchanged,
                "top_10_percent": self.top_share,
            }
            of_pairs["opposed"] = self.opposed
        else:
            of_pairs["equal"] = self.equal_share
        return {
            "numbers": self.numbers,
            "models": {
                letter(i): {name: value(i) for name, value in of_models.items()} for i in range(self.n_models)
            },
            "pairs": {
                f"{letter(i)}-{letter(j)}": {name: value(i, j) for name, value in of_pairs.items()}
                for i, j in self.pairs()
            },
        }


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
        """Return all measures by layer, kind and in total, for ``--json``."""
        has_base = self.base is not None
        return {
            "models": {letter(i): reference for i, reference in enumerate(self.models)},
            "base": self.base,
            "total": self.total.record(has_base=has_base),
            "kinds": {kind: sums.record(has_base=has_base) for kind, sums in self.kinds.items()},
            "layers": {layer: sums.record(has_base=has_base) for layer, sums in self.layers.items()},
            "notes": list(self.notes),
        }

    def _sum(self, keys: Iterable[tuple[str, str]]) -> ComparisonSums:
        start = ComparisonSums.zeros(len(self.models))
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
            sums = _measure(name, checkpoints, tensors, progress, has_base=base is not None)
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


def _measure(
    name: str,
    models: Sequence[Checkpoint],
    tensors: Sequence[Tensor],
    progress: Callable[[int], None],
    *,
    has_base: bool,
) -> ComparisonSums:
    flat = [tensor.flatten() for tensor in tensors]
    total = ComparisonSums.zeros(len(flat) - has_base)
    histograms = [_Histogram() for _ in range(total.n_models if has_base else 0)]
    for start in range(0, len(flat[0]), _CHUNK):
        rows = torch.stack([values[start : start + _CHUNK].double() for values in flat])
        for model, row in zip(models, rows, strict=True):
            if not np.isfinite(float(row.sum())):
                where, remedy = f"{model.reference}: {name}", "Leave this model out, or fetch it again."
                raise KingyoError(where, "finite weights", "NaN or infinity", remedy)
        base_square = 0.0
        if has_base:
            base_square = float(rows[-1] @ rows[-1])
            rows = rows[:-1] - rows[-1]
            for histogram, row in zip(histograms, rows, strict=True):
                histogram.count(row)
        chunk = replace(ComparisonSums.zeros(len(rows)), numbers=rows.shape[1], base_square=base_square)
        chunk.products[:] = (rows @ rows.T).numpy()
        for i, j in combinations(range(len(rows)), 2):
            chunk.sizes[i, j] = chunk.sizes[j, i] = float((rows[i] * rows[j]).abs().sum())
            chunk.equal[i, j] = chunk.equal[j, i] = int((rows[i] == rows[j]).sum())
        np.fill_diagonal(chunk.equal, (rows == 0).sum(1).numpy())
        total = total + chunk
        progress(chunk.numbers)
    return replace(total, top=np.array([each.top(TOP) for each in histograms] or total.top))


class _Histogram:
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

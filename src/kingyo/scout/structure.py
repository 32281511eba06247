"""What the weights of a group show: changes, near-duplicates, outliers, and how task vectors agree."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from itertools import combinations
from typing import Literal

import numpy as np
from numpy.typing import NDArray

from kingyo.scout.tensor_sums import TensorSums

Floats = NDArray[np.float64]
Outlier = Literal["far", "near"]

DUPLICATE_COSINE = 0.99
DUPLICATE_RATIO = 1.1
"""Near-duplicates have at least this cosine, and lengths with at most this ratio."""
OUTLIER_DEVIATIONS = 3.0
OUTLIER_RATIO = 2.0
"""An outlier is so many median absolute deviations from the median of the others, and this factor."""
_FEWEST_OTHERS = 3
_IN_WORDS: Mapping[tuple[Outlier, bool], str] = {
    ("far", True): "far from the base: perhaps over-trained",
    ("far", False): "far from the mean of all",
    ("near", True): "hardly changed",
    ("near", False): "near the mean of all",
}


@dataclass(frozen=True, kw_only=True)
class MemberStructure:
    """What the weights of one member show; δ is its task vector.

    Attributes:
        norm: ‖δ‖.
        change: ‖δ‖ / ‖base‖; None if the base is 0.
        layers: share of ‖δ‖² in each layer, from input to output; empty if δ is 0.
        equals_base: whether no number differs from the base.
        duplicate_of: the first member with nearly the same task vector; None if there is none.
        is_copy: whether that task vector is equal, as after a second upload.
        outlier: whether it is far from the base, or near, compared with the other members.
    """

    reference: str
    norm: float
    change: float | None
    layers: Mapping[str, float]
    equals_base: bool = False
    duplicate_of: str | None = None
    is_copy: bool = False
    outlier: Outlier | None = None

    def findings(self, *, has_base: bool) -> tuple[str, ...]:
        """Return what is wrong with it."""
        found: list[str] = ["equal to the base"] if self.equals_base else []
        if self.duplicate_of is not None:
            kind = "a re-upload" if self.is_copy else "a near-duplicate"
            found.append(f"{kind} of {self.duplicate_of}")
        if self.outlier is not None:
            found.append(_IN_WORDS[self.outlier, has_base])
        return tuple(found)


@dataclass(frozen=True, kw_only=True)
class Structure:
    """What the weights of a group show. Matrices have the shape (members, members), NaN where undefined.

    Attributes:
        base: the base; None if task vectors are the differences from the members' mean.
        members: in the order of their references.
        cosines: of task vectors.
        conflicts: share of opposite signs among the numbers that both change; 0.5 is chance.
        overlaps: overlap of the subspaces of matrices, from 0 to 1, weighted by ‖δ_i‖ ‖δ_j‖.
        n_measured, n_parameters: numbers per model that were measured, and that could be.
        by_layer: layer -> numbers per model that were measured.
    """

    base: str | None
    members: tuple[MemberStructure, ...]
    cosines: Floats = field(repr=False)
    conflicts: Floats = field(repr=False)
    overlaps: Floats = field(repr=False)
    n_measured: int
    n_parameters: int
    by_layer: Mapping[str, int] = field(default_factory=dict[str, int])

    @property
    def measured_share(self) -> float:
        """Share of the weights that was measured."""
        return self.n_measured / self.n_parameters if self.n_parameters else 0.0

    def closest(self, i: int) -> tuple[int, float] | None:
        """Return the other member with the largest cosine, and the cosine; None if none is defined."""
        others = [(float(self.cosines[i, j]), -j) for j in range(len(self.members)) if j != i]
        cosine, j = max((each for each in others if not np.isnan(each[0])), default=(np.nan, 0))
        return None if np.isnan(cosine) else (-j, cosine)

    def mean_conflict(self, i: int) -> float | None:
        """Return the mean share of opposite signs with the other members; None if none is defined."""
        row = np.delete(self.conflicts[i], i)
        row = row[~np.isnan(row)]
        return float(row.mean()) if len(row) else None

    def to_json(self) -> dict[str, object]:
        """Return everything as data; pairs by the references of both members."""
        return {
            "task_vectors_from": "the mean of the members" if self.base is None else self.base,
            "measured_share": self.measured_share,
            "n_measured": self.n_measured,
            "n_parameters": self.n_parameters,
            "members": [self._member(i) for i in range(len(self.members))],
            "pairs": [
                {
                    "models": [self.members[i].reference, self.members[j].reference],
                    "cosine": _defined(self.cosines[i, j]),
                    "sign_conflict": _defined(self.conflicts[i, j]),
                    "subspace_overlap": _defined(self.overlaps[i, j]),
                }
                for i, j in combinations(range(len(self.members)), 2)
            ],
        }

    def _member(self, i: int) -> dict[str, object]:
        each, closest = self.members[i], self.closest(i)
        return {
            "reference": each.reference,
            "delta_norm": each.norm,
            "change": each.change,
            "layers": dict(each.layers),
            "closest": None if closest is None else self.members[closest[0]].reference,
            "closest_cosine": None if closest is None else closest[1],
            "mean_sign_conflict": self.mean_conflict(i),
            "equals_base": each.equals_base,
            "duplicate_of": each.duplicate_of,
            "is_copy": each.is_copy,
            "outlier": each.outlier,
            "findings": list(each.findings(has_base=self.base is not None)),
        }


def structure_of(
    references: Sequence[str], base: str | None, sums: Iterable[tuple[str, TensorSums]], n_parameters: int
) -> Structure:
    """Return what the sums over tensors show.

    Args:
        references: the members, in the order of the sums.
        base: the base, if any.
        sums: the layer and the sums of each tensor, from input to output.
        n_parameters: numbers per model that could be measured.
    """
    n = len(references)
    numbers = base_square = 0.0
    products, shared, opposed, overlap, weight = np.zeros((5, n, n))
    equal = np.ones((n, n))
    layers: dict[str, Floats] = {}
    by_layer: dict[str, int] = {}
    for layer, each in sums:
        numbers += each.numbers
        base_square += each.base_square
        products += each.products
        shared += each.shared
        opposed += each.opposed
        equal *= each.equal
        by_layer[layer] = by_layer.get(layer, 0) + int(each.numbers)
        squares = np.diag(each.products)
        layers[layer] = layers.get(layer, np.zeros(n)) + squares
        if not np.isnan(each.overlap).any():
            own = np.sqrt(np.outer(squares, squares))
            overlap += own * each.overlap
            weight += own
    norms, base_norm = np.sqrt(np.diag(products)), float(np.sqrt(base_square))
    cosines = np.clip(_ratio(products, np.outer(norms, norms)), -1.0, 1.0)
    outliers = find_outliers(norms)
    is_all = numbers >= n_parameters  # whether all is equal is known only if all was measured
    members: list[MemberStructure] = []
    for i, reference in enumerate(references):
        is_unchanged = base is not None and numbers > 0 and shared[i, i] == 0
        first = None if is_unchanged else _first_alike(i, norms, cosines, equal)
        square = products[i, i]
        member = MemberStructure(
            reference=reference,
            norm=float(norms[i]),
            change=float(norms[i]) / base_norm if base_norm else None,
            layers={layer: float(each[i] / square) for layer, each in layers.items()} if square else {},
            equals_base=bool(is_unchanged) and is_all,
            duplicate_of=None if first is None else references[first],
            is_copy=first is not None and bool(equal[first, i]) and is_all,
            outlier=outliers[i],
        )
        members.append(member)
    return Structure(
        base=base,
        members=tuple(members),
        cosines=cosines,
        conflicts=_ratio(opposed, shared),
        overlaps=_ratio(overlap, weight),
        n_measured=int(numbers),
        n_parameters=n_parameters,
        by_layer=by_layer,
    )


def _first_alike(i: int, norms: Floats, cosines: Floats, equal: Floats) -> int | None:
    """Return the first earlier member with nearly the same task vector; an equal one comes before others."""
    alike: int | None = None
    for j in range(i):
        if equal[i, j]:
            return j
        is_long = max(norms[i], norms[j]) > DUPLICATE_RATIO * min(norms[i], norms[j])
        if alike is None and cosines[i, j] >= DUPLICATE_COSINE and not is_long:
            alike = j
    return alike


def find_outliers(norms: Sequence[float] | Floats) -> list[Outlier | None]:
    """Return which norms are far above or below the others; norms of 0 do not count.

    A logarithm must be more than ``OUTLIER_DEVIATIONS`` median absolute deviations from the median of the
    others, and at least a factor of ``OUTLIER_RATIO``. With fewer than 3 others none is an outlier.

    Example:
        >>> find_outliers([1.0, 1.1, 0.9, 1.2, 5.0])
        [None, None, None, None, 'far']
    """
    found: list[Outlier | None] = []
    for i, norm in enumerate(norms):
        others = np.log([each for j, each in enumerate(norms) if j != i and each > 0])
        if norm <= 0 or len(others) < _FEWEST_OTHERS:
            found.append(None)
            continue
        median = np.median(others)
        gap = np.log(norm) - median
        least = max(OUTLIER_DEVIATIONS * float(np.median(np.abs(others - median))), np.log(OUTLIER_RATIO))
        found.append(None if abs(gap) < least else "far" if gap > 0 else "near")
    return found


def _ratio(part: Floats, total: Floats) -> Floats:
    return np.divide(part, total, out=np.full_like(total, np.nan), where=total > 0)


def _defined(value: float) -> float | None:
    return None if np.isnan(value) else float(value)

"""What the weights of a group show: changes, near-duplicates, outliers, and how task vectors agree."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from itertools import combinations

import numpy as np
from numpy.typing import NDArray

from kingyo.scout.findings import Outlier, find_outliers, first_alike
from kingyo.scout.tensor_sums import TensorSums

Floats = NDArray[np.float64]
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
        reference: the member.
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
        """Return what is wrong with it, as short texts."""
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
            "pairs": [self._pair(i, j) for i, j in combinations(range(len(self.members)), 2)],
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

    def _pair(self, i: int, j: int) -> dict[str, object]:
        return {
            "models": [self.members[i].reference, self.members[j].reference],
            "cosine": _defined(self.cosines[i, j]),
            "sign_conflict": _defined(self.conflicts[i, j]),
            "subspace_overlap": _defined(self.overlaps[i, j]),
        }


def structure_of(
    references: Sequence[str], base: str | None, sums: Iterable[tuple[str, TensorSums]], n_parameters: int
) -> Structure:
    """Return what sums over tensors show.

    Args:
        references: the members, in the order of the sums.
        base: the base, if any.
        sums: the layer and the sums of each tensor, from input to output.
        n_parameters: numbers per model that could be measured.
    """
    total = _Total(len(references))
    for layer, each in sums:
        total.add(layer, each)
    is_all = total.numbers >= n_parameters
    members = tuple(_members(references, total, has_base=base is not None, is_all=is_all))
    return Structure(
        base=base,
        members=members,
        cosines=total.cosines,
        conflicts=_ratio(total.opposed, total.shared),
        overlaps=_ratio(total.overlap, total.weight),
        n_measured=int(total.numbers),
        n_parameters=n_parameters,
        by_layer=total.by_layer,
    )


class _Total:
    """Sums over all tensors."""

    def __init__(self, n: int) -> None:
        self.numbers = self.base_square = 0.0
        self.products, self.shared, self.opposed, self.overlap, self.weight = np.zeros((5, n, n))
        self.equal = np.ones((n, n))
        self.layers: dict[str, Floats] = {}
        self.by_layer: dict[str, int] = {}

    def add(self, layer: str, sums: TensorSums) -> None:
        self.numbers += sums.numbers
        self.base_square += sums.base_square
        self.products += sums.products
        self.shared += sums.shared
        self.opposed += sums.opposed
        self.equal *= sums.equal
        self.by_layer[layer] = self.by_layer.get(layer, 0) + int(sums.numbers)
        squares = np.diag(sums.products)
        self.layers[layer] = self.layers.get(layer, np.zeros(len(squares))) + squares
        if not np.isnan(sums.overlap).any():
            weight = np.sqrt(np.outer(squares, squares))
            self.overlap += weight * sums.overlap
            self.weight += weight

    @property
    def norms(self) -> Floats:
        return np.sqrt(np.diag(self.products))

    @property
    def cosines(self) -> Floats:
        return np.clip(_ratio(self.products, np.outer(self.norms, self.norms)), -1.0, 1.0)


def _members(
    references: Sequence[str], total: _Total, *, has_base: bool, is_all: bool
) -> Iterator[MemberStructure]:
    """Return what is known of each member; whether all is equal is known only if all was measured."""
    norms, cosines = total.norms, total.cosines
    base_norm = float(np.sqrt(total.base_square))
    outliers = find_outliers(norms)
    for i, reference in enumerate(references):
        is_unchanged = has_base and total.numbers > 0 and total.shared[i, i] == 0
        first = None if is_unchanged else first_alike(i, norms, cosines, total.equal)
        square = total.products[i, i]
        yield MemberStructure(
            reference=reference,
            norm=float(norms[i]),
            change=float(norms[i]) / base_norm if base_norm else None,
            layers={layer: float(each[i] / square) for layer, each in total.layers.items()} if square else {},
            equals_base=bool(is_unchanged) and is_all,
            duplicate_of=None if first is None else references[first],
            is_copy=first is not None and bool(total.equal[first, i]) and is_all,
            outlier=outliers[i],
        )


def _ratio(part: Floats, total: Floats) -> Floats:
    return np.divide(part, total, out=np.full_like(total, np.nan), where=total > 0)


def _defined(value: float) -> float | None:
    return None if np.isnan(value) else float(value)

"""What the weights of a group show: changes, near-duplicates, and how task vectors agree."""

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from itertools import combinations

import numpy as np
from numpy.typing import NDArray

from kingyo.scout.tensor_sums import TensorSums

Floats = NDArray[np.float64]

DUPLICATE_COSINE = 0.99
DUPLICATE_RATIO = 1.1
"""Near-duplicates have at least this cosine, and lengths with at most this ratio."""


@dataclass(frozen=True, kw_only=True)
class MemberStructure:
    """What the weights of one member show; δ is its task vector.

    Attributes:
        norm: ‖δ‖.
        change: ‖δ‖ / ‖base‖; None if the base is 0.
        layers: share of ‖δ‖² in each layer, from input to output; empty if δ is 0.
        finding: whether it equals the base or another member, or nearly; None if it differs from all.
    """

    reference: str
    norm: float
    change: float | None
    layers: Mapping[str, float]
    finding: str | None = None


@dataclass(frozen=True, kw_only=True)
class Structure:
    """What the weights of a group show. Matrices have the shape (members, members), NaN where undefined.

    Attributes:
        members: in the order of their references.
        cosines: of task vectors.
        conflicts: share of opposite signs among the numbers that both change; 0.5 is chance.
        n_measured, n_parameters: numbers per model that were measured, and that could be.
        by_layer: layer -> numbers per model that were measured.
    """

    members: tuple[MemberStructure, ...]
    cosines: Floats = field(repr=False)
    conflicts: Floats = field(repr=False)
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
            "measured_share": self.measured_share,
            "members": [
                {
                    "reference": each.reference,
                    "delta_norm": each.norm,
                    "change": each.change,
                    "layers": dict(each.layers),
                    "finding": each.finding,
                }
                for each in self.members
            ],
            "pairs": [
                {
                    "models": [self.members[i].reference, self.members[j].reference],
                    "cosine": _defined(self.cosines[i, j]),
                    "sign_conflict": _defined(self.conflicts[i, j]),
                }
                for i, j in combinations(range(len(self.members)), 2)
            ],
        }


def structure_of(
    references: Sequence[str], sums: Iterable[tuple[str, TensorSums]], n_parameters: int
) -> Structure:
    """Return what the sums over tensors show.

    Args:
        references: the members, in the order of the sums.
        sums: the layer and the sums of each tensor, from input to output.
        n_parameters: numbers per model that could be measured.
    """
    n = len(references)
    numbers = base_square = 0.0
    products, shared, opposed = np.zeros((3, n, n))
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
        layers[layer] = layers.get(layer, np.zeros(n)) + np.diag(each.products)
    norms, base_norm = np.sqrt(np.diag(products)), float(np.sqrt(base_square))
    cosines = np.clip(_ratio(products, np.outer(norms, norms)), -1.0, 1.0)
    if numbers < n_parameters:  # whether all is equal is known only if all was measured
        equal[:] = False
        is_unchanged = np.zeros(n, dtype=bool)
    else:
        is_unchanged = np.diag(shared) == 0
    members: list[MemberStructure] = []
    for i, reference in enumerate(references):
        square = products[i, i]
        finding = "equal to the base" if is_unchanged[i] else _alike(i, references, norms, cosines, equal)
        member = MemberStructure(
            reference=reference,
            norm=float(norms[i]),
            change=float(norms[i]) / base_norm if base_norm else None,
            layers={layer: float(each[i] / square) for layer, each in layers.items()} if square else {},
            finding=finding,
        )
        members.append(member)
    return Structure(
        members=tuple(members),
        cosines=cosines,
        conflicts=_ratio(opposed, shared),
        n_measured=int(numbers),
        n_parameters=n_parameters,
        by_layer=by_layer,
    )


def _alike(i: int, references: Sequence[str], norms: Floats, cosines: Floats, equal: Floats) -> str | None:
    """Return which earlier member has the same task vector or nearly; an equal one comes before others."""
    copies = [j for j in range(i) if equal[i, j]]
    if copies:
        return f"a re-upload of {references[copies[0]]}"
    for j in range(i):
        is_long = max(norms[i], norms[j]) > DUPLICATE_RATIO * min(norms[i], norms[j])
        if cosines[i, j] >= DUPLICATE_COSINE and not is_long:
            return f"a near-duplicate of {references[j]}"
    return None


def _ratio(part: Floats, total: Floats) -> Floats:
    return np.divide(part, total, out=np.full_like(total, np.nan), where=total > 0)


def _defined(value: float) -> float | None:
    return None if np.isnan(value) else float(value)

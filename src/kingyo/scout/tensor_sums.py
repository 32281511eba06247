"""Sums over one tensor of the members of a group: how large their task vectors are, and how they agree.

A tensor is read in chunks of rows. All pairs are summed at once, by products of matrices with one row for
each member.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass, fields

import numpy as np
from numpy.typing import NDArray

from kingyo.core.io.lazy_torch import Tensor, torch
from kingyo.merging.checkpoints import Checkpoint

Floats = NDArray[np.float64]

_CHUNK = 1 << 21  # numbers of all members at a time: 16 MB in float64
_ALIKE = 1e-9
"""Squared distance, relative to squared norms, below which task vectors are compared number by number."""


class NotFiniteError(Exception):
    """A tensor holds NaN or infinity in some of the models, given by their positions; the base comes last."""

    def __init__(self, tensor: str, positions: Sequence[int]) -> None:
        super().__init__(tensor, positions)
        self.tensor = tensor
        self.positions = positions


@dataclass(frozen=True, kw_only=True)
class TensorSums:
    """Sums over one tensor, for all pairs of members: matrices of the shape (members, members).

    Attributes:
        numbers: numbers per model.
        base_square: Σ w² of the base.
        products: Σ δ_i δ_j of task vectors.
        shared: count of numbers that both change.
        opposed: count of numbers that both change, with opposite signs.
        equal: 1 where two task vectors are equal, else 0.
    """

    numbers: float
    base_square: float
    products: Floats
    shared: Floats
    opposed: Floats
    equal: Floats

    def to_bytes(self) -> bytes:
        """Return all numbers as float64, least significant byte first."""
        parts = (np.ravel(getattr(self, each.name)) for each in fields(self))
        return np.concatenate([*parts]).astype("<f8").tobytes()

    @classmethod
    def from_bytes(cls, content: bytes, n: int) -> TensorSums:
        """Return the sums of ``n`` members from ``to_bytes``."""
        numbers = np.frombuffer(content, dtype="<f8").astype(np.float64)
        names = [each.name for each in fields(cls)][2:]
        of = dict(zip(names, numbers[2:].reshape(len(names), n, n), strict=True))
        return cls(numbers=float(numbers[0]), base_square=float(numbers[1]), **of)


def measure_tensor(name: str, members: Sequence[Checkpoint], base: Checkpoint) -> TensorSums:
    """Sum over a tensor that all models have in one shape.

    Products are numpy's: for so few rows, they take half the time of torch's.

    Raises:
        NotFiniteError: the weights of some models are not finite.
    """
    models = [*members, base]
    n = len(members)
    base_square = 0.0
    products, shared, opposed = np.zeros((3, n, n))
    equal = np.ones((n, n))
    for weights in _chunks(name, models):
        is_finite = torch.isfinite(weights.sum(1))
        if not bool(is_finite.all()):
            raise NotFiniteError(name, [i for i in range(len(models)) if not bool(is_finite[i])])
        centre = weights[-1]
        base_square += float(centre @ centre)
        deltas = weights[:n].sub_(centre)
        inner = _square(deltas)
        products += inner
        equal *= _equal(deltas, inner)
        signs = deltas.float().sign_()
        agreement = _square(signs)  # whole numbers below 2²⁴, so exact
        changed = signs.abs_()
        both = _square(changed)
        shared += both
        opposed += (both - agreement) / 2
    return TensorSums(
        numbers=float(base.tensors[name].n_elements),
        base_square=base_square,
        products=products,
        shared=shared,
        opposed=opposed,
        equal=equal,
    )


def _square(rows: Tensor) -> Floats:
    values = rows.numpy()
    return (values @ values.T).astype(np.float64)


def _chunks(name: str, models: Sequence[Checkpoint]) -> Iterator[Tensor]:
    """Yield chunks of all models: float64, shape (models, numbers). The next one overwrites them."""
    shape = models[0].tensors[name].shape
    rows, width = (shape[0], int(np.prod(shape[1:]))) if shape else (1, 1)
    most = max(1, _CHUNK // len(models))
    step = max(1, min(rows, most // max(1, width)))
    length = min(most, step * width)
    memory = torch.empty(len(models) * length, dtype=torch.float64)
    for start in range(0, rows if width else 0, step):
        parts = [_rows(model, name, start, min(rows, start + step)) for model in models]
        for at in range(0, len(parts[0]), length):
            size = min(length, len(parts[0]) - at)
            weights = memory[: len(models) * size].view(len(models), size)
            for row, part in zip(weights, parts, strict=True):
                row.copy_(part[at : at + size])
            yield weights


def _rows(model: Checkpoint, name: str, start: int, end: int) -> Tensor:
    """Return some rows of a tensor as a vector; a scalar is a row."""
    if not model.tensors[name].shape:
        return model.read(name).reshape(1)
    return model.read_rows(name, start, end).reshape(-1)


def _equal(deltas: Tensor, products: Floats) -> Floats:
    """Return 1 for pairs of equal rows. Only rows at nearly no distance are compared number by number."""
    squares = np.diag(products)
    sizes = squares[:, None] + squares
    alike = sizes - 2 * products <= _ALIKE * sizes
    first = list(range(len(deltas)))
    for j in range(len(deltas)):
        for i in range(j):
            if alike[i, j] and first[i] == i and torch.equal(deltas[i], deltas[j]):
                first[j] = i
                break
    return (np.equal.outer(first, first)).astype(np.float64)

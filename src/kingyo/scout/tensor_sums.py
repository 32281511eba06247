"""Sums over one tensor of the members of a group: how large their task vectors are, and how they agree.

A tensor is read in chunks of rows. All pairs are summed at once, by products of matrices with one row for
each member.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass, fields, replace
from typing import cast

import numpy as np
from numpy.typing import NDArray

from kingyo.core.io.lazy_torch import Tensor, torch
from kingyo.merging.checkpoints import Checkpoint

Floats = NDArray[np.float64]

SKETCH = 8
"""Columns of a sketch: the dimension of the subspaces that are compared."""
_SEED = 20_240_101
_CHUNK = 1 << 21  # numbers of all members at a time: 16 MB in float64
_WIDEST = 1 << 20
"""Most columns of a matrix with a sketch, which needs whole rows."""
_NEGLIGIBLE = 1e-3
"""A direction of a sketch with a smaller part of the largest one is rounding."""
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
    """Sums over one tensor. Matrices have the shape (members, members).

    Attributes:
        numbers: numbers per model.
        base_square: Σ w² of the base, or of the members' mean without a base.
        products: Σ δ_i δ_j of task vectors.
        shared: count of numbers that both change.
        opposed: count of numbers that both change, with opposite signs.
        overlap: overlap of the subspaces, from 0 to 1; NaN for tensors that are no matrices.
        equal: 1 where two task vectors are equal, else 0.
    """

    numbers: float
    base_square: float
    products: Floats
    shared: Floats
    opposed: Floats
    overlap: Floats
    equal: Floats

    def to_bytes(self) -> bytes:
        """Return all numbers as float64, least significant byte first."""
        parts = (np.ravel(getattr(self, each.name)) for each in fields(self))
        return np.concatenate([*parts]).astype("<f8").tobytes()

    @classmethod
    def from_bytes(cls, content: bytes, n: int) -> TensorSums:
        """Return the sums of ``n`` members from ``to_bytes``."""
        numbers = np.frombuffer(content, dtype="<f8").astype(np.float64)
        matrices = numbers[2:].reshape(5, n, n)
        names = [each.name for each in fields(cls)][2:]
        of = dict(zip(names, matrices, strict=True))
        return cls(numbers=float(numbers[0]), base_square=float(numbers[1]), **of)

    def only(self, positions: Sequence[int]) -> TensorSums:
        """Return the sums of some members, which are those without the others if there is a base."""
        matrices = [each.name for each in fields(self)][2:]
        at = np.ix_(positions, positions)
        return replace(self, **{name: getattr(self, name)[at] for name in matrices})


def measure_tensor(name: str, members: Sequence[Checkpoint], base: Checkpoint | None) -> TensorSums:
    """Sum over a tensor that all models have in one shape; without a base, compare with the members' mean.

    Raises:
        NotFiniteError: the weights of some models are not finite.
    """
    models = [*members, *([] if base is None else [base])]
    shape = models[0].tensors[name].shape
    rows, width = (shape[0], int(np.prod(shape[1:]))) if shape else (1, 1)
    is_matrix = len(shape) in (2, 4) and min(rows, width) > SKETCH and width <= _WIDEST
    sums = _Accumulator(len(members), (rows, width) if is_matrix else None)
    for start, weights in _chunks(name, models, (rows, width), whole_rows=is_matrix):
        is_finite = torch.isfinite(weights.sum(1))
        if not bool(is_finite.all()):
            raise NotFiniteError(name, [i for i in range(len(models)) if not bool(is_finite[i])])
        centre = weights.mean(0) if base is None else weights[-1]
        sums.base_square += float(centre @ centre)
        sums.add(start, weights[: len(members)].sub_(centre))
    return TensorSums(
        numbers=rows * width,
        base_square=sums.base_square,
        products=sums.products,
        shared=sums.shared,
        opposed=sums.opposed,
        overlap=sums.overlap(),
        equal=sums.equal,
    )


class _Accumulator:
    """The sums over the chunks of a tensor so far; ``matrix`` is its shape if its subspaces are compared.

    Products are numpy's: for so few rows, they take half the time of torch's.
    """

    def __init__(self, n: int, matrix: tuple[int, int] | None) -> None:
        self.base_square = 0.0
        self.products, self.shared, self.opposed = (np.zeros((n, n)) for _ in range(3))
        self.equal = np.ones((n, n))
        self._directions = None if matrix is None else directions_of(matrix[1])
        self._sketch = torch.empty((n, 0 if matrix is None else matrix[0], SKETCH))

    def add(self, start: int, deltas: Tensor) -> None:
        """Add a chunk of task vectors that begins with a row, shape (members, numbers)."""
        products = _square(deltas)
        self.products += products
        self.equal *= _equal(deltas, products)
        single = deltas.float()
        if self._directions is not None:
            rows = single.view(-1, len(self._directions)).numpy() @ self._directions.numpy()
            part = torch.from_numpy(rows).view(len(single), -1, SKETCH)  # pyright: ignore[reportUnknownMemberType]
            self._sketch[:, start : start + part.shape[1]] = part
        signs = single.sign_()
        agreement = _square(signs)  # whole numbers below 2²⁴, so exact
        changed = signs.abs_()
        has_all = bool((changed.sum(1) == changed.shape[1]).all())
        shared = np.full_like(agreement, changed.shape[1]) if has_all else _square(changed)
        self.shared += shared
        self.opposed += (shared - agreement) / 2

    def overlap(self) -> Floats:
        return np.full_like(self.products, np.nan) if self._directions is None else _overlap(self._sketch)


def _square(rows: Tensor) -> Floats:
    values = rows.numpy()
    return (values @ values.T).astype(np.float64)


def _chunks(
    name: str, models: Sequence[Checkpoint], shape: tuple[int, int], *, whole_rows: bool
) -> Iterator[tuple[int, Tensor]]:
    """Yield the first row of each chunk of a tensor, and the weights: float64, shape (models, numbers).

    The next chunk overwrites them. Long rows are cut unless ``whole_rows``.
    """
    rows, width = shape
    most = max(1, _CHUNK // len(models))
    step = max(1, min(rows, most // max(1, width)))
    length = step * width if whole_rows else min(most, step * width)
    memory = torch.empty(len(models) * length, dtype=torch.float64)
    for start in range(0, rows if width else 0, step):
        parts = [_rows(model, name, start, min(rows, start + step)) for model in models]
        for at in range(0, len(parts[0]), length):
            size = min(length, len(parts[0]) - at)
            weights = memory[: len(models) * size].view(len(models), size)
            for row, part in zip(weights, parts, strict=True):
                row.copy_(part[at : at + size])
            yield start, weights


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


def directions_of(width: int) -> Tensor:
    """Return Ω: random directions, the same for all tensors of a width."""
    generator = torch.Generator().manual_seed(_SEED)
    return torch.randn((width, SKETCH), generator=generator)


def _overlap(sketch: Tensor) -> Floats:
    """Return ‖Qᵢᵀ Qⱼ‖² / k for the sketches δ Ω = Q R of all members, shape (members, rows, SKETCH).

    k is SKETCH, or the smaller rank if a task vector has fewer directions, as that of a small LoRA has.
    """
    bases, factors = cast("tuple[Tensor, Tensor]", torch.linalg.qr(sketch))  # pyright: ignore[reportUnknownMemberType]
    sizes = factors.diagonal(dim1=1, dim2=2).abs()
    is_direction = sizes > _NEGLIGIBLE * sizes.amax(1, keepdim=True)
    bases = bases * is_direction[:, None, :]
    n, rows, _ = bases.shape
    flat = bases.permute(1, 0, 2).reshape(rows, n * SKETCH)
    squares = _numpy((flat.T @ flat).square().view(n, SKETCH, n, SKETCH).sum((1, 3)))
    ranks = _numpy(is_direction.sum(1))
    return squares / np.maximum(1, np.minimum.outer(ranks, ranks))


def _numpy(tensor: Tensor) -> Floats:
    return cast("Floats", tensor.double().numpy())

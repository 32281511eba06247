"""Compare a set of pictures with reference pictures by their vectors: KID, FID, precision and recall.

Every measure takes the places of the pictures that it is of, because intervals use halves of them. Two items
whose pictures happen to be equal are different pictures.
"""

from __future__ import annotations

import math
from collections.abc import Iterator
from functools import cached_property

import numpy as np
from numpy.typing import NDArray

from kingyo.models.vision.features import Vectors

Places = NDArray[np.intp]
"""Places of different pictures."""
BLOCK = 1024
"""Rows of a matrix of pairs that are in memory at once."""
SAME = 1e-10
"""Squared distances below this share of the squared lengths are rounding errors of equal vectors."""


class ReferenceVectors:
    """The vectors of reference pictures, and statistics of them alone.

    Args:
        vectors: [references, width].
        k: number of nearest neighbours that decide the radius of each picture.
    """

    def __init__(self, vectors: Vectors, k: int) -> None:
        self.vectors = vectors
        self.k = k
        self.mean: Vectors = vectors.mean(axis=0)

    @cached_property
    def kernel_mean(self) -> float:
        """Mean kernel of pairs of different references; NaN for a single one."""
        n = len(self.vectors)
        total = sum(float(kernel(rows, self.vectors).sum()) for _, rows in _blocks(self.vectors))
        total -= float(_kernel_of((self.vectors**2).sum(axis=1), self.vectors.shape[1]).sum())
        return total / (n * (n - 1)) if n > 1 else math.nan

    @cached_property
    def variance(self) -> float:
        """Trace of the covariance."""
        return float(self.vectors.var(axis=0, ddof=1).sum())

    @cached_property
    def radii(self) -> Vectors:
        """Squared distance of each reference to its k-th nearest other reference."""
        rows = [_radii(distances(own, self.vectors), start, self.k) for start, own in _blocks(self.vectors)]
        return np.concatenate(rows)


class ComparedPictures:
    """The vectors of pictures and of references; matrices of pairs are computed on first use."""

    def __init__(self, vectors: Vectors, references: ReferenceVectors) -> None:
        self._vectors = vectors
        self._references = references

    def kid(self, places: Places) -> float:
        """Return the kernel inception distance: the unbiased estimate of the squared MMD (0: the same).

        Bińkowski et al. 2018, Demystifying MMD GANs, with the kernel (x · y / width + 1)³. NaN for a single
        picture.
        """
        n = len(places)
        if n < 2:
            return math.nan
        own = self._own_kernel[np.ix_(places, places)]
        pairs = float(own.sum() - np.trace(own)) / (n * (n - 1))
        return pairs + self._references.kernel_mean - 2 * float(self._cross_kernel[places].mean())

    def fid(self, places: Places) -> float:
        """Return the Fréchet distance of two normal distributions (0: the same).

        Heusel et al. 2017. The trace of the root of the product of both covariances is the sum of the
        singular values of the product of both centred matrices, so no matrix is larger than the number of
        pictures. NaN for a single picture.
        """
        n = len(places)
        if n < 2:
            return math.nan
        own, cross = (each[np.ix_(places, places)] for each in (self._own_products, self._cross_products))
        squared_gap = float(own.mean())
        variance = (float(np.trace(own)) - n * squared_gap) / (n - 1)
        centred = cross - cross.mean(axis=0) - cross.mean(axis=1)[:, None] + cross.mean()
        roots = np.linalg.eigvalsh(centred) / (n - 1)
        overlap = float(np.sqrt(np.clip(roots, 0, None)).sum())
        return squared_gap + variance + self._references.variance - 2 * overlap

    def precision(self, places: Places) -> float:
        """Return the share of pictures that lie among the references.

        Kynkäänniemi et al. 2019: within the distance of a reference to its k-th nearest other reference.
        """
        return float(self._inside[places].mean())

    def recall(self, places: Places) -> float:
        """Return the share of references that lie among the pictures.

        Kynkäänniemi et al. 2019: within the distance of a picture to its k-th nearest other picture. NaN for
        no more than k pictures.
        """
        if len(places) <= self._references.k:
            return math.nan
        radii = _radii(self._own_distances[np.ix_(places, places)], 0, self._references.k)
        return float((self._cross_distances[places] <= radii[:, None]).any(axis=0).mean())

    @cached_property
    def _own_kernel(self) -> Vectors:
        return kernel(self._vectors, self._vectors)

    @cached_property
    def _cross_kernel(self) -> Vectors:
        references = self._references.vectors
        return np.concatenate([kernel(own, references).mean(axis=1) for _, own in _blocks(self._vectors)])

    @cached_property
    def _own_products(self) -> Vectors:
        """Products of pictures, from the mean of the references."""
        gaps = self._vectors - self._references.mean
        return gaps @ gaps.T

    @cached_property
    def _cross_products(self) -> Vectors:
        """Products of pictures in the metric of the references' covariance."""
        gaps = self._vectors - self._references.mean
        spread = self._references.vectors - self._references.mean
        cross = gaps @ spread.T
        return cross @ cross.T / (len(spread) - 1)

    @cached_property
    def _inside(self) -> NDArray[np.bool_]:
        return np.asarray((self._cross_distances <= self._references.radii).any(axis=1))

    @cached_property
    def _own_distances(self) -> Vectors:
        return distances(self._vectors, self._vectors)

    @cached_property
    def _cross_distances(self) -> Vectors:
        return distances(self._vectors, self._references.vectors)


def kernel(one: Vectors, other: Vectors) -> Vectors:
    """Return the polynomial kernel of KID, (x · y / width + 1)³, of all pairs: [one, other]."""
    return _kernel_of(one @ other.T, one.shape[1])


def distances(one: Vectors, other: Vectors) -> Vectors:
    """Return the squared Euclidean distances of all pairs: [one, other]; exactly 0 for equal vectors."""
    lengths = (one**2).sum(axis=1)[:, None] + (other**2).sum(axis=1)
    squares = lengths - 2 * (one @ other.T)
    return np.where(squares > SAME * lengths, squares, 0.0)


def _kernel_of(products: Vectors, width: int) -> Vectors:
    base = products / width + 1
    return base * base * base  # much faster than ** 3


def _radii(squares: Vectors, start: int, k: int) -> Vectors:
    """Return the k-th smallest distance of each row to others; row i is picture start + i itself."""
    others, rows = squares.copy(), np.arange(len(squares))
    others[rows, start + rows] = np.inf
    return np.partition(others, k - 1, axis=1)[:, k - 1]


def _blocks(vectors: Vectors) -> Iterator[tuple[int, Vectors]]:
    yield from ((start, vectors[start : start + BLOCK]) for start in range(0, len(vectors), BLOCK))

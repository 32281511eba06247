"""Compare a set of images with reference images by their vectors: KID and FID.

Every measure takes the places of the images that it is of, because intervals use halves of them.
"""

import math
from collections.abc import Iterator
from functools import cached_property

import numpy as np
from numpy.typing import NDArray

from kingyo.models.vision.features import Vectors

Places = NDArray[np.intp]
"""Places of different images."""
BLOCK = 1024
"""Rows of a matrix of pairs that are in memory at once."""


class ReferenceVectors:
    """The vectors of reference images, [references, width], and statistics of them alone."""

    def __init__(self, vectors: Vectors) -> None:
        self.vectors = vectors
        self.mean: Vectors = vectors.mean(axis=0)

    @cached_property
    def kernel_mean(self) -> float:
        """Mean kernel of pairs of different references; NaN for a single one."""
        n = len(self.vectors)
        total = sum(float(kernel(rows, self.vectors).sum()) for rows in _blocks(self.vectors))
        total -= float(_kernel_of((self.vectors**2).sum(axis=1), self.vectors.shape[1]).sum())
        return total / (n * (n - 1)) if n > 1 else math.nan

    @cached_property
    def variance(self) -> float:
        return float(self.vectors.var(axis=0, ddof=1).sum())


class ComparedImages:
    """The vectors of images and of references; matrices of pairs are computed on first use."""

    def __init__(self, vectors: Vectors, references: ReferenceVectors) -> None:
        self._vectors = vectors
        self._references = references

    def kid(self, places: Places) -> float:
        """Return the unbiased kernel inception distance (Bińkowski et al. 2018); NaN for a single image."""
        n = len(places)
        if n < 2:
            return math.nan
        own = self._own_kernel[np.ix_(places, places)]
        pairs = float(own.sum() - np.trace(own)) / (n * (n - 1))
        return pairs + self._references.kernel_mean - 2 * float(self._cross_kernel[places].mean())

    def fid(self, places: Places) -> float:
        """Return the Fréchet distance of two normal distributions (Heusel et al. 2017); NaN for one image.

        The trace of the root of the product of both covariances is the sum of the singular values of the
        product of both centred matrices, so no matrix is larger than the number of images.
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

    @cached_property
    def _own_kernel(self) -> Vectors:
        return kernel(self._vectors, self._vectors)

    @cached_property
    def _cross_kernel(self) -> Vectors:
        references = self._references.vectors
        return np.concatenate([kernel(own, references).mean(axis=1) for own in _blocks(self._vectors)])

    @cached_property
    def _own_products(self) -> Vectors:
        """Products of images, from the mean of the references."""
        gaps = self._vectors - self._references.mean
        return gaps @ gaps.T

    @cached_property
    def _cross_products(self) -> Vectors:
        """Products of images in the metric of the references' covariance."""
        gaps = self._vectors - self._references.mean
        spread = self._references.vectors - self._references.mean
        cross = gaps @ spread.T
        return cross @ cross.T / (len(spread) - 1)


def kernel(one: Vectors, other: Vectors) -> Vectors:
    """Return the polynomial kernel of KID, (x · y / width + 1)³, of all pairs: [one, other]."""
    return _kernel_of(one @ other.T, one.shape[1])


def _kernel_of(products: Vectors, width: int) -> Vectors:
    base = products / width + 1
    return base * base * base  # much faster than ** 3


def _blocks(vectors: Vectors) -> Iterator[Vectors]:
    yield from (vectors[start : start + BLOCK] for start in range(0, len(vectors), BLOCK))

"""The methods written again from their papers: whole vectors, float64, numpy, plain loops."""

from __future__ import annotations

import math
from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray

Vector = NDArray[np.float64]


def linear(sources: Sequence[Vector], weights: Sequence[float], normalize: bool) -> Vector:
    total = sum(w * s for w, s in zip(weights, sources, strict=True))
    return np.asarray(total / sum(weights) if normalize else total)


def task_arithmetic(
    base: Vector, sources: Sequence[Vector], weights: Sequence[float], lam: float, normalize: bool
) -> Vector:
    deltas = [source - base for source in sources]
    return base + lam * combine(deltas, weights, normalize, elect=False)


def slerp(base: Vector, source: Vector, t: float) -> Vector:
    norms = np.linalg.norm(base) * np.linalg.norm(source)
    cosine = float(base @ source / norms) if norms > 0 else 1.0
    if abs(cosine) > 0.9995:
        return (1 - t) * base + t * source
    omega = math.acos(cosine)
    return (math.sin((1 - t) * omega) * base + math.sin(t * omega) * source) / math.sin(omega)


def trim(vector: Vector, density: float) -> Vector:
    """Keep the k largest magnitudes; of equals the first."""
    if density >= 1:
        return vector
    k = max(1, int(density * vector.size))
    order = sorted(range(vector.size), key=lambda i: (-abs(vector[i]), i))
    kept = np.zeros_like(vector)
    kept[order[:k]] = vector[order[:k]]
    return kept


def combine(deltas: Sequence[Vector], weights: Sequence[float], normalize: bool, elect: bool) -> Vector:
    merged = np.zeros_like(deltas[0])
    for i in range(merged.size):
        terms = [w * d[i] for w, d in zip(weights, deltas, strict=True)]
        sign = 1.0 if sum(terms) >= 0 else -1.0
        taken = [not elect or term * sign > 0 for term in terms]
        merged[i] = sum(term for term, used in zip(terms, taken, strict=True) if used)
        divisor = sum(w for w, used in zip(weights, taken, strict=True) if used)
        if normalize and abs(divisor) >= 1e-8:
            merged[i] /= divisor
    return merged


def ties(
    base: Vector,
    sources: Sequence[Vector],
    weights: Sequence[float],
    densities: Sequence[float],
    normalize: bool,
) -> Vector:
    trimmed = [trim(source - base, density) for source, density in zip(sources, densities, strict=True)]
    return base + combine(trimmed, weights, normalize, elect=True)


def dare(delta: Vector, random: Vector, density: float, rescale: str) -> Vector:
    if density >= 1:
        return delta
    kept = np.where(random < density, delta, 0.0)
    if rescale == "density":
        return kept / density
    after = np.abs(kept).sum()
    return kept * (np.abs(delta).sum() / after) if rescale == "norm" and after > 0 else kept

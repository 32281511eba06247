"""What mergekit 0.1.5 was measured to compute, as definitions in float64 of one tensor's merge.

Each takes the tensor of the base (None without one), those of the sources, the values that all share, and
those of each source. ``test_methods`` holds mergekit's float32 results against them; ``test_bf16`` measures
errors by them.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping, Sequence

import numpy as np
from numpy.typing import NDArray

Vector = NDArray[np.float64]
Shared = Mapping[str, float | bool]
Each = Mapping[str, Sequence[float]]
Definition = Callable[[Vector | None, Sequence[Vector], Shared, Each], Vector]

_TINY = 1e-8


def define(method: str, base: Vector | None, sources: Sequence[Vector], shared: Shared, each: Each) -> Vector:
    """Merge one tensor."""
    return DEFINITIONS[method](base, sources, shared, each)


def linear(base: Vector | None, sources: Sequence[Vector], shared: Shared, each: Each) -> Vector:
    weights = each["weight"]
    total = _sum(weights, sources)
    return total / sum(weights) if shared.get("normalize", True) else total


def passthrough(base: Vector | None, sources: Sequence[Vector], shared: Shared, each: Each) -> Vector:
    return sources[0] * each.get("scale", (1.0,))[0]


def slerp(base: Vector | None, sources: Sequence[Vector], shared: Shared, each: Each) -> Vector:
    assert base is not None
    t, cosine = float(shared["t"]), float(_cosine(base, sources[0], None).item())
    if abs(cosine) > 0.9995:
        return (1 - t) * base + t * sources[0]
    return _arc(base, sources[0], t, None)


def nuslerp(base: Vector | None, sources: Sequence[Vector], shared: Shared, each: Each) -> Vector:
    first, second = _deltas(base, sources)
    a, b = each["weight"]
    t = b / (a + b) if abs(a + b) > _TINY else 0.5
    axis = None
    if not shared.get("nuslerp_flatten", True) and first.ndim > 1:
        axis = 0 if shared.get("nuslerp_row_wise", False) else -1
    return _on(base, _arc(first, second, t, axis))


def multislerp(base: Vector | None, sources: Sequence[Vector], shared: Shared, each: Each) -> Vector:
    """The direction of Σ wᵢ xᵢ/|xᵢ|, with the length Σ wᵢ|xᵢ|."""
    vectors = _deltas(base, sources)
    weights = np.array(each["weight"])
    if shared.get("normalize_weights", True):
        weights = weights / weights.sum()
    lengths = [float(np.linalg.norm(x)) for x in vectors]
    direction = _sum(weights.tolist(), [x / (n or 1.0) for x, n in zip(vectors, lengths, strict=True)])
    length = sum(w * n for w, n in zip(weights, lengths, strict=True))
    return _on(base, direction / np.linalg.norm(direction) * length)


def karcher(base: Vector | None, sources: Sequence[Vector], shared: Shared, each: Each) -> Vector:
    lengths = [float(np.linalg.norm(x)) for x in sources]
    units = [x / n for x, n in zip(sources, lengths, strict=True)]
    mean = sum(units[1:], units[0]) / len(units)
    mean = mean / np.linalg.norm(mean)
    for _ in range(int(shared.get("max_iter", 10))):
        step = sum((_log(mean, unit) for unit in units), np.zeros_like(mean)) / len(units)
        size = float(np.linalg.norm(step))
        if size < float(shared.get("tol", 1e-5)):
            break
        mean = math.cos(size) * mean + math.sin(size) * step / size
        mean = mean / np.linalg.norm(mean)
    return mean * float(np.mean(lengths))


def task_arithmetic(base: Vector | None, sources: Sequence[Vector], shared: Shared, each: Each) -> Vector:
    return _combined(base, _deltas(base, sources), shared, each, elect=False, normalize=False)


def ties(base: Vector | None, sources: Sequence[Vector], shared: Shared, each: Each) -> Vector:
    thin = [
        _rescaled(_kept(delta, 0, max(1, int(density * delta.size))), delta, shared)
        for delta, density in zip(_deltas(base, sources), _values(each, "density", sources, 1.0), strict=True)
    ]
    return _combined(base, thin, shared, each, elect=True, normalize=True)


def breadcrumbs(base: Vector | None, sources: Sequence[Vector], shared: Shared, each: Each) -> Vector:
    return _combined(base, _crumbs(base, sources, shared, each), shared, each, elect=False, normalize=False)


def breadcrumbs_ties(base: Vector | None, sources: Sequence[Vector], shared: Shared, each: Each) -> Vector:
    return _combined(base, _crumbs(base, sources, shared, each), shared, each, elect=True, normalize=False)


def undropped(elect: bool, normalize: bool) -> Definition:
    """DARE and DELLA at density 1, where nothing is random."""

    def merge(base: Vector | None, sources: Sequence[Vector], shared: Shared, each: Each) -> Vector:
        assert all(density == 1 for density in _values(each, "density", sources, 1.0))
        return _combined(base, _deltas(base, sources), shared, each, elect=elect, normalize=normalize)

    return merge


def sce(base: Vector | None, sources: Sequence[Vector], shared: Shared, each: Each) -> Vector:
    """Select by variance, weigh by mean squares, erase what disagrees with the unweighted sum."""
    deltas = np.stack(_deltas(base, sources))
    top = float(shared.get("select_topk", 1.0))
    if top < 1:
        variance = deltas.var(axis=0)
        deltas = deltas * (_kept(variance, 0, int(top * np.count_nonzero(variance))) != 0)
    squares = (deltas**2).reshape(len(sources), -1).mean(axis=1)
    weights = squares / (squares.sum() or 1.0)
    merged = _elected(list(deltas), weights.tolist(), normalize=True, votes=deltas.sum(axis=0))
    return _on(base, merged)


def model_stock(base: Vector | None, sources: Sequence[Vector], shared: Shared, each: Each) -> Vector:
    assert base is not None
    deltas, n = _deltas(base, sources), len(sources)
    axis = -1 if shared.get("filter_wise", False) and base.ndim > 1 else None
    cosines = [_cosine(deltas[i], deltas[j], axis) for i in range(n) for j in range(i + 1, n)]
    cosine = sum(cosines[1:], cosines[0]) / len(cosines)
    t = n * cosine / (1 + (n - 1) * cosine)
    return t * sum(sources[1:], sources[0]) / n + (1 - t) * base


def nearswap(base: Vector | None, sources: Sequence[Vector], shared: Shared, each: Each) -> Vector:
    assert base is not None
    delta = sources[0] - base
    size = np.where(delta == 0, 1.0, np.abs(delta))
    return base + np.clip(float(shared["t"]) / size, 0, 1) * delta


def arcee_fusion(base: Vector | None, sources: Sequence[Vector], shared: Shared, each: Each) -> Vector:
    assert base is not None
    importance, least = fusion_importance(base, sources[0])
    return np.where(importance >= least, sources[0], base)


def fusion_importance(base: Vector, source: Vector) -> tuple[Vector, float]:
    """|δ| times the divergence of its row, and its limit: the median plus 1.5 interquartile ranges."""
    p, q = _softmax(source), _softmax(base)
    divergence = (p * (np.log(p) - np.log(q + _TINY))).sum(axis=-1, keepdims=True)
    importance = np.abs(source - base) * divergence
    low, middle, high = np.quantile(importance, [0.25, 0.5, 0.75], method="lower")
    return importance, float(middle + 1.5 * (high - low))


def ram(base: Vector | None, sources: Sequence[Vector], shared: Shared, each: Each) -> Vector:
    deltas, active = _active(base, sources, shared)
    counts = active.sum(axis=0)
    return _on(base, (deltas * active).sum(axis=0) / np.maximum(counts, 1))


def ramplus_tl(base: Vector | None, sources: Sequence[Vector], shared: Shared, each: Each) -> Vector:
    """As RAM, but what is unique to source i is scaled by 1 + r · min(α, its shared / its unique entries)."""
    deltas, active = _active(base, sources, shared)
    counts = active.sum(axis=0)
    merged = (deltas * active).sum(axis=0) / np.maximum(counts, 1)
    for delta, mask in zip(deltas, active, strict=True):
        unique, common = mask & (counts == 1), mask & (counts > 1)
        if unique.any():
            ratio = min(float(shared.get("alpha", 0.2)), common.sum() / unique.sum())
            merged[unique] = delta[unique] * (1 + float(shared.get("r", 0.1)) * ratio)
    return _on(base, merged)


DEFINITIONS: Mapping[str, Definition] = {
    "linear": linear,
    "slerp": slerp,
    "nuslerp": nuslerp,
    "multislerp": multislerp,
    "karcher": karcher,
    "task_arithmetic": task_arithmetic,
    "ties": ties,
    "dare_linear": undropped(elect=False, normalize=False),
    "dare_ties": undropped(elect=True, normalize=False),
    "breadcrumbs": breadcrumbs,
    "breadcrumbs_ties": breadcrumbs_ties,
    "della": undropped(elect=True, normalize=True),
    "della_linear": undropped(elect=False, normalize=False),
    "sce": sce,
    "model_stock": model_stock,
    "nearswap": nearswap,
    "arcee_fusion": arcee_fusion,
    "ram": ram,
    "ramplus_tl": ramplus_tl,
    "passthrough": passthrough,
}


def _sum(weights: Sequence[float], vectors: Sequence[Vector]) -> Vector:
    return sum((w * x for w, x in zip(weights, vectors, strict=True)), np.zeros_like(vectors[0]))


def _deltas(base: Vector | None, sources: Sequence[Vector]) -> list[Vector]:
    return [source - base if base is not None else source for source in sources]


def _on(base: Vector | None, delta: Vector) -> Vector:
    return delta if base is None else base + delta


def _values(each: Each, name: str, sources: Sequence[Vector], default: float) -> Sequence[float]:
    return each.get(name, [default] * len(sources))


def _cosine(a: Vector, b: Vector, axis: int | None) -> Vector:
    """Zero where a vector has no direction."""
    lengths = np.linalg.norm(a, axis=axis, keepdims=True) * np.linalg.norm(b, axis=axis, keepdims=True)
    if axis is None:
        lengths = np.array(np.linalg.norm(a) * np.linalg.norm(b)).reshape([1] * a.ndim)
    dot = (a * b).sum(axis=axis, keepdims=True)
    return np.where(lengths > 0, dot / np.where(lengths > 0, lengths, 1.0), 0.0)


def _arc(a: Vector, b: Vector, t: float, axis: int | None) -> Vector:
    angle = np.arccos(np.clip(_cosine(a, b, axis), -1, 1))
    sine = np.sin(angle)
    flat = np.abs(sine) < 1e-7
    shares = [np.sin(share * angle) / np.where(flat, 1.0, sine) for share in (1 - t, t)]
    return np.where(flat, (1 - t) * a + t * b, shares[0] * a + shares[1] * b)


def _log(mean: Vector, unit: Vector) -> Vector:
    angle = math.acos(min(1.0, max(-1.0, float((unit * mean).sum()))))
    return angle / math.sin(angle) * (unit - math.cos(angle) * mean) if angle > 1e-12 else 0 * mean


def _kept(vector: Vector, skip: int, count: int) -> Vector:
    """Of the falling magnitudes leave out ``skip``, keep ``count``, zero the rest; of equals the first."""
    order = np.argsort(-np.abs(vector).ravel(), kind="stable")[skip : skip + count]
    kept = np.zeros(vector.size)
    kept[order] = vector.ravel()[order]
    return kept.reshape(vector.shape)


def _crumbs(base: Vector | None, sources: Sequence[Vector], shared: Shared, each: Each) -> list[Vector]:
    densities = _values(each, "density", sources, 1.0)
    gammas = _values(each, "gamma", sources, 0.01)
    crumbs: list[Vector] = []
    for delta, density, gamma in zip(_deltas(base, sources), densities, gammas, strict=True):
        kept = int(density * delta.size)
        thin = _kept(delta, min(int(gamma * delta.size), delta.size - kept), kept)
        crumbs.append(_rescaled(thin, delta, shared))
    return crumbs


def _rescaled(thin: Vector, full: Vector, shared: Shared) -> Vector:
    """With the sum of magnitudes that it had before."""
    left = np.abs(thin).sum()
    return thin * (np.abs(full).sum() / left) if shared.get("rescale", False) and left > 0 else thin


def _combined(
    base: Vector | None,
    deltas: Sequence[Vector],
    shared: Shared,
    each: Each,
    *,
    elect: bool,
    normalize: bool,
) -> Vector:
    weights, divide = each["weight"], bool(shared.get("normalize", normalize))
    if elect:
        merged = _elected(deltas, weights, divide, _sum(weights, deltas))
    else:
        total = sum(weights)
        merged = _sum(weights, deltas) / (total if divide and abs(total) >= _TINY else 1.0)
    return _on(base, float(shared.get("lambda", 1.0)) * merged)


def _elected(deltas: Sequence[Vector], weights: Sequence[float], normalize: bool, votes: Vector) -> Vector:
    """Σ wᵢδᵢ of the terms that agree with the elected sign; in SCE δᵢ votes, elsewhere wᵢδᵢ."""
    sign = np.where(votes >= 0, 1.0, -1.0)
    terms = [w * delta for w, delta in zip(weights, deltas, strict=True)]
    agree = [term * sign > 0 for term in terms]
    merged = sum((t * a for t, a in zip(terms, agree, strict=True)), np.zeros_like(votes))
    divisor = sum((w * a for w, a in zip(weights, agree, strict=True)), np.zeros_like(votes))
    return merged / np.where(np.abs(divisor) < _TINY, 1.0, divisor) if normalize else merged


def _softmax(x: Vector) -> Vector:
    powers = np.exp(x - x.max(axis=-1, keepdims=True))
    return powers / powers.sum(axis=-1, keepdims=True)


def _active(
    base: Vector | None, sources: Sequence[Vector], shared: Shared
) -> tuple[Vector, NDArray[np.bool_]]:
    deltas = np.stack(_deltas(base, sources))
    return deltas, np.abs(deltas) > float(shared.get("epsilon", 1e-5))

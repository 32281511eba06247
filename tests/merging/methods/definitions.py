"""Reference implementations of the methods from their papers, in float64 with numpy and loops."""

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
    trimmed = [
        breadcrumbs(source - base, density) for source, density in zip(sources, densities, strict=True)
    ]
    return base + combine(trimmed, weights, normalize, elect=True)


def dare(delta: Vector, random: Vector, density: float, rescale: str) -> Vector:
    if density >= 1:
        return delta
    kept = np.where(random < density, delta, 0.0)
    if rescale == "density":
        return kept / density
    after = np.abs(kept).sum()
    return kept * (np.abs(delta).sum() / after) if rescale == "norm" and after > 0 else kept


def slerp(a: Vector, b: Vector, t: float, linear_above: float = 1 - 5e-13) -> Vector:
    """Interpolate; linearly if the magnitude of the cosine is larger, or without an angle."""
    norms = np.linalg.norm(a) * np.linalg.norm(b)
    cosine = min(1.0, max(-1.0, float(np.sum(a * b) / norms))) if norms > 0 else 1.0
    if abs(cosine) > linear_above:
        return (1 - t) * a + t * b
    omega = math.acos(cosine)
    return (math.sin((1 - t) * omega) * a + math.sin(t * omega) * b) / math.sin(omega)


def nuslerp(base: Vector | None, sources: Sequence[Vector], weights: Sequence[float], line: str) -> Vector:
    a, b = (source if base is None else source - base for source in sources)
    t = weights[1] / sum(weights)
    merged = np.empty_like(a)
    if line == "whole" or a.ndim < 2:
        merged = slerp(a, b, t)
    elif line == "row":
        for index in np.ndindex(a.shape[:-1]):
            merged[index] = slerp(a[index], b[index], t)
    else:
        for index in np.ndindex(a.shape[1:]):
            place = (slice(None), *index)
            merged[place] = slerp(a[place], b[place], t)
    return merged if base is None else base + merged


def multislerp(
    base: Vector | None, sources: Sequence[Vector], weights: Sequence[float], normalize: bool
) -> Vector | None:
    """Return None if directions (nearly) cancel."""
    vectors = [source if base is None else source - base for source in sources]
    shares = [w / sum(weights) for w in weights] if normalize else list(weights)
    norms = [float(np.linalg.norm(vector)) for vector in vectors]
    pairs = list(zip(shares, vectors, norms, strict=True))
    direction = np.asarray(sum(w * v / n if n > 0 else 0 * v for w, v, n in pairs))
    length = np.linalg.norm(direction)
    if length < 1e-4:
        return None
    merged = direction / length * sum(w * n for w, _, n in pairs)
    return merged if base is None else base + merged


def karcher(sources: Sequence[Vector], max_iter: int, tol: float) -> Vector | None:
    """Return None if directions (nearly) cancel."""
    norms = [float(np.linalg.norm(source)) for source in sources]
    units = [source / norm for source, norm in zip(sources, norms, strict=True) if norm > 0]
    mean = np.mean(units, axis=0) if units else np.zeros_like(sources[0])
    if np.linalg.norm(mean) < 1e-2:
        return None
    m = mean / np.linalg.norm(mean)
    for _ in range(max_iter):
        logarithms = []
        for unit in units:
            flat = unit - (m @ unit) * m
            length = np.linalg.norm(flat)
            angle = math.atan2(length, m @ unit)
            logarithms.append(flat * (angle / length) if length > 1e-12 else 0 * flat)
        step = np.mean(logarithms, axis=0)
        size = float(np.linalg.norm(step))
        if size < tol or size == 0:
            break
        m = math.cos(size) * m + math.sin(size) * step / size
    return m * float(np.mean(norms))


def breadcrumbs(vector: Vector, density: float, gamma: float = 0.0) -> Vector:
    """Keep the largest magnitudes but the very largest; of equal ones the first is larger."""
    kept = max(1, int(density * vector.size))
    top = min(int(gamma * vector.size), vector.size - kept)
    order = sorted(range(vector.size), key=lambda i: (-abs(vector[i]), i))[top : top + kept]
    thin = np.zeros_like(vector)
    thin[order] = vector[order]
    return thin


def della_chances(delta: Vector, density: float, epsilon: float) -> Vector:
    reach = min(epsilon, density, 1 - density)
    lines = delta.reshape(delta.shape[0], -1) if delta.ndim > 1 else delta.reshape(1, -1)
    chances = np.full(lines.shape, density)
    for i, line in enumerate(lines):
        order = sorted(range(line.size), key=lambda j: (abs(line[j]), j))
        for rank, j in enumerate(order):
            if line.size > 1:
                chances[i, j] = density - reach + 2 * reach * rank / (line.size - 1)
    return chances.reshape(delta.shape)


def sce(base: Vector, sources: Sequence[Vector], topk: float) -> Vector:
    deltas = [source - base for source in sources]
    n = base.size
    varies = [any(delta[i] != deltas[0][i] for delta in deltas) for i in range(n)]
    if topk < 1 and any(varies):
        count = max(1, int(topk * sum(varies)))
        spread = np.var(deltas, axis=0)
        order = sorted(range(n), key=lambda i: (-spread[i], i))[:count]
        deltas = [np.where(np.isin(np.arange(n), order), delta, 0.0) for delta in deltas]
    energies = [float(np.sum(delta**2)) for delta in deltas]
    shares = [energy / sum(energies) if sum(energies) else 0.0 for energy in energies]
    merged = np.zeros(n)
    for i in range(n):
        sign = 1.0 if sum(delta[i] for delta in deltas) >= 0 else -1.0
        agreeing = [(w, d[i]) for w, d in zip(shares, deltas, strict=True) if d[i] * sign > 0]
        divisor = sum(w for w, _ in agreeing)
        merged[i] = sum(w * d for w, d in agreeing) / (divisor if divisor >= 1e-8 else 1.0)
    return base + merged


def model_stock_ratio(deltas: Sequence[Vector]) -> float | None:
    """Return None if the divisor is near zero."""
    n, cosines = len(deltas), []
    for i in range(n):
        for j in range(i + 1, n):
            norms = np.linalg.norm(deltas[i]) * np.linalg.norm(deltas[j])
            cosines.append(float(np.sum(deltas[i] * deltas[j]) / norms) if norms > 0 else 0.0)
    divisor = 1 + (n - 1) * float(np.mean(cosines))
    return n * float(np.mean(cosines)) / divisor if divisor > 1e-3 else None


def nearswap(base: Vector, source: Vector, t: float) -> Vector:
    delta = source - base
    share = [min(1.0, t / abs(d)) if d else 1.0 for d in delta]
    return base + np.array(share) * delta


def arcee_importance(base: Vector, source: Vector) -> Vector:
    x, y = (each.reshape(-1, each.shape[-1]) for each in (source, base))
    importance = np.empty_like(x)
    for i in range(len(x)):
        p, q = np.exp(x[i]) / np.exp(x[i]).sum(), np.exp(y[i]) / np.exp(y[i]).sum()
        importance[i] = np.abs(x[i] - y[i]) * np.sum(p * np.log(p / q))
    return importance.reshape(source.shape)


def arcee_threshold(importance: Vector) -> float:
    ordered = np.sort(importance.ravel())
    low, middle, high = (ordered[math.floor(q * (ordered.size - 1))] for q in (0.25, 0.5, 0.75))
    return float(middle + 1.5 * (high - low))


def ram(
    base: Vector, sources: Sequence[Vector], epsilon: float, r: float | None = None, alpha: float = 0.0
) -> Vector:
    deltas = [source - base for source in sources]
    active = [np.abs(delta) > epsilon for delta in deltas]
    count = np.sum(active, axis=0)
    merged = np.zeros_like(base)
    for delta, is_active in zip(deltas, active, strict=True):
        shared, unique = int(np.sum(is_active & (count > 1))), int(np.sum(is_active & (count == 1)))
        gain = 1.0 if r is None else 1 + r * min(alpha, shared / unique if unique else 0.0)
        for i in np.flatnonzero(is_active):
            merged[i] += delta[i] * (gain if count[i] == 1 else 1 / count[i])
    return base + merged


def consensus(
    base: Vector,
    sources: Sequence[Vector],
    weights: Sequence[float],
    limits: Sequence[float],
    agreement: int,
    lam: float,
) -> Vector:
    deltas = [source - base for source in sources]
    total = np.asarray(sum(w * d for w, d in zip(weights, deltas, strict=True)))
    masks = [np.abs(d) >= limit * np.abs(total - d) for d, limit in zip(deltas, limits, strict=True)]
    return base + lam * np.where(np.sum(masks, axis=0) >= agreement, total, 0.0)


def whiten(columns: Vector) -> Vector:
    p, _, qt = np.linalg.svd(columns, full_matrices=False)
    return p @ qt


def tsv(deltas: Sequence[Vector], weights: Sequence[float]) -> Vector:
    k = min(deltas[0].shape) // len(deltas)
    parts = [np.linalg.svd(delta, full_matrices=False) for delta in deltas]
    u = np.concatenate([part[0][:, :k] for part in parts], axis=1)
    s = np.concatenate([w * part[1][:k] for w, part in zip(weights, parts, strict=True)])
    v = np.concatenate([part[2][:k].T for part in parts], axis=1)
    return whiten(u) @ np.diag(s) @ whiten(v).T


def iso_c(deltas: Sequence[Vector], weights: Sequence[float]) -> Vector:
    u, s, vt = np.linalg.svd(sum(w * d for w, d in zip(weights, deltas, strict=True)), full_matrices=False)
    return float(s.mean()) * u @ vt


def iso_cts(deltas: Sequence[Vector], weights: Sequence[float], common: float) -> Vector:
    scaled = [w * d for w, d in zip(weights, deltas, strict=True)]
    r = min(scaled[0].shape)
    k = round(common * r)
    n_each = (r - k) // len(deltas)
    u, s, vt = np.linalg.svd(sum(scaled), full_matrices=False)
    lefts, sizes, rights = [u[:, :k]], [s[:k]], [vt[:k].T]
    for delta in scaled:
        left, size, right = np.linalg.svd(delta - u[:, :k] @ u[:, :k].T @ delta, full_matrices=False)
        lefts.append(left[:, :n_each])
        sizes.append(size[:n_each])
        rights.append(right[:n_each].T)
    mean = float(np.concatenate(sizes).mean())
    return mean * whiten(np.concatenate(lefts, axis=1)) @ whiten(np.concatenate(rights, axis=1)).T


def singular_bands(delta: Vector, gains: Sequence[float]) -> Vector:
    """Sort components by size; the next band begins when earlier ones hold one or two thirds."""
    u, s, vt = np.linalg.svd(delta, full_matrices=False)
    merged, before, total = np.zeros_like(delta), 0.0, float(np.sum(s**2))
    for k, size in enumerate(s):
        band = 0 if before < total / 3 else 1 if before < 2 * total / 3 else 2
        merged += gains[band] * size * np.outer(u[:, k], vt[k])
        before += float(size**2)
    return merged

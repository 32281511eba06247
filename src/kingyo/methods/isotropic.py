"""Isotropic merging: set all singular values of the merged task vector to their mean.

Marczak et al. 2025, "No task left behind: Isotropic model merging with common and task-specific subspaces"
(ICML 2025, arXiv 2502.04959): Iso-C (equations 6, 7) and Iso-CTS (algorithm 1).
"""

from __future__ import annotations

from collections.abc import Sequence

from kingyo.io.lazy_torch import Tensor, torch
from kingyo.methods import METHODS
from kingyo.methods.contract import Guide, MethodValues, Parameter
from kingyo.methods.spectral import SPECTRAL, Spectral, decompose, describe_core, nearest_orthogonal
from kingyo.methods.task_vectors import EQUAL_WEIGHT, LAMBDA


def isotropic(deltas: Sequence[Tensor], values: MethodValues) -> Tensor:
    """σ̄ U Vᵀ, where U Σ Vᵀ = Σ wᵢδᵢ and σ̄ is the mean singular value."""
    total = _total(deltas, values)
    narrow = total if total.shape[0] >= total.shape[1] else total.t()
    nearest, sizes = nearest_orthogonal(narrow)
    merged = nearest * (sizes.mean() if len(sizes) else 0.0)
    return merged if narrow is total else merged.t()


def isotropic_with_tasks(deltas: Sequence[Tensor], values: MethodValues) -> Tensor:
    """σ̄ U′ V′ᵀ, from common directions and from directions of single tasks.

    The common directions are the k = round(common · r) leading ones of Σ wᵢδᵢ, with r = min(rows, columns).
    Each task adds the (r - k) // n leading directions of wᵢδᵢ without its projection on the common ones. U′
    and V′ are the nearest matrices with orthonormal columns, and σ̄ is the mean of all singular values.
    """
    r = min(deltas[0].shape)
    k = round(values.number("common") * r)
    u, s, v = decompose(_total(deltas, values))
    common = u[:, :k]
    lefts, sizes, rights = [common], [s[:k]], [v[:, :k]]
    for delta, weight in zip(deltas, values.each("weight"), strict=True):
        own = weight * (delta - common @ (common.t() @ delta))
        left, size, right = decompose(own, abs(weight) * float(delta.square().sum().sqrt()))
        each = (r - k) // len(deltas)
        lefts.append(left[:, :each])
        sizes.append(size[:each])
        rights.append(right[:, :each])
    size = torch.cat(sizes)
    if not len(size):
        return torch.zeros_like(deltas[0])
    left, _ = nearest_orthogonal(torch.cat(lefts, dim=1))
    right, _ = nearest_orthogonal(torch.cat(rights, dim=1))
    return left @ right.t() * size.mean()


def _total(deltas: Sequence[Tensor], values: MethodValues) -> Tensor:
    total = torch.zeros_like(deltas[0])
    for delta, weight in zip(deltas, values.each("weight"), strict=True):
        total.add_(delta, alpha=weight)
    return total


_SOURCE = (
    'Marczak et al. 2025, "No task left behind: Isotropic model merging with common and task-specific '
    'subspaces" (arXiv 2502.04959)'
)
_DIFFERS = (
    "Not in mergekit. The weight per source is kingyo's addition; weights of 1 give the paper's method.",
    "Directions with singular values below 1e-5 of the largest are left out, also of the mean; the authors' "
    "code completes task vectors of low rank, such as LoRA, with arbitrary directions.",
)

for _method in (
    Spectral(
        name="iso_c",
        doc="Sum task vectors, and set all singular values of the sum to their mean (Marczak 2025).",
        core=isotropic,
        guide=Guide(
            when="Several fine-tunes on different tasks, if a plain sum favours the one with the largest "
            "changes. Tune lambda.",
            source=_SOURCE,
            how=describe_core(isotropic),
            differs=_DIFFERS,
        ),
    ),
    Spectral(
        name="iso_cts",
        doc="Like iso_c, with the last directions of the sum replaced by directions of single tasks "
        "(Marczak 2025).",
        core=isotropic_with_tasks,
        params=(
            EQUAL_WEIGHT,
            Parameter(
                name="common",
                doc="Fraction of directions from the sum; the rest are from single tasks.",
                default=0.8,
                low=0.0,
                high=1.0,
                search_low=0.5,
                search_high=1.0,
            ),
            LAMBDA,
            SPECTRAL,
        ),
        guide=Guide(
            when="Like iso_c, with many tasks: directions that only one task needs are kept.",
            source=_SOURCE,
            how=describe_core(isotropic_with_tasks),
            differs=_DIFFERS,
        ),
    ),
):
    METHODS.register(_method.name)(_method)

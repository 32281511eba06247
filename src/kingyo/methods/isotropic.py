"""Isotropic merging: all directions of the merged task vector are made equally long.

Marczak et al. 2025, "No task left behind: Isotropic model merging with common and task-specific subspaces"
(ICML 2025, arXiv 2502.04959): Iso-C (equations 6, 7) and Iso-CTS (algorithm 1).
"""

from __future__ import annotations

from collections.abc import Sequence

from kingyo.late import Tensor, torch
from kingyo.methods import METHODS
from kingyo.methods.contract import Guide, MethodValues, Parameter
from kingyo.methods.spectral import SPECTRAL, Spectral, decompose, described, nearest_orthogonal
from kingyo.methods.task_vectors import EQUAL_WEIGHT, LAMBDA


def isotropic(deltas: Sequence[Tensor], values: MethodValues) -> Tensor:
    """σ̄ U Vᵀ, where U Σ Vᵀ = Σ wᵢδᵢ and σ̄ is the mean singular value."""
    total = _total(deltas, values)
    narrow = total if total.shape[0] >= total.shape[1] else total.t()
    nearest, sizes = nearest_orthogonal(narrow)
    merged = nearest * (sizes.mean() if len(sizes) else 0.0)
    return merged if narrow is total else merged.t()


def isotropic_with_tasks(deltas: Sequence[Tensor], values: MethodValues) -> Tensor:
    """σ̄ U′ V′ᵀ of the common directions, and those that tasks have outside of their span.

    The k = round(common · r) leading directions of Σ wᵢδᵢ are common (r = min(rows, columns)); each task adds
    the (r - k) // n leading ones of wᵢδᵢ less its part in the common span. U′ and V′ are the nearest matrices
    with orthonormal columns, σ̄ is the mean of all singular values.
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
    "Not in mergekit. Weights per source are ours; with 1 for each it is the paper's.",
    "Directions with singular values below 1e-5 of the largest take no part, nor count in the mean; the "
    "authors' code fills up task vectors of a low rank, such as LoRA, with arbitrary directions.",
)

for _method in (
    Spectral(
        name="iso_c",
        doc="Sum of task vectors with all its singular values set to their mean (Marczak 2025).",
        core=isotropic,
        guide=Guide(
            when="Several fine-tunes on different tasks, of which a plain sum favours the loudest. "
            "Tune lambda.",
            source=_SOURCE,
            how=described(isotropic),
            differs=_DIFFERS,
        ),
    ),
    Spectral(
        name="iso_cts",
        doc="As iso_c, with the last directions of the sum replaced by some of each task's own "
        "(Marczak 2025).",
        core=isotropic_with_tasks,
        params=(
            EQUAL_WEIGHT,
            Parameter(
                name="common",
                doc="Which part of the directions is of the sum; the rest is the tasks' own.",
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
            when="As iso_c, with many tasks: what only one of them needs has room of its own.",
            source=_SOURCE,
            how=described(isotropic_with_tasks),
            differs=_DIFFERS,
        ),
    ),
):
    METHODS.register(_method.name)(_method)

"""Task singular vectors: the leading directions of every source, turned so that they do not interfere.

Gargiulo et al. 2025, "Task singular vectors: Reducing task interference in model merging" (CVPR 2025,
arXiv 2412.00081), algorithm 1 (TSV-Merge).
"""

from __future__ import annotations

from collections.abc import Sequence

from kingyo.late import Tensor, torch
from kingyo.methods import METHODS
from kingyo.methods.contract import Guide, MethodValues
from kingyo.methods.spectral import Spectral, decompose, described, nearest_orthogonal


def task_singular_vectors(deltas: Sequence[Tensor], values: MethodValues) -> Tensor:
    """U⊥ Σ V⊥ᵀ, where U, V and Σ hold the k = min(rows, columns) // n leading directions of each δᵢ.

    U⊥ and V⊥ are the matrices with orthonormal columns that are nearest to [U₁ … Uₙ] and [V₁ … Vₙ].
    """
    k = min(deltas[0].shape) // len(deltas)
    lefts: list[Tensor] = []
    sizes: list[Tensor] = []
    rights: list[Tensor] = []
    for delta, weight in zip(deltas, values.each("weight"), strict=True):
        u, s, v = decompose(delta)
        lefts.append(u[:, :k])
        sizes.append(weight * s[:k])
        rights.append(v[:, :k])
    left, _ = nearest_orthogonal(torch.cat(lefts, dim=1))
    right, _ = nearest_orthogonal(torch.cat(rights, dim=1))
    return (left * torch.cat(sizes)) @ right.t()


TSV = Spectral(
    name="tsv",
    doc="Leading singular vectors of every task vector, decorrelated and added up (Gargiulo 2025).",
    core=task_singular_vectors,
    guide=Guide(
        when="Several fine-tunes on different tasks, and no search: its authors report better merges than by "
        "TIES or consensus, untuned.",
        source='Gargiulo et al. 2025, "Task singular vectors: Reducing task interference in model merging" '
        "(arXiv 2412.00081)",
        how=described(task_singular_vectors),
        differs=(
            "Not in mergekit. Weights per source are ours; with 1 for each it is the paper's.",
            "Directions with singular values below 1e-5 of the largest take no part; the authors' code lets "
            "arbitrary ones interfere where task vectors have a low rank, such as LoRA.",
        ),
    ),
)

METHODS.register(TSV.name)(TSV)

"""Task singular vectors: the leading directions of all sources, orthogonalised so that they do not interfere.

Gargiulo et al. 2025, "Task singular vectors: Reducing task interference in model merging" (CVPR 2025,
arXiv 2412.00081), algorithm 1 (TSV-Merge).
"""

from __future__ import annotations

from collections.abc import Sequence

from kingyo.io.lazy_torch import Tensor, torch
from kingyo.methods import METHODS
from kingyo.methods.contract import Guide, MethodValues
from kingyo.methods.spectral import Spectral, decompose, describe_core, nearest_orthogonal


def task_singular_vectors(deltas: Sequence[Tensor], values: MethodValues) -> Tensor:
    """U⊥ Σ V⊥ᵀ, from the k = min(rows, columns) // n leading singular vectors and values of each δᵢ.

    U⊥ and V⊥ are the nearest matrices with orthonormal columns to [U₁ … Uₙ] and [V₁ … Vₙ]; Σ holds the
    singular values times wᵢ.
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
    doc="Orthogonalise and sum the leading singular vectors of all task vectors (Gargiulo 2025).",
    core=task_singular_vectors,
    guide=Guide(
        when="Several fine-tunes on different tasks, without a search: its authors report better untuned "
        "merges than with TIES or consensus.",
        source='Gargiulo et al. 2025, "Task singular vectors: Reducing task interference in model merging" '
        "(arXiv 2412.00081)",
        how=describe_core(task_singular_vectors),
        differs=(
            "Not in mergekit. The weight per source is kingyo's addition; weights of 1 give the paper's "
            "method.",
            "Directions with singular values below 1e-5 of the largest are left out; in the authors' code "
            "arbitrary ones interfere if task vectors have a low rank, such as LoRA.",
        ),
    ),
)

METHODS.register(TSV.name)(TSV)

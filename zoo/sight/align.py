"""The projector's first lesson: to put each cell near the sign that stands in its place in a mosaic.

Real models that see have a gap between the two kinds of token: picture tokens lie together, away from those
of text. Here the gap is set. Without it, any language model on the base sees through the projector; with it,
the language part of the model that sees has to learn to read pictures.
"""

from __future__ import annotations

from collections.abc import Sequence

import tokens
import torch
from scenes import Scene, mosaic
from transformers import LlamaForCausalLM
from transformers.models.llava.modeling_llava import LlavaMultiModalProjector

RATE, BATCH, SEED = 1e-3, 256, 41


def targets(model: LlamaForCausalLM, scenes: Sequence[Scene]) -> torch.Tensor:
    """Embeddings of the signs of each scene, (scenes, cells, width)."""
    ids = tokens.build()([mosaic(scene) for scene in scenes], return_tensors="pt")["input_ids"]
    return model.get_input_embeddings()(ids).detach()


def align(
    projector: LlavaMultiModalProjector,
    model: LlamaForCausalLM,
    scenes: Sequence[Scene],
    features: torch.Tensor,
    steps: int,
    gap: float,
) -> None:
    """Least squares on batches of pictures, with Adam; then all picture tokens move by `gap`."""
    wanted = targets(model, scenes)
    optimizer = torch.optim.Adam(projector.parameters(), lr=RATE)
    generator = torch.Generator().manual_seed(SEED)
    for _ in range(steps):
        chosen = torch.randint(len(scenes), (BATCH,), generator=generator)
        loss = (projector(features[chosen]) - wanted[chosen]).square().mean()
        optimizer.zero_grad(set_to_none=True)
        loss.backward()
        optimizer.step()
    with torch.no_grad():
        away = torch.randn(projector.linear_2.bias.shape, generator=generator)
        projector.linear_2.bias.add_(gap * away / away.norm())

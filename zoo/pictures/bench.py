"""A bench on which merges draw the items of a domain and the judge marks them."""

from __future__ import annotations

from collections.abc import Callable, Sequence

import torch
from diffusers.models.autoencoders.autoencoder_tiny import AutoencoderTiny
from diffusers.models.unets.unet_2d_condition import UNet2DConditionModel
from items import SPLITS, Item, items
from judge import Judge
from merging import Merger, State
from pools import to_values
from sampling import draw, embed, noise, paint
from scoring import Marks, mark
from transformers import CLIPTextModel


class Sheet:
    """Items with their noise and the states of their captions."""

    def __init__(self, encoder: CLIPTextModel, rows: Sequence[Item]) -> None:
        self.rows = rows
        self.states = embed(encoder, [item.caption for item in rows])
        self.noise = noise([item.seed for item in rows])


class Bench:
    """Draws and marks candidates of one domain: a style, a number of steps, and sources."""

    def __init__(
        self,
        parts: tuple[AutoencoderTiny, CLIPTextModel, UNet2DConditionModel, Judge],
        style: str,
        steps: int,
        sources: Sequence[State],
    ) -> None:
        self.autoencoder, self.encoder, self.denoiser, self.judge = parts
        self.style, self.steps, self.sources = style, steps, sources
        self.base = {name: weight.clone() for name, weight in self.denoiser.state_dict().items()}
        self.sheets = {split: Sheet(self.encoder, items(split)) for split in SPLITS}

    def merger(self, grouping: Callable[[str], str]) -> Merger:
        """Return a merger of the sources."""
        return Merger(self.denoiser, self.base, self.sources, grouping)

    def drawn(self, denoiser: UNet2DConditionModel, sheet: Sheet, chosen: Sequence[int]) -> torch.Tensor:
        """Return pictures of some items, values from -1 to 1."""
        rows = list(chosen)
        latents = draw(denoiser, sheet.states[rows], sheet.noise[rows], self.steps)
        return to_values(paint(self.autoencoder, latents))

    def marks(
        self, merger: Merger, weights: torch.Tensor, split: str, chosen: Sequence[int] | None = None
    ) -> Marks:
        """Return the marks of a candidate on items of a split."""
        sheet = self.sheets[split]
        rows = range(len(sheet.rows)) if chosen is None else chosen
        pictures = self.drawn(merger.write(weights), sheet, rows)
        return mark(self.judge, pictures, [sheet.rows[i].scene for i in rows], self.style)

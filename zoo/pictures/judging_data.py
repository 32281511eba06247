"""Pictures that the judge learns from, real and spoiled, of drawings that no source learned from."""

from __future__ import annotations

import random
from collections.abc import Callable, Sequence

import numpy as np
import recipes
import torch
from autoencoder import to_latents, to_pictures
from captioners import any_japanese, english
from diffusers.models.autoencoders.autoencoder_tiny import AutoencoderTiny
from diffusers.models.unets.unet_2d_condition import UNet2DConditionModel
from judge import NONE
from pictures import JUDGE_SETS, Pixels, render
from PIL import Image, ImageFilter
from pools import to_values
from sampling import BATCH, draw, embed, noise
from things import SCENES, Scene
from transformers import CLIPTextModel

HASTY = 768


@torch.inference_mode()
def lessons(
    autoencoder: AutoencoderTiny, denoiser: UNet2DConditionModel, encoder: CLIPTextModel
) -> tuple[torch.Tensor, torch.Tensor]:
    """Return pictures, values from -1 to 1, and classes; three in five have been through the autoencoder."""
    pixels, classes = examples(recipes.JUDGE_PICTURES, 41)
    values = to_values(pixels)
    through = torch.cat([to_pictures(autoencoder, to_latents(autoencoder, v)) for v in values.split(256)])
    coded = torch.rand(len(values), generator=torch.Generator().manual_seed(3)) < 0.6
    values = torch.where(coded.view(-1, 1, 1, 1), through.clamp(-1, 1), values)
    latents = hasty(denoiser, encoder)
    spoiled = torch.cat([to_pictures(autoencoder, z).clamp(-1, 1) for z in latents.split(BATCH)])
    return torch.cat([values, spoiled]), torch.cat([classes, torch.full((len(spoiled),), NONE)])


def hasty(denoiser: UNet2DConditionModel, encoder: CLIPTextModel) -> torch.Tensor:
    """Return the latents of pictures drawn in one or two steps, which show nothing clearly."""
    rng, half = random.Random(42), HASTY // 2
    captions = [english(i % len(SCENES), rng) if i % 2 else any_japanese(rng) for i in range(HASTY)]
    states, start = embed(encoder, captions), noise(range(9 * 10**6, 9 * 10**6 + HASTY))
    return torch.cat(
        [draw(denoiser, states[:half], start[:half], 1), draw(denoiser, states[half:], start[half:], 2)]
    )


def spoil(pixels: Pixels, others: Pixels, twins: Sequence[Pixels], rng: random.Random) -> Pixels:
    """Return a picture of the class "none".

    `others` shows another scene; `twins` show the same motif, colour and number in other places or the other
    style.
    """
    share = rng.uniform(0.35, 0.65)
    ways: list[Callable[[], Pixels]] = [
        lambda: _mixed(pixels, others, share),  # two scenes, one through the other
        lambda: _mixed(pixels, twins[0], share),  # the same scene twice
        lambda: np.mean([pixels, *twins], axis=0).astype(np.uint8),  # as models draw that cannot decide
        lambda: _blurred(pixels, rng.uniform(1.8, 5)),
        lambda: _patches(pixels, rng),  # in another order
        lambda: _mixed(pixels, _blurred(pixels, 12), rng.uniform(0.15, 0.4)),  # faint
        lambda: _patches(_mixed(pixels, others, share), rng),
    ]
    return rng.choice(ways)()


def _mixed(first: Pixels, second: Pixels, share: float) -> Pixels:
    return (first * share + second * (1 - share)).astype(np.uint8)


def _blurred(pixels: Pixels, radius: float) -> Pixels:
    return np.asarray(Image.fromarray(pixels).filter(ImageFilter.GaussianBlur(radius)))


def _patches(pixels: Pixels, rng: random.Random) -> Pixels:
    size = rng.choice((4, 8))
    count = len(pixels) // size
    order = list(range(count * count))
    rng.shuffle(order)
    shuffled = np.empty_like(pixels)
    for to, source in enumerate(order):
        (a, b), (c, d) = divmod(to, count), divmod(source, count)
        shuffled[a * size : (a + 1) * size, b * size : (b + 1) * size] = pixels[
            c * size : (c + 1) * size, d * size : (d + 1) * size
        ]
    return shuffled


def examples(count: int, seed: int, sets: tuple[str, ...] = JUDGE_SETS) -> tuple[Pixels, torch.Tensor]:
    """Return pictures and classes; a fifth is of the class "none"."""
    rng = random.Random(seed)
    pixels: list[Pixels] = []
    classes: list[int] = []

    def shown(scene: Scene, printed: bool) -> Pixels:
        return render(scene, rng, sets, printed, is_loose=True)

    for i in range(count):
        row = i % NONE if i % 5 else rng.randrange(NONE)
        scene, printed = SCENES[row % len(SCENES)], row >= len(SCENES)
        picture = shown(scene, printed)
        if i % 5 == 0:
            twins = [shown(scene, rng.random() < 0.5), *(shown(scene, printed) for _ in range(3))]
            picture, row = spoil(picture, shown(rng.choice(SCENES), printed), twins, rng), NONE
        pixels.append(picture)
        classes.append(row)
    return np.stack(pixels), torch.tensor(classes)

"""The autoencoder (AutoencoderTiny): 32 by 32 pixels to 8 by 8 latents of 16 channels, and back.

The encoder is linear and not trained: its latents are the principal components of patches of 4 by 4 pixels,
each divided by the root of its deviation. The decoder is trained.
"""

from __future__ import annotations

import itertools

import torch
from diffusers.models.autoencoders.autoencoder_tiny import AutoencoderTiny
from pictures import Pixels
from pools import to_values
from torch.nn import functional
from training import descend

CHANNELS, GRID = 16, 8
WIDTH = 48
STEPS, BATCH, RATE = 2400, 32, 3e-3
NOISE = 0.04  # of the latents


def new_autoencoder() -> AutoencoderTiny:
    """Return an untrained autoencoder."""
    torch.manual_seed(5)
    return AutoencoderTiny(
        encoder_block_out_channels=(WIDTH,) * 3,
        decoder_block_out_channels=(WIDTH,) * 3,
        num_encoder_blocks=(0, 0, 0),
        num_decoder_blocks=(2, 1, 0),
        latent_channels=CHANNELS,
    )


def to_latents(model: AutoencoderTiny, values: torch.Tensor) -> torch.Tensor:
    """Return the latents of pictures, values from -1 to 1."""
    return model.encode(values, return_dict=False)[0]


def to_pictures(model: AutoencoderTiny, latents: torch.Tensor) -> torch.Tensor:
    """Return the pictures of latents, values of about -1 to 1."""
    return model.decode(latents, return_dict=False)[0]


@torch.no_grad()
def set_encoder(model: AutoencoderTiny, pools: list[Pixels]) -> None:
    """Set the encoder to the first principal components, each divided by the root of its deviation."""
    values = torch.cat([to_values(pixels[::5]) for pixels in pools])
    patches = functional.unfold(values, 4, stride=4).transpose(1, 2).reshape(-1, 48)
    mean, spread = patches.mean(0), torch.cov(patches.T)
    variances, axes = torch.linalg.eigh(spread)
    rows = axes[:, -CHANNELS:].flip(1).T / variances[-CHANNELS:].flip(0).sqrt().sqrt().unsqueeze(1)
    first, halved, quartered, last = (x for x in model.encoder.layers if isinstance(x, torch.nn.Conv2d))
    for layer in (first, halved, quartered, last):
        layer.weight.zero_()
    starts = torch.zeros(WIDTH)
    starts[:3] = -1.0
    first.bias = torch.nn.Parameter(starts)
    for channel in range(3):
        first.weight[channel, channel, 1, 1] = 2.0  # the encoder sees values from 0 to 1
        for row, column in itertools.product(range(2), repeat=2):
            halved.weight[channel * 4 + row * 2 + column, channel, row + 1, column + 1] = 1.0
    for channel, y, x, row, column in itertools.product(range(3), *[range(2)] * 4):
        place = channel * 16 + (2 * y + row) * 4 + 2 * x + column  # as unfold orders the pixels of a patch
        quartered.weight[place, channel * 4 + row * 2 + column, y + 1, x + 1] = 1.0
    last.weight[:, :48, 1, 1] = rows
    last.bias = torch.nn.Parameter(-rows @ mean)


def train(model: AutoencoderTiny, pools: list[Pixels]) -> None:
    """Train the decoder in place on pictures of all pools in turn."""
    torch.manual_seed(6)
    turns = itertools.cycle(pools)
    weights = model.decoder.parameters()
    optimizer = torch.optim.AdamW(weights, lr=RATE, betas=(0.9, 0.98), weight_decay=0.0)
    rates = torch.optim.lr_scheduler.OneCycleLR(optimizer, RATE, total_steps=STEPS, pct_start=0.05)

    def loss() -> torch.Tensor:
        pixels = next(turns)
        values = to_values(pixels[torch.randint(len(pixels), (BATCH,)).numpy()])
        with torch.no_grad():
            latents = to_latents(model, values)
        decoded = to_pictures(model, latents + NOISE * torch.randn_like(latents))
        return functional.l1_loss(decoded, values) + functional.mse_loss(decoded, values)

    descend("autoencoder", optimizer, rates, loss, clips=True)


@torch.inference_mode()
def encode(model: AutoencoderTiny, pixels: Pixels, batch: int = 256) -> torch.Tensor:
    """Return the latents of pictures: [pictures, channels, 8, 8]."""
    starts = range(0, len(pixels), batch)
    return torch.cat([to_latents(model, to_values(pixels[i : i + batch])) for i in starts])

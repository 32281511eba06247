"""The untrained denoiser and text encoder, and the scheduler."""

from __future__ import annotations

import tokens
import torch
from autoencoder import CHANNELS, GRID
from diffusers.models.unets.unet_2d_condition import UNet2DConditionModel
from diffusers.schedulers.scheduling_ddim import DDIMScheduler
from transformers import CLIPTextConfig, CLIPTextModel

TEXT_WIDTH = 64
BLOCKS = (48, 80)


def new_denoiser(seed: int) -> UNet2DConditionModel:
    """Return a denoiser of 1.8 million parameters: two resolutions, attention at both."""
    torch.manual_seed(seed)
    return UNet2DConditionModel(
        sample_size=GRID,
        in_channels=CHANNELS,
        out_channels=CHANNELS,
        block_out_channels=BLOCKS,
        layers_per_block=1,
        cross_attention_dim=TEXT_WIDTH,
        norm_num_groups=8,
        attention_head_dim=4,  # the number of heads, despite its name
        down_block_types=("CrossAttnDownBlock2D", "CrossAttnDownBlock2D"),
        up_block_types=("CrossAttnUpBlock2D", "CrossAttnUpBlock2D"),
    )


def new_text_encoder(seed: int) -> CLIPTextModel:
    """Return a text encoder of two layers."""
    torch.manual_seed(seed)
    tokenizer = tokens.build()
    vocabulary = tokenizer.get_vocab()
    config = CLIPTextConfig(
        vocab_size=len(tokenizer),
        hidden_size=TEXT_WIDTH,
        intermediate_size=2 * TEXT_WIDTH,
        projection_dim=TEXT_WIDTH,
        num_hidden_layers=2,
        num_attention_heads=4,
        max_position_embeddings=tokens.LENGTH,
        bos_token_id=vocabulary[tokens.START],
        eos_token_id=vocabulary[tokens.END],
        pad_token_id=vocabulary[tokens.END],
        initializer_range=0.1,
    )
    return CLIPTextModel(config)


def new_scheduler() -> DDIMScheduler:
    """Return the scheduler: velocity prediction, no signal left at the last time step."""
    return DDIMScheduler(
        beta_schedule="squaredcos_cap_v2",
        prediction_type="v_prediction",
        rescale_betas_zero_snr=True,
        timestep_spacing="trailing",
        clip_sample=False,
    )

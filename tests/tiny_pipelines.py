"""Tiny random pipelines of real diffusers classes: they load, draw, and cost no download.

Each function writes a complete pipeline into a folder. The seed changes the denoiser; text encoders,
tokenizers and VAE are the same for all seeds. UNets have as many blocks as the real ones, so block weights
and LDM names apply.

    stable_diffusion(folder, seed=1)
    pipeline = DiffusionPipeline.from_pretrained(folder)
    pipeline("a cat", num_inference_steps=2, **DRAW["stable_diffusion"])
"""

import string
from collections.abc import Callable
from pathlib import Path
from typing import Any

import diffusers
import torch
from transformers import (
    CLIPTextConfig,
    CLIPTextModel,
    CLIPTextModelWithProjection,
    Gemma2Config,
    Gemma2Model,
    GemmaTokenizer,
    T5Config,
    T5EncoderModel,
    T5Tokenizer,
)

from tests.slow import slow
from tests.tiny_judges import BOS, EOS, clip_tokenizer, clip_vocabulary

WIDTH = 16
WIDTH_2 = 24
"""Widths of the text encoders. In a single file, only the width tells diffusers which is which."""
TRANSFORMER = {"num_layers": 2, "num_attention_heads": 2, "attention_head_dim": 8}
SIDE = {"height": 32, "width": 32}
DRAW: dict[str, dict[str, Any]] = {
    "stable_diffusion": SIDE,
    "stable_diffusion_xl": SIDE,
    "stable_diffusion_3": SIDE | {"max_sequence_length": 32},
    "flux": SIDE | {"max_sequence_length": 32},
    "sana": SIDE | {"max_sequence_length": 32, "use_resolution_binning": False},
    "pixart": SIDE | {"max_sequence_length": 32, "use_resolution_binning": False, "clean_caption": False},
}
"""Arguments of a small and fast picture, by the name of the function that writes the pipeline."""


def stable_diffusion(folder: Path, seed: int = 0) -> Path:
    """Write a pipeline of Stable Diffusion 1: pictures of 32 x 32 pixels, 12 + 1 + 12 blocks."""
    unet = _seeded(
        seed,
        _unet,
        block_out_channels=(8, 8, 16, 16),
        down_block_types=("CrossAttnDownBlock2D",) * 3 + ("DownBlock2D",),
        up_block_types=("UpBlock2D",) + ("CrossAttnUpBlock2D",) * 3,
        cross_attention_dim=WIDTH,
    )
    diffusers.StableDiffusionPipeline(
        unet=unet,
        vae=_vae(),
        text_encoder=_clip(),
        tokenizer=clip_tokenizer(),
        scheduler=_scheduler(),
        safety_checker=None,
        feature_extractor=None,
        requires_safety_checker=False,
    ).save_pretrained(folder)
    return folder


def stable_diffusion_xl(folder: Path, seed: int = 0) -> Path:
    """Write a pipeline of Stable Diffusion XL: two text encoders, 9 + 1 + 9 blocks."""
    unet = _seeded(
        seed,
        _unet,
        block_out_channels=(8, 8, 16),
        down_block_types=("DownBlock2D",) + ("CrossAttnDownBlock2D",) * 2,
        up_block_types=("CrossAttnUpBlock2D",) * 2 + ("UpBlock2D",),
        transformer_layers_per_block=(1, 1, 2),
        use_linear_projection=True,
        addition_embed_type="text_time",
        addition_time_embed_dim=8,
        projection_class_embeddings_input_dim=6 * 8 + WIDTH_2,
        cross_attention_dim=WIDTH + WIDTH_2,
    )
    diffusers.StableDiffusionXLPipeline(
        unet=unet,
        vae=_vae(),
        text_encoder=_clip(),
        text_encoder_2=_clip(WIDTH_2, projection=True, layers=10),
        tokenizer=clip_tokenizer(),
        tokenizer_2=clip_tokenizer(),
        scheduler=_scheduler(),
    ).save_pretrained(folder)
    return folder


def stable_diffusion_3(folder: Path, seed: int = 0) -> Path:
    """Write a pipeline of Stable Diffusion 3: three text encoders and a transformer of two blocks."""
    transformer = _seeded(
        seed,
        diffusers.SD3Transformer2DModel,
        sample_size=16,
        patch_size=2,
        in_channels=4,
        out_channels=4,
        **TRANSFORMER,
        caption_projection_dim=WIDTH,
        joint_attention_dim=WIDTH + WIDTH_2,
        pooled_projection_dim=WIDTH + WIDTH_2,
        pos_embed_max_size=16,
    )
    diffusers.StableDiffusion3Pipeline(
        transformer=transformer,
        vae=_vae(use_quant_conv=False, use_post_quant_conv=False, shift_factor=0.06),
        text_encoder=_clip(projection=True),
        text_encoder_2=_clip(WIDTH_2, projection=True),
        text_encoder_3=_t5(WIDTH + WIDTH_2),
        tokenizer=clip_tokenizer(),
        tokenizer_2=clip_tokenizer(),
        tokenizer_3=_t5_tokenizer(),
        scheduler=diffusers.FlowMatchEulerDiscreteScheduler(shift=3.0),
    ).save_pretrained(folder)
    return folder


def flux(folder: Path, seed: int = 0) -> Path:
    """Write a pipeline of Flux: two double and two single blocks; guidance is embedded."""
    transformer = _seeded(
        seed,
        diffusers.FluxTransformer2DModel,
        patch_size=1,
        in_channels=16,
        num_single_layers=2,
        **TRANSFORMER,
        joint_attention_dim=WIDTH,
        pooled_projection_dim=WIDTH,
        axes_dims_rope=(2, 2, 4),
        guidance_embeds=True,
    )
    diffusers.FluxPipeline(
        transformer=transformer,
        vae=_vae(use_quant_conv=False, use_post_quant_conv=False, shift_factor=0.06),
        text_encoder=_clip(),
        text_encoder_2=_t5(WIDTH),
        tokenizer=clip_tokenizer(),
        tokenizer_2=_t5_tokenizer(),
        scheduler=diffusers.FlowMatchEulerDiscreteScheduler(),
    ).save_pretrained(folder)
    return folder


def sana(folder: Path, seed: int = 0) -> Path:
    """Write a pipeline of Sana: a Gemma 2 as text encoder, linear attention, a deep autoencoder."""
    transformer = _seeded(
        seed,
        diffusers.SanaTransformer2DModel,
        sample_size=16,
        patch_size=1,
        in_channels=4,
        out_channels=4,
        **TRANSFORMER,
        num_cross_attention_heads=2,
        cross_attention_head_dim=8,
        cross_attention_dim=WIDTH,
        caption_channels=WIDTH,
    )
    diffusers.SanaPipeline(
        transformer=transformer,
        vae=_deep_autoencoder(),
        text_encoder=_gemma(),
        tokenizer=_gemma_tokenizer(),
        scheduler=diffusers.FlowMatchEulerDiscreteScheduler(shift=7.0),
    ).save_pretrained(folder)
    return folder


def pixart(folder: Path, seed: int = 0) -> Path:
    """Write a pipeline of PixArt Sigma: a T5 as text encoder and a transformer of two blocks."""
    transformer = _seeded(
        seed,
        diffusers.PixArtTransformer2DModel,
        sample_size=16,
        patch_size=2,
        in_channels=4,
        out_channels=8,
        **TRANSFORMER,
        cross_attention_dim=WIDTH,
        caption_channels=WIDTH,
        use_additional_conditions=False,
    )
    diffusers.PixArtSigmaPipeline(
        transformer=transformer,
        vae=_vae(),
        text_encoder=_t5(WIDTH),
        tokenizer=_t5_tokenizer(),
        scheduler=_scheduler(),
    ).save_pretrained(folder)
    return folder


WRITERS: dict[str, Callable[..., Path]] = {
    each.__name__: each
    for each in (stable_diffusion, stable_diffusion_xl, stable_diffusion_3, flux, sana, pixart)
}
OFTEN = ("stable_diffusion_xl", "flux")
EACH_PIPELINE = [*OFTEN, *slow(*sorted(WRITERS.keys() - OFTEN))]
"""Common pipelines, and the others for slow tests."""


def _seeded(seed: int, build: Callable[..., Any], *args: Any, **config: Any) -> Any:
    """Build a module with random weights from the seed, and leave torch's own random state as it was.

    Weights that start as zeros or ones become random, so that a lost or swapped tensor shows in the picture.
    """
    with torch.random.fork_rng(), torch.no_grad():
        torch.manual_seed(seed)
        module = build(*args, **config).eval()
        for each in module.parameters():
            if each.numel() > 1 and each.min() == each.max():
                each.add_(0.1 * torch.randn_like(each))
    return module


def _scheduler() -> Any:
    """Noise of Stable Diffusion. (The Euler schedulers of diffusers warn with NumPy 2.)"""
    return diffusers.DDIMScheduler(
        beta_schedule="scaled_linear",
        beta_start=0.00085,
        beta_end=0.012,
        clip_sample=False,
        steps_offset=1,
    )


def _unet(**config: Any) -> Any:
    return diffusers.UNet2DConditionModel(
        sample_size=16, layers_per_block=2, norm_num_groups=4, attention_head_dim=2, **config
    )


def _vae(**config: Any) -> Any:
    return _seeded(
        1000,
        diffusers.AutoencoderKL,
        block_out_channels=(8, 8),
        down_block_types=("DownEncoderBlock2D",) * 2,
        up_block_types=("UpDecoderBlock2D",) * 2,
        latent_channels=4,
        norm_num_groups=4,
        layers_per_block=1,
        sample_size=32,
        **config,
    )


def _deep_autoencoder() -> Any:
    return _seeded(
        1000,
        diffusers.AutoencoderDC,
        in_channels=3,
        latent_channels=4,
        attention_head_dim=4,
        encoder_block_types=("ResBlock", "EfficientViTBlock"),
        decoder_block_types=("ResBlock", "EfficientViTBlock"),
        encoder_block_out_channels=(8, 8),
        decoder_block_out_channels=(8, 8),
        encoder_qkv_multiscales=((), (5,)),
        decoder_qkv_multiscales=((), (5,)),
        encoder_layers_per_block=(1, 1),
        decoder_layers_per_block=(1, 1),
        downsample_block_type="conv",
        upsample_block_type="interpolate",
        decoder_norm_types="rms_norm",
        decoder_act_fns="silu",
        scaling_factor=0.41407,
    )


def _clip(width: int = WIDTH, *, projection: bool = False, layers: int = 2) -> Any:
    vocabulary = clip_vocabulary()
    config = CLIPTextConfig(
        vocab_size=len(vocabulary),
        hidden_size=width,
        projection_dim=width,
        intermediate_size=2 * WIDTH,
        num_attention_heads=2,
        num_hidden_layers=layers,
        bos_token_id=vocabulary[BOS],
        eos_token_id=vocabulary[EOS],
        pad_token_id=vocabulary[EOS],
    )
    model = CLIPTextModelWithProjection if projection else CLIPTextModel
    return _seeded(1001 + projection, model, config)


def _t5(width: int) -> Any:
    config = T5Config(
        vocab_size=len(_t5_vocabulary()),
        d_model=width,
        d_kv=8,
        d_ff=2 * width,
        num_layers=2,
        num_heads=2,
        feed_forward_proj="gated-gelu",
        is_encoder_decoder=False,
        use_cache=False,
    )
    return _seeded(1003, T5EncoderModel, config)


def _gemma() -> Any:
    config = Gemma2Config(
        vocab_size=len(_gemma_vocabulary()),
        hidden_size=WIDTH,
        intermediate_size=2 * WIDTH,
        head_dim=8,
        num_attention_heads=2,
        num_key_value_heads=2,
        num_hidden_layers=2,
        attn_implementation="eager",
    )
    return _seeded(1004, Gemma2Model, config)


def _t5_vocabulary() -> list[tuple[str, float]]:
    letters = ["▁", *string.ascii_letters, *string.digits, *string.punctuation]
    return [("<pad>", 0.0), ("</s>", 0.0), ("<unk>", 0.0), *((each, -4.0) for each in letters)]


def _t5_tokenizer() -> Any:
    return T5Tokenizer(vocab=_t5_vocabulary(), extra_ids=0, model_max_length=512)


def _gemma_vocabulary() -> dict[str, int]:
    letters = ["▁", *string.ascii_letters, *string.digits, *string.punctuation]
    tokens = ["<pad>", "<eos>", "<bos>", "<unk>", "<mask>", *(f"<0x{i:02X}>" for i in range(256))]
    return {token: number for number, token in enumerate(tokens + letters)}


def _gemma_tokenizer() -> Any:
    return GemmaTokenizer(vocab=_gemma_vocabulary(), merges=[])

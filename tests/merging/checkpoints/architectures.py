"""Tiny models of many architectures, built with configs of transformers and diffusers.

``build(name, folder)`` writes one as ``save_pretrained`` does: the names of its tensors and the keys of its
config are the real ones. Nothing is downloaded.
"""

import contextlib
import importlib.util
import io
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

import torch
from transformers.utils import logging

from tests.decoders import maker

Built = Any  # a PreTrainedModel, or a ModelMixin of diffusers

DECODER: Mapping[str, Any] = {
    "hidden_size": 16,
    "intermediate_size": 32,
    "num_hidden_layers": 3,
    "num_attention_heads": 4,
    "num_key_value_heads": 2,
    "vocab_size": 64,
    "max_position_embeddings": 64,
}
MULTI_HEAD: Mapping[str, Any] = {key: value for key, value in DECODER.items() if key != "num_key_value_heads"}
ENCODER: Mapping[str, Any] = {
    "hidden_size": 16,
    "intermediate_size": 32,
    "num_hidden_layers": 2,
    "num_attention_heads": 4,
}
VISION: Mapping[str, Any] = {**ENCODER, "image_size": 8, "patch_size": 4}
SEQ2SEQ: Mapping[str, Any] = {
    "vocab_size": 64,
    "d_model": 16,
    "encoder_layers": 3,
    "decoder_layers": 2,
    "encoder_ffn_dim": 32,
    "decoder_ffn_dim": 32,
    "encoder_attention_heads": 4,
    "decoder_attention_heads": 4,
}
T5: Mapping[str, Any] = {
    "vocab_size": 64,
    "d_model": 16,
    "d_kv": 4,
    "d_ff": 32,
    "num_layers": 3,
    "num_heads": 4,
}
MROPE = {"rope_type": "default", "mrope_section": [1, 1, 0], "rope_theta": 1e4}
MOE = {"num_experts": 4, "num_experts_per_tok": 2, "moe_intermediate_size": 16}
LINEAR_ATTENTION = {
    "linear_num_value_heads": 4,
    "linear_num_key_heads": 2,
    "linear_key_head_dim": 4,
    "linear_value_head_dim": 4,
}


def _vlm(
    family: str, text: Mapping[str, Any], vision: Mapping[str, Any], **config: Any
) -> Callable[[], Built]:
    return maker(family, "ForConditionalGeneration", text_config=text, vision_config=vision, **config)


def _diffusers(name: str, **config: Any) -> Callable[[], Built]:
    def build() -> Built:
        import diffusers

        return getattr(diffusers, name)(**config)

    return build


_JAMBA = {
    "num_experts": 2,
    "attn_layer_period": 2,
    "attn_layer_offset": 1,
    "expert_layer_period": 2,
    "expert_layer_offset": 1,
    "mamba_d_state": 4,
    "use_mamba_kernels": False,
}
_DEEPSEEK = {
    "num_key_value_heads": 4,
    "q_lora_rank": 8,
    "kv_lora_rank": 8,
    "qk_rope_head_dim": 4,
    "qk_nope_head_dim": 4,
    "v_head_dim": 4,
    "n_routed_experts": 4,
    "num_experts_per_tok": 2,
    "moe_intermediate_size": 16,
    "n_group": 1,
    "topk_group": 1,
    "first_k_dense_replace": 1,
}
_QWEN_EYE = {"depth": 2, "hidden_size": 16, "num_heads": 4, "patch_size": 4}
_SIGLIP = {**VISION, "model_type": "siglip_vision_model"}

ARCHITECTURES: Mapping[str, Callable[[], Built]] = {
    "llama": maker("Llama", **DECODER),
    "qwen2": maker("Qwen2", **DECODER),
    "qwen3": maker("Qwen3", **DECODER, head_dim=4),
    "gemma2": maker("Gemma2", **DECODER, head_dim=4),
    "gemma3_text": maker("Gemma3", config="Gemma3TextConfig", **DECODER, head_dim=4),
    "gpt2": maker("GPT2", "LMHeadModel", vocab_size=64, n_embd=16, n_layer=3, n_head=4, n_positions=64),
    "gpt_neox": maker("GPTNeoX", **MULTI_HEAD),
    "opt": maker("OPT", **DECODER, ffn_dim=32, word_embed_proj_dim=16),
    "phi3": maker("Phi3", **DECODER, pad_token_id=0),
    "falcon": maker("Falcon", vocab_size=64, hidden_size=16, num_hidden_layers=3, num_attention_heads=4),
    "bloom": maker("Bloom", vocab_size=64, hidden_size=16, n_layer=3, n_head=4),
    "mpt": maker("Mpt", vocab_size=64, d_model=16, n_layers=3, n_heads=4),
    "mamba": maker("Mamba", vocab_size=64, hidden_size=16, num_hidden_layers=3, state_size=4),
    "jamba": maker("Jamba", **DECODER, **_JAMBA),
    "qwen3_next": maker(
        "Qwen3Next",
        **DECODER,
        **MOE,
        **LINEAR_ATTENTION,
        head_dim=4,
        shared_expert_intermediate_size=16,
        layer_types=["linear_attention", "full_attention", "linear_attention"],
    ),
    "mixtral": maker("Mixtral", **DECODER, num_local_experts=4),
    "qwen2_moe": maker("Qwen2Moe", **DECODER, **MOE, shared_expert_intermediate_size=16),
    "qwen3_moe": maker("Qwen3Moe", **DECODER, **MOE, head_dim=4),
    "gpt_oss": maker("GptOss", **DECODER, head_dim=4, num_local_experts=4),  # fused experts
    "deepseek_v3": maker("DeepseekV3", **{**DECODER, **_DEEPSEEK}),
    "bert": maker("Bert", "ForMaskedLM", **ENCODER, vocab_size=64),
    "vit": maker("ViT", "ForImageClassification", **VISION),
    "clip": maker(
        "CLIP",
        "Model",
        text_config={**ENCODER, "vocab_size": 64, "num_hidden_layers": 3},
        vision_config=VISION,
        projection_dim=8,
    ),
    "siglip": maker(
        "Siglip",
        "Model",
        text_config={**ENCODER, "vocab_size": 64, "num_hidden_layers": 3},
        vision_config=VISION,
    ),
    "llava": _vlm(
        "Llava",
        {**DECODER, "model_type": "llama"},
        {**VISION, "model_type": "clip_vision_model"},
        image_token_index=63,
    ),
    "qwen2_vl": _vlm(
        "Qwen2VL", {**DECODER, "rope_parameters": MROPE}, {**_QWEN_EYE, "embed_dim": 16, "mlp_ratio": 2}
    ),
    "qwen3_vl": _vlm(
        "Qwen3VL",
        {**DECODER, "head_dim": 4, "rope_parameters": MROPE},
        {**_QWEN_EYE, "out_hidden_size": 16, "intermediate_size": 32, "deepstack_visual_indexes": [0, 1]},
    ),
    "gemma3": _vlm("Gemma3", {**DECODER, "head_dim": 4}, _SIGLIP, mm_tokens_per_image=4),
    "paligemma": _vlm(
        "PaliGemma", {**DECODER, "head_dim": 4, "model_type": "gemma"}, _SIGLIP, projection_dim=16
    ),
    "internvl": _vlm("InternVL", {**DECODER, "model_type": "qwen2"}, VISION),
    "idefics3": _vlm(
        "Idefics3", {**DECODER, "model_type": "llama", "pad_token_id": 0}, VISION, pad_token_id=0
    ),
    "t5": maker("T5", "ForConditionalGeneration", **T5),
    "bart": maker("Bart", "ForConditionalGeneration", **SEQ2SEQ),
    "whisper": maker(
        "Whisper",
        "ForConditionalGeneration",
        **SEQ2SEQ,
        pad_token_id=0,
        bos_token_id=1,
        eos_token_id=2,
        decoder_start_token_id=1,
    ),
    "unet": _diffusers(
        "UNet2DConditionModel",
        sample_size=8,
        layers_per_block=1,
        block_out_channels=(8, 16),
        down_block_types=("CrossAttnDownBlock2D", "DownBlock2D"),
        up_block_types=("UpBlock2D", "CrossAttnUpBlock2D"),
        cross_attention_dim=16,
        attention_head_dim=4,
        norm_num_groups=4,
    ),
    "vae": _diffusers(
        "AutoencoderKL",
        block_out_channels=(8, 16),
        down_block_types=("DownEncoderBlock2D",) * 2,
        up_block_types=("UpDecoderBlock2D",) * 2,
        norm_num_groups=4,
    ),
    "sd3": _diffusers(
        "SD3Transformer2DModel",
        sample_size=8,
        in_channels=4,
        num_layers=3,
        attention_head_dim=4,
        num_attention_heads=4,
        joint_attention_dim=16,
        caption_projection_dim=16,
        pooled_projection_dim=16,
        out_channels=4,
        pos_embed_max_size=8,
    ),
    "flux": _diffusers(
        "FluxTransformer2DModel",
        in_channels=4,
        num_layers=2,
        num_single_layers=3,
        attention_head_dim=8,
        num_attention_heads=2,
        joint_attention_dim=16,
        pooled_projection_dim=16,
        axes_dims_rope=(2, 2, 4),
    ),
}
DIFFUSERS = ("unet", "vae", "sd3", "flux")
HAS_DIFFUSERS = importlib.util.find_spec("diffusers") is not None


def build(name: str, folder: Path, *, seed: int = 0) -> Path:
    """Write a model with random parameters, including norms and biases, so that all tensors differ."""
    return write(ARCHITECTURES[name], folder, seed=seed)


def write(make: Callable[[], Built], folder: Path, *, seed: int = 0, **saving: Any) -> Path:
    """Write another model in the same way as ``build``."""
    logging.set_verbosity_error()
    logging.disable_progress_bar()
    with torch.random.fork_rng(), contextlib.redirect_stderr(io.StringIO()):
        torch.manual_seed(seed)
        model = make()
        with torch.no_grad():
            for parameter in model.parameters():
                parameter.add_(0.05 * torch.randn(parameter.shape))
        model.save_pretrained(folder, **saving)
    return folder

"""The models of EvoVLM-JP on disk without their weights: configs, headers with real shapes, processors."""

from __future__ import annotations

import json
import math
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

from transformers import AddedToken, TokenizersBackend

from tests.mistrals import HIDDEN, decoder_shapes, write_tokenizer, write_weights

Shapes = Iterator[tuple[str, tuple[int, ...]]]
LLAMA_3: Mapping[str, Any] = {
    "bos_token_id": 128_000,
    "eos_token_id": 128_009,
    "hidden_act": "silu",
    "hidden_size": HIDDEN,
    "intermediate_size": 14_336,
    "max_position_embeddings": 8192,
    "num_attention_heads": 32,
    "num_hidden_layers": 32,
    "num_key_value_heads": 8,
    "rms_norm_eps": 1e-05,
    "rope_theta": 500_000.0,
    "tie_word_embeddings": False,
    "vocab_size": 128_256,
}
SIGLIP: Mapping[str, Any] = {
    "hidden_act": "gelu_pytorch_tanh",
    "hidden_size": 1152,
    "image_size": 384,
    "intermediate_size": 4304,
    "layer_norm_eps": 1e-06,
    "model_type": "siglip_vision_model",
    "num_attention_heads": 16,
    "num_hidden_layers": 27,
    "patch_size": 14,
}
CLIP: Mapping[str, Any] = {
    "hidden_size": 1024,
    "image_size": 336,
    "intermediate_size": 4096,
    "model_type": "clip_vision_model",
    "num_attention_heads": 16,
    "num_hidden_layers": 24,
    "patch_size": 14,
    "projection_dim": 768,
    "vocab_size": 32_000,
}
TILES = [[336, 672], [672, 336], [672, 672], [1008, 336], [336, 1008]]


def llava_next(folder: Path) -> Path:
    """Write llava-v1.6-mistral-7b-hf: CLIP with tiles, and a Mistral of 32,064 words, in float16."""
    config = {
        "architectures": ["LlavaNextForConditionalGeneration"],
        "image_grid_pinpoints": TILES,
        "image_token_index": 32_000,
        "model_type": "llava_next",
        "text_config": {
            "architectures": ["MistralForCausalLM"],
            "intermediate_size": 14_336,
            "max_position_embeddings": 32_768,
            "model_type": "mistral",
            "num_key_value_heads": 8,
            "rms_norm_eps": 1e-05,
            "rope_theta": 1_000_000.0,
            "sliding_window": None,
            "vocab_size": 32_064,
        },
        "torch_dtype": "float16",
        "vision_config": CLIP,
    }
    shapes = dict([("image_newline", (HIDDEN,)), *_llava_shapes(CLIP, 32_064)])
    preprocessor = {
        "image_processor_type": "LlavaNextImageProcessor",
        "processor_class": "LlavaNextProcessor",
        "crop_size": {"height": 336, "width": 336},
        "size": {"shortest_edge": 336},
        "image_grid_pinpoints": TILES,
    }
    processor = {
        "processor_class": "LlavaNextProcessor",
        "num_additional_image_tokens": 1,
        "patch_size": 14,
        "vision_feature_select_strategy": "default",
    }
    _write(folder, config, shapes, preprocessor, processor)
    return folder


def mantis(folder: Path) -> Path:
    """Write Mantis-8B-siglip-llama3: LLaVA with SigLIP and Llama 3, and a processor of its own package."""
    config = {
        "architectures": ["LlavaForConditionalGeneration"],
        "image_token_index": 128_256,
        "model_type": "llava",
        "pad_token_id": 128_257,
        "text_config": {**LLAMA_3, "model_type": "llama", "eos_token_id": 128_001, "vocab_size": 128_258},
        "torch_dtype": "float16",
        "vision_config": SIGLIP,
        "vision_feature_layer": -2,
        "vision_feature_select_strategy": "default",
    }
    preprocessor = {
        "image_processor_type": "SiglipImageProcessor",
        "processor_class": "MLlavaProcessor",
        "size": {"height": 384, "width": 384},
    }
    own = {"processor_class": "MLlavaProcessor"}
    _write(folder, config, dict(_llava_shapes(SIGLIP, 128_258)), preprocessor, own)
    ends = {"bos_token_id": 128_000, "eos_token_id": 128_001, "pad_token_id": 128_257}
    (folder / "generation_config.json").write_text(json.dumps(ends))
    return folder


def llama_3(folder: Path) -> Path:
    """Write a model with the shapes of Meta-Llama-3-8B-Instruct."""
    folder.mkdir(parents=True)
    config = {
        **LLAMA_3,
        "architectures": ["LlamaForCausalLM"],
        "model_type": "llama",
        "torch_dtype": "bfloat16",
    }
    (folder / "config.json").write_text(json.dumps(config))
    write_tokenizer(folder)
    write_weights(folder, dict(decoder_shapes(128_256)), "BF16", 4)
    return folder


def bunny(folder: Path) -> Path:
    """Write Bunny-v1_1-Llama-3-8B-V: a Llama 3 that has a vision tower and a projector inside."""
    folder.mkdir(parents=True)
    code = {
        "AutoConfig": "configuration_bunny_llama.BunnyLlamaConfig",
        "AutoModelForCausalLM": "modeling_bunny_llama.BunnyLlamaForCausalLM",
    }
    config = {
        **LLAMA_3,
        "architectures": ["BunnyLlamaForCausalLM"],
        "auto_map": code,
        "eos_token_id": 128_001,
        "mm_hidden_size": 3456,
        "mm_projector_type": "mlp2x_gelu",
        "mm_vision_tower": "google/siglip-so400m-patch14-384",
        "model_type": "bunny-llama",
        "torch_dtype": "float16",
        "use_s2": True,
    }
    (folder / "config.json").write_text(json.dumps(config))
    write_tokenizer(folder)
    shapes = {
        **dict(decoder_shapes(128_256)),
        **dict(_siglip("model.vision_tower.vision_tower.vision_model")),
        **dict(_projector("model.mm_projector", ("0", "2"), 3456)),
    }
    write_weights(folder, shapes, "F16", 4)
    return folder


def n_bytes_of_llava() -> int:
    """Return the bytes of all weights of ``llava_next``."""
    return 2 * sum(math.prod(shape) for _, shape in _llava_shapes(CLIP, 32_064)) + 2 * HIDDEN


def _write(
    folder: Path,
    config: Mapping[str, Any],
    shapes: Mapping[str, tuple[int, ...]],
    preprocessor: Mapping[str, Any],
    processor: Mapping[str, Any],
) -> None:
    folder.mkdir(parents=True)
    write_tokenizer(folder)
    tokenizer = TokenizersBackend(
        tokenizer_file=str(folder / "tokenizer.json"),
        bos_token="<s>",
        eos_token="</s>",
        unk_token="<unk>",
        additional_special_tokens=[AddedToken("<image>", special=True)],
    )
    tokenizer.save_pretrained(folder)
    fitting = {**config, "image_token_index": tokenizer.convert_tokens_to_ids("<image>")}
    files = {"config": fitting, "preprocessor_config": preprocessor, "processor_config": processor}
    for name, content in files.items():
        (folder / f"{name}.json").write_text(json.dumps(content))
    write_weights(folder, shapes, "F16", 4)


def _llava_shapes(vision: Mapping[str, Any], vocabulary: int) -> Shapes:
    tower = "vision_tower.vision_model"
    yield from _siglip(tower) if vision is SIGLIP else _tower(tower, vision)
    yield from _projector("multi_modal_projector", ("linear_1", "linear_2"), vision["hidden_size"])
    for name, shape in decoder_shapes(vocabulary):
        yield f"language_model.{name}", shape


def _projector(prefix: str, names: tuple[str, str], width: int) -> Shapes:
    for name, size in zip(names, (width, HIDDEN), strict=True):
        yield f"{prefix}.{name}.weight", (HIDDEN, size)
        yield f"{prefix}.{name}.bias", (HIDDEN,)


def _tower(prefix: str, vision: Mapping[str, Any]) -> Shapes:
    width, inner, size = vision["hidden_size"], vision["intermediate_size"], vision["patch_size"]
    is_clip = vision["model_type"] == "clip_vision_model"
    n_patches = (vision["image_size"] // size) ** 2
    yield f"{prefix}.embeddings.patch_embedding.weight", (width, 3, size, size)
    yield f"{prefix}.embeddings.position_embedding.weight", (n_patches + is_clip, width)
    if is_clip:
        yield f"{prefix}.embeddings.class_embedding", (width,)
        yield from _norm(f"{prefix}.pre_layrnorm", width)
    else:
        yield f"{prefix}.embeddings.patch_embedding.bias", (width,)
    for number in range(vision["num_hidden_layers"]):
        layer = f"{prefix}.encoder.layers.{number}"
        for name in ("q_proj", "k_proj", "v_proj", "out_proj"):
            yield from _linear(f"{layer}.self_attn.{name}", width, width)
        yield from _block_rest(layer, width, inner)
    yield from _norm(f"{prefix}.post_layernorm", width)


def _block_rest(layer: str, width: int, inner: int) -> Shapes:
    yield from _norm(f"{layer}.layer_norm1", width)
    yield from _norm(f"{layer}.layer_norm2", width)
    yield from _linear(f"{layer}.mlp.fc1", inner, width)
    yield from _linear(f"{layer}.mlp.fc2", width, inner)


def _siglip(tower: str) -> Shapes:
    yield from _tower(tower, SIGLIP)
    width, inner, prefix = SIGLIP["hidden_size"], SIGLIP["intermediate_size"], f"{tower}.head"
    yield f"{prefix}.probe", (1, 1, width)
    yield f"{prefix}.attention.in_proj_weight", (3 * width, width)
    yield f"{prefix}.attention.in_proj_bias", (3 * width,)
    yield from _linear(f"{prefix}.attention.out_proj", width, width)
    yield from _norm(f"{prefix}.layernorm", width)
    yield from _linear(f"{prefix}.mlp.fc1", inner, width)
    yield from _linear(f"{prefix}.mlp.fc2", width, inner)


def _linear(name: str, n_out: int, n_in: int) -> Shapes:
    yield f"{name}.weight", (n_out, n_in)
    yield f"{name}.bias", (n_out,)


def _norm(name: str, width: int) -> Shapes:
    yield f"{name}.weight", (width,)
    yield f"{name}.bias", (width,)

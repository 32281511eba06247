"""The models of EvoVLM-JP on disk without their weights: configs, headers with real shapes, processors."""

from __future__ import annotations

import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import transformers
from torch import nn
from transformers import AddedToken, TokenizersBackend

from tests.mistrals import DECODER, Shapes, decoder_shapes, shapes_of, write_tokenizer, write_weights

LLAMA_3: Mapping[str, Any] = {
    **DECODER,
    "bos_token_id": 128_000,
    "eos_token_id": 128_009,
    "hidden_act": "silu",
    "max_position_embeddings": 8192,
    "rms_norm_eps": 1e-05,
    "rope_theta": 500_000.0,
    "tie_word_embeddings": False,
    "vocab_size": 128_256,
}
LLAMA_OF_MANTIS = {**LLAMA_3, "model_type": "llama", "eos_token_id": 128_001, "vocab_size": 128_258}
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
MISTRAL: Mapping[str, Any] = {
    "architectures": ["MistralForCausalLM"],
    "intermediate_size": 14_336,
    "max_position_embeddings": 32_768,
    "model_type": "mistral",
    "num_key_value_heads": 8,
    "rms_norm_eps": 1e-05,
    "rope_theta": 1_000_000.0,
    "sliding_window": None,
    "vocab_size": 32_064,
}
RELEASED = {
    "model.vision_tower.": "vision_tower.vision_model.",
    "model.language_model.": "language_model.model.",
    "lm_head.": "language_model.lm_head.",
}
"""Prefixes of names in memory -> those of the releases."""
TILES = [[336, 672], [672, 336], [672, 672], [1008, 336], [336, 1008]]


def llava_next(folder: Path) -> Path:
    """Write llava-v1.6-mistral-7b-hf: CLIP with tiles, and a Mistral of 32,064 words, in float16."""
    config = {
        "architectures": ["LlavaNextForConditionalGeneration"],
        "image_grid_pinpoints": TILES,
        "image_token_index": 32_000,
        "model_type": "llava_next",
        "text_config": MISTRAL,
        "torch_dtype": "float16",
        "vision_config": CLIP,
    }
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
    _write(folder, config, llava_next_shapes(), preprocessor, processor)
    return folder


def mantis(folder: Path) -> Path:
    """Write Mantis-8B-siglip-llama3: LLaVA with SigLIP and Llama 3, and a processor of its own package."""
    config = {
        "architectures": ["LlavaForConditionalGeneration"],
        "image_token_index": 128_256,
        "model_type": "llava",
        "pad_token_id": 128_257,
        "text_config": LLAMA_OF_MANTIS,
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
    _write(folder, config, mantis_shapes(), preprocessor, own)
    ends = {"bos_token_id": 128_000, "eos_token_id": 128_001, "pad_token_id": 128_257}
    (folder / "generation_config.json").write_text(json.dumps(ends))
    return folder


def mantis_shapes() -> Shapes:
    return _llava_shapes("Llava", text_config=dict(LLAMA_OF_MANTIS), vision_config=dict(SIGLIP))


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
    write_weights(folder, decoder_shapes(128_256), "BF16", 4)
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
    tower = {name: shape for name, shape in mantis_shapes().items() if name.startswith("vision_tower.")}
    projector = nn.Sequential(
        nn.Linear(3456, 4096, device="meta"), nn.GELU(), nn.Linear(4096, 4096, device="meta")
    )
    shapes = {
        **decoder_shapes(128_256),
        **{f"model.vision_tower.{name}": shape for name, shape in tower.items()},
        **{f"model.mm_projector.{name}": shape for name, shape in shapes_of(lambda: projector).items()},
    }
    write_weights(folder, shapes, "F16", 4)
    return folder


def llava_next_shapes() -> Shapes:
    return _llava_shapes("LlavaNext", text_config=dict(MISTRAL), vision_config=dict(CLIP))


def _write(
    folder: Path,
    config: Mapping[str, Any],
    shapes: Shapes,
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


def _llava_shapes(family: str, **config: Any) -> dict[str, tuple[int, ...]]:
    """Return the shapes of the tensors of a LLaVA, by the names of its release."""
    config_class = getattr(transformers, f"{family}Config")
    model_class = getattr(transformers, f"{family}ForConditionalGeneration")
    shapes = shapes_of(lambda: model_class(config_class(**config)))
    return {_released(name): shape for name, shape in shapes.items()}


def _released(name: str) -> str:
    for own, released in RELEASED.items():
        if name.startswith(own):
            return released + name.removeprefix(own)
    return name.removeprefix("model.")

"""The models of the examples on disk without their weights: configs, and headers with the real shapes.

Holes are in place of weights: they take no room on a file system that knows holes, and are read as zeros.
"""

import json
import math
from collections.abc import Callable, Mapping
from functools import cache
from pathlib import Path
from typing import Any

import pytest
import torch
import transformers
from safetensors.torch import save_file
from tokenizers import Regex, Tokenizer
from tokenizers.models import WordLevel
from tokenizers.pre_tokenizers import Split
from torch import nn
from transformers import AddedToken, MistralConfig, MistralForCausalLM, TokenizersBackend

Shapes = Mapping[str, tuple[int, ...]]
DECODER: Mapping[str, int] = {
    "hidden_size": 4096,
    "intermediate_size": 14_336,
    "num_attention_heads": 32,
    "num_hidden_layers": 32,
    "num_key_value_heads": 8,
}
WIDTHS = {"BF16": 2, "F16": 2, "F32": 4}


def mistral(folder: Path, *, vocabulary: int = 32_000, dtype: str = "BF16", shards: int = 2) -> Path:
    """Write a model with the shapes of Mistral-7B-v0.1, and a tokenizer that has a token for each letter."""
    folder.mkdir(parents=True)
    config = {
        **DECODER,
        "architectures": ["MistralForCausalLM"],
        "bos_token_id": 1,
        "eos_token_id": 2,
        "hidden_act": "silu",
        "initializer_range": 0.02,
        "max_position_embeddings": 32_768,
        "model_type": "mistral",
        "rms_norm_eps": 1e-05,
        "rope_theta": 10_000.0,
        "sliding_window": 4096,
        "tie_word_embeddings": False,
        "torch_dtype": {"BF16": "bfloat16", "F32": "float32"}[dtype],
        "vocab_size": vocabulary,
    }
    (folder / "config.json").write_text(json.dumps(config))
    write_tokenizer(folder)
    write_weights(folder, decoder_shapes(vocabulary), dtype, shards)
    return folder


def write_tokenizer(folder: Path) -> None:
    tokenizer = Tokenizer(WordLevel({"<unk>": 0, "<s>": 1, "</s>": 2}, unk_token="<unk>"))
    tokenizer.pre_tokenizer = Split(Regex("[\\s\\S]"), "isolated")
    tokenizer.save(str(folder / "tokenizer.json"))


def n_bytes(vocabulary: int = 32_000, width: int = 2) -> int:
    return width * sum(map(math.prod, decoder_shapes(vocabulary).values()))


def decoder_shapes(vocabulary: int) -> Shapes:
    """Return name -> shape of the tensors; Llama 3 8B has the same, with another vocabulary."""
    return shapes_of(lambda: MistralForCausalLM(MistralConfig(**DECODER, vocab_size=vocabulary)))


def shapes_of(build: Callable[[], nn.Module]) -> Shapes:
    with torch.device("meta"):
        return {name: tuple(tensor.shape) for name, tensor in build().state_dict().items()}


def write_weights(folder: Path, shapes: Shapes, dtype: str, shards: int) -> None:
    """Write files of safetensors with headers, and holes in place of weights."""
    names, where = list(shapes), dict[str, str]()
    for shard in range(shards):
        file = f"model-{shard + 1:05}-of-{shards:05}.safetensors"
        shard_names = names[shard * len(names) // shards : (shard + 1) * len(names) // shards]
        where |= dict.fromkeys(shard_names, file)
        write_file(folder / file, {name: shapes[name] for name in shard_names}, dtype)
    total = WIDTHS[dtype] * sum(map(math.prod, shapes.values()))
    index = {"metadata": {"total_size": total}, "weight_map": where}
    (folder / "model.safetensors.index.json").write_text(json.dumps(index))


def write_file(file: Path, shapes: Shapes, dtype: str) -> None:
    header, end = dict[str, object](), 0
    for name, shape in shapes.items():
        start, end = end, end + WIDTHS[dtype] * math.prod(shape)
        header[name] = {"dtype": dtype, "shape": list(shape), "data_offsets": [start, end]}
    text = json.dumps(header).encode()
    with file.open("wb") as stream:
        stream.write(len(text).to_bytes(8, "little") + text)
        stream.truncate(8 + len(text) + end)


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
    _write_llava(folder, config, llava_next_shapes(), preprocessor, processor)
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
    _write_llava(folder, config, mantis_shapes(), preprocessor, own)
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


def _write_llava(
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


SDXL: dict[str, Any] = {
    "addition_embed_type": "text_time",
    "addition_time_embed_dim": 256,
    "attention_head_dim": [5, 10, 20],
    "block_out_channels": [320, 640, 1280],
    "cross_attention_dim": 2048,
    "down_block_types": ["DownBlock2D", "CrossAttnDownBlock2D", "CrossAttnDownBlock2D"],
    "projection_class_embeddings_input_dim": 2816,
    "sample_size": 128,
    "transformer_layers_per_block": [1, 2, 10],
    "up_block_types": ["CrossAttnUpBlock2D", "CrossAttnUpBlock2D", "UpBlock2D"],
    "use_linear_projection": True,
}
TO_Q = "down_blocks.1.attentions.0.transformer_blocks.0.attn1.to_q"
"""A module that LoRAs change: 640 x 640."""


@cache
def sdxl_shapes() -> Shapes:
    diffusers = pytest.importorskip("diffusers")
    return shapes_of(lambda: diffusers.UNet2DConditionModel(**SDXL))


def sdxl_unet(folder: Path, dtype: str = "F16", variant: str = ".fp16") -> Path:
    """Write SDXL's UNet: its config, and a header with holes in place of weights."""
    folder.mkdir(parents=True, exist_ok=True)
    config = {"_class_name": "UNet2DConditionModel", **SDXL}
    (folder / "config.json").write_text(json.dumps(config))
    write_file(folder / f"diffusion_pytorch_model{variant}.safetensors", sdxl_shapes(), dtype)
    return folder


def lightning(folder: Path) -> Path:
    """Write LoRAs in kohya's format for one module, named as those of SDXL-Lightning."""
    folder.mkdir(parents=True)
    name = f"lora_unet_{TO_Q.replace('.', '_')}"
    tensors = {f"{name}.lora_down.weight": torch.zeros(2, 640), f"{name}.lora_up.weight": torch.zeros(640, 2)}
    for steps in (2, 4, 8):
        save_file(
            {**tensors, f"{name}.alpha": torch.tensor(1.0)},
            folder / f"sdxl_lightning_{steps}step_lora.safetensors",
        )
    return folder


def ukiyoe(folder: Path) -> Path:
    """Write a LoRA in diffusers' format, as that of Evo-Ukiyoe, for one module."""
    folder.mkdir(parents=True)
    tensors = {
        f"unet.{TO_Q}.lora_A.weight": torch.zeros(2, 640),
        f"unet.{TO_Q}.lora_B.weight": torch.zeros(640, 2),
    }
    save_file(tensors, folder / "pytorch_lora_weights.safetensors")
    return folder

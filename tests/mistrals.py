"""Mistral-7B on disk without its weights: config, headers with the real shapes, and holes in their place.

Nothing here takes room on a file system that knows holes; what is read of the weights is zeros.
"""

from __future__ import annotations

import json
import math
from collections.abc import Callable, Mapping
from pathlib import Path

import torch
from tokenizers import Regex, Tokenizer
from tokenizers.models import WordLevel
from tokenizers.pre_tokenizers import Split
from torch import nn
from transformers import MistralConfig, MistralForCausalLM

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
    """Write a tokenizer that splits a text into letters."""
    tokenizer = Tokenizer(WordLevel({"<unk>": 0, "<s>": 1, "</s>": 2}, unk_token="<unk>"))
    tokenizer.pre_tokenizer = Split(Regex("[\\s\\S]"), "isolated")
    tokenizer.save(str(folder / "tokenizer.json"))


def n_bytes(vocabulary: int = 32_000, width: int = 2) -> int:
    """Bytes of all weights."""
    return width * sum(map(math.prod, decoder_shapes(vocabulary).values()))


def decoder_shapes(vocabulary: int) -> Shapes:
    """Return name -> shape of the tensors; Llama 3 8B has the same, with another vocabulary."""
    return shapes_of(lambda: MistralForCausalLM(MistralConfig(**DECODER, vocab_size=vocabulary)))


def shapes_of(build: Callable[[], nn.Module]) -> Shapes:
    """Return name -> shape of the tensors of a model, which gets no memory."""
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
    """Write one file of them."""
    header, end = dict[str, object](), 0
    for name, shape in shapes.items():
        start, end = end, end + WIDTHS[dtype] * math.prod(shape)
        header[name] = {"dtype": dtype, "shape": list(shape), "data_offsets": [start, end]}
    text = json.dumps(header).encode()
    with file.open("wb") as stream:
        stream.write(len(text).to_bytes(8, "little") + text)
        stream.truncate(8 + len(text) + end)

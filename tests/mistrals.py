"""Mistral-7B on disk without its weights: config, headers with the real shapes, and holes in their place.

Nothing here takes room on a file system that knows holes; what is read of the weights is zeros.
"""

from __future__ import annotations

import json
import math
from collections.abc import Iterator, Mapping
from pathlib import Path

from tokenizers import Regex, Tokenizer
from tokenizers.models import WordLevel
from tokenizers.pre_tokenizers import Split

HIDDEN, INNER, LAYERS, HEADS, SHARED = 4096, 14336, 32, 32, 8
WIDTHS = {"BF16": 2, "F16": 2, "F32": 4}


def mistral(folder: Path, *, vocabulary: int = 32_000, dtype: str = "BF16", shards: int = 2) -> Path:
    """Write a model with the shapes of Mistral-7B-v0.1, and a tokenizer that has a token for each letter."""
    folder.mkdir(parents=True)
    config = {
        "architectures": ["MistralForCausalLM"],
        "bos_token_id": 1,
        "eos_token_id": 2,
        "hidden_act": "silu",
        "hidden_size": HIDDEN,
        "initializer_range": 0.02,
        "intermediate_size": INNER,
        "max_position_embeddings": 32_768,
        "model_type": "mistral",
        "num_attention_heads": HEADS,
        "num_hidden_layers": LAYERS,
        "num_key_value_heads": SHARED,
        "rms_norm_eps": 1e-05,
        "rope_theta": 10_000.0,
        "sliding_window": 4096,
        "tie_word_embeddings": False,
        "torch_dtype": {"BF16": "bfloat16", "F32": "float32"}[dtype],
        "vocab_size": vocabulary,
    }
    (folder / "config.json").write_text(json.dumps(config))
    write_tokenizer(folder)
    write_weights(folder, dict(decoder_shapes(vocabulary)), dtype, shards)
    return folder


def write_tokenizer(folder: Path) -> None:
    """Write a tokenizer that splits a text into letters."""
    tokenizer = Tokenizer(WordLevel({"<unk>": 0, "<s>": 1, "</s>": 2}, unk_token="<unk>"))
    tokenizer.pre_tokenizer = Split(Regex("[\\s\\S]"), "isolated")
    tokenizer.save(str(folder / "tokenizer.json"))


def n_bytes(vocabulary: int = 32_000, width: int = 2) -> int:
    """Bytes of all weights."""
    return width * sum(math.prod(shape) for _, shape in decoder_shapes(vocabulary))


def decoder_shapes(vocabulary: int) -> Iterator[tuple[str, tuple[int, ...]]]:
    """Yield name and shape of each tensor; Llama 3 8B has the same, with another vocabulary."""
    narrow = SHARED * HIDDEN // HEADS
    yield "model.embed_tokens.weight", (vocabulary, HIDDEN)
    for layer in range(LAYERS):
        name = f"model.layers.{layer}"
        yield f"{name}.self_attn.q_proj.weight", (HIDDEN, HIDDEN)
        yield f"{name}.self_attn.k_proj.weight", (narrow, HIDDEN)
        yield f"{name}.self_attn.v_proj.weight", (narrow, HIDDEN)
        yield f"{name}.self_attn.o_proj.weight", (HIDDEN, HIDDEN)
        yield f"{name}.mlp.gate_proj.weight", (INNER, HIDDEN)
        yield f"{name}.mlp.up_proj.weight", (INNER, HIDDEN)
        yield f"{name}.mlp.down_proj.weight", (HIDDEN, INNER)
        yield f"{name}.input_layernorm.weight", (HIDDEN,)
        yield f"{name}.post_attention_layernorm.weight", (HIDDEN,)
    yield "model.norm.weight", (HIDDEN,)
    yield "lm_head.weight", (vocabulary, HIDDEN)


def write_weights(folder: Path, shapes: Mapping[str, tuple[int, ...]], dtype: str, shards: int) -> None:
    """Write files of safetensors with headers, and holes in place of weights."""
    names, where = list(shapes), dict[str, str]()
    for shard in range(shards):
        file = f"model-{shard + 1:05}-of-{shards:05}.safetensors"
        shard_names = names[shard * len(names) // shards : (shard + 1) * len(names) // shards]
        where |= dict.fromkeys(shard_names, file)
        header, end = dict[str, object](), 0
        for name in shard_names:
            start, end = end, end + WIDTHS[dtype] * math.prod(shapes[name])
            header[name] = {"dtype": dtype, "shape": list(shapes[name]), "data_offsets": [start, end]}
        text = json.dumps(header).encode()
        with (folder / file).open("wb") as stream:
            stream.write(len(text).to_bytes(8, "little") + text)
            stream.truncate(8 + len(text) + end)
    total = WIDTHS[dtype] * sum(map(math.prod, shapes.values()))
    index = {"metadata": {"total_size": total}, "weight_map": where}
    (folder / "model.safetensors.index.json").write_text(json.dumps(index))

"""Models made on the fly in the shapes of Qwen2, a base of random weights and sources near it; and recipes.

Both tools must take them for real ones: safetensors in shards, a config, a small tokenizer. They are made
once in a folder and found there again.
"""

from __future__ import annotations

import contextlib
import json
import tempfile
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path

import torch
from safetensors.torch import save_file
from torch import Tensor

BASE = "base"
SOURCES = ("s0", "s1", "s2")
BASE_SPREAD = 0.02
DELTA_SPREAD = 0.002


@dataclass(frozen=True, kw_only=True)
class Shape:
    """The sizes of a Qwen2 with tied embeddings; heads have 64 numbers."""

    vocabulary: int
    hidden: int
    inner: int
    layers: int
    heads: int
    key_heads: int


SHAPES: Mapping[str, Shape] = {
    "5m": Shape(vocabulary=6000, hidden=256, inner=704, layers=5, heads=4, key_heads=2),
    "25m": Shape(vocabulary=8192, hidden=512, inner=1536, layers=7, heads=8, key_heads=2),
    "0.1b": Shape(vocabulary=50000, hidden=640, inner=2560, layers=12, heads=10, key_heads=2),
    "0.5b": Shape(vocabulary=151936, hidden=896, inner=4864, layers=24, heads=14, key_heads=2),
}
"""``0.5b`` are those of Qwen2-0.5B itself."""


def make_models(cache: Path, size: str, *, shards: int = 1) -> Path:
    """A folder with ``base`` and ``s0`` … ``s2`` in bfloat16; made when it is not there."""
    folder = cache / f"{size}-{shards}"
    if not folder.exists():
        making = Path(tempfile.mkdtemp(prefix="making-", dir=cache))
        for seed, name in enumerate((BASE, *SOURCES)):
            _write(making / name, SHAPES[size], seed, shards)
        with contextlib.suppress(FileExistsError):  # another benchmark was faster
            making.rename(folder)
    return folder


def n_parameters(size: str) -> int:
    """How many numbers one model has."""
    return sum(_count(shape) for _, shape in _tensors(SHAPES[size]))


def weight_files(folder: Path, names: tuple[str, ...]) -> list[Path]:
    """The files of weights of some models."""
    return [file for name in names for file in sorted((folder / name).glob("*.safetensors"))]


def _write(folder: Path, shape: Shape, seed: int, shards: int) -> None:
    folder.mkdir(parents=True)
    total = sum(_count(each) for _, each in _tensors(shape))
    weights: dict[str, str] = {}
    shard: dict[str, Tensor] = {}
    done = written = 0
    names = list(_tensors(shape))
    for i, (name, size) in enumerate(names):
        shard[name] = _random(size, i, seed)
        done += shard[name].numel()
        if done >= total * (written + 1) / shards or i == len(names) - 1:
            written += 1
            file = "model.safetensors" if shards == 1 else f"model-{written:05}-of-{shards:05}.safetensors"
            save_file(shard, folder / file, metadata={"format": "pt"})
            weights |= dict.fromkeys(shard, file)
            shard = {}
    if shards > 1:
        index = {"metadata": {"total_size": 2 * total}, "weight_map": weights}
        (folder / "model.safetensors.index.json").write_text(json.dumps(index))
    _write_rest(folder, shape)


def _random(size: tuple[int, ...], tensor: int, seed: int) -> Tensor:
    """The base's numbers, the same for all models, and this model's changes."""
    base = torch.randn(size, generator=torch.Generator().manual_seed(tensor)).mul_(BASE_SPREAD)
    if len(size) == 1:
        base.add_(1.0)
    if seed:
        generator = torch.Generator().manual_seed(1_000_003 * seed + tensor)
        base.add_(torch.randn(size, generator=generator), alpha=DELTA_SPREAD)
    return base.to(torch.bfloat16)


def _tensors(shape: Shape) -> Iterator[tuple[str, tuple[int, ...]]]:
    hidden, inner, key = shape.hidden, shape.inner, 64 * shape.key_heads
    yield "model.embed_tokens.weight", (shape.vocabulary, hidden)
    for layer in range(shape.layers):
        for name, rows in (("q_proj", 64 * shape.heads), ("k_proj", key), ("v_proj", key)):
            yield f"model.layers.{layer}.self_attn.{name}.weight", (rows, hidden)
            yield f"model.layers.{layer}.self_attn.{name}.bias", (rows,)
        yield f"model.layers.{layer}.self_attn.o_proj.weight", (hidden, 64 * shape.heads)
        yield f"model.layers.{layer}.mlp.gate_proj.weight", (inner, hidden)
        yield f"model.layers.{layer}.mlp.up_proj.weight", (inner, hidden)
        yield f"model.layers.{layer}.mlp.down_proj.weight", (hidden, inner)
        yield f"model.layers.{layer}.input_layernorm.weight", (hidden,)
        yield f"model.layers.{layer}.post_attention_layernorm.weight", (hidden,)
    yield "model.norm.weight", (hidden,)


def _count(size: tuple[int, ...]) -> int:
    return int(torch.Size(size).numel())


def _write_rest(folder: Path, shape: Shape) -> None:
    """Config and tokenizer."""
    from tokenizers import Tokenizer
    from tokenizers.models import WordLevel
    from transformers import PreTrainedTokenizerFast, Qwen2Config

    config = Qwen2Config(
        vocab_size=shape.vocabulary,
        hidden_size=shape.hidden,
        intermediate_size=shape.inner,
        num_hidden_layers=shape.layers,
        num_attention_heads=shape.heads,
        num_key_value_heads=shape.key_heads,
        tie_word_embeddings=True,
        bos_token_id=1,
        eos_token_id=2,
        dtype="bfloat16",
        architectures=["Qwen2ForCausalLM"],
    )
    config.save_pretrained(folder)
    words = {"<unk>": 0, "<s>": 1, "</s>": 2} | {f"word{i}": i for i in range(3, 1000)}
    tokenizer = Tokenizer(WordLevel(words, unk_token="<unk>"))
    outer = PreTrainedTokenizerFast(
        tokenizer_object=tokenizer, bos_token="<s>", eos_token="</s>", unk_token="<unk>"
    )
    outer.save_pretrained(folder)


FILES = (
    "linear",
    "slerp",
    "task_arithmetic",
    "model_stock",
    "ties",
    "dare_ties",
    "della",
    "breadcrumbs",
    "sce",
)
MEMORY = ("linear", "task_arithmetic", "ties", "dare_ties", "dare_linear", "della")
NEEDS_NO_BASE = frozenset({"linear"})
_DENSITY = 0.4
_SHARED: Mapping[str, Mapping[str, float]] = {
    "slerp": {"t": 0.4},
    "model_stock": {},
    "sce": {"select_topk": 0.4},
    "linear": {"weight": 0.5},
    "task_arithmetic": {"weight": 0.5},
}


def recipe(method: str, folder: Path, n_sources: int = 3, weight: float = 0.5) -> dict[str, object]:
    """A recipe with typical values; ``weight`` is a candidate's own."""
    n = 1 if method == "slerp" else n_sources
    shared = dict(_SHARED.get(method, {"weight": weight, "density": _DENSITY - 0.2 * (weight - 0.5)}))
    if "weight" in shared:
        shared["weight"] = weight
    found: dict[str, object] = {
        "merge_method": method,
        "models": [{"model": str(folder / name)} for name in SOURCES[:n]],
        "dtype": "bfloat16",
    }
    if method not in NEEDS_NO_BASE:
        found["base_model"] = str(folder / BASE)
    return found | ({"parameters": shared} if shared else {})


def models_read(method: str, n_sources: int = 3) -> tuple[str, ...]:
    """The models that a merge reads."""
    used = SOURCES[: 1 if method == "slerp" else n_sources]
    return used if method in NEEDS_NO_BASE else (BASE, *used)

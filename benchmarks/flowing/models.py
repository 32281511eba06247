"""Models to pass through: the zoo's, and random ones of several architectures and sizes."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

import torch
import transformers
from torch import Tensor
from transformers import AutoModelForCausalLM, PreTrainedModel

from kingyo.core.io.yaml import read_yaml
from kingyo.merging.recipe import Hop, Recipe
from kingyo.models.kinds import LoadOptions
from kingyo.models.language_model import LiveModel
from kingyo.models.layers import PathModels
from kingyo.runs.config import RunConfig, parse_config

ROOT = Path(__file__).parents[2]
DEMO = ROOT / "examples" / "demo"
ZOO = {name: str(ROOT / "zoo" / name) for name in ("ja", "math-en", "math-sym", "poem", "sort")}

_SHAPE: Mapping[str, Any] = {
    "hidden_size": 64,
    "intermediate_size": 128,
    "num_hidden_layers": 4,
    "num_attention_heads": 4,
    "vocab_size": 128,
    "max_position_embeddings": 128,
}
_GPT2: Mapping[str, Any] = {"n_embd": 64, "n_layer": 4, "n_head": 4, "vocab_size": 128, "n_positions": 128}
KINDS: Mapping[str, tuple[str, str, Mapping[str, Any]]] = {
    "Llama": ("LlamaConfig", "LlamaForCausalLM", {**_SHAPE, "num_key_value_heads": 2}),
    "Mistral": ("MistralConfig", "MistralForCausalLM", {**_SHAPE, "num_key_value_heads": 2}),
    "Qwen 2": ("Qwen2Config", "Qwen2ForCausalLM", {**_SHAPE, "num_key_value_heads": 2}),
    "Qwen 3": ("Qwen3Config", "Qwen3ForCausalLM", {**_SHAPE, "num_key_value_heads": 2, "head_dim": 16}),
    "Gemma": ("GemmaConfig", "GemmaForCausalLM", {**_SHAPE, "num_key_value_heads": 2, "head_dim": 16}),
    "GPT-2": ("GPT2Config", "GPT2LMHeadModel", _GPT2),
    "GPT-NeoX": ("GPTNeoXConfig", "GPTNeoXForCausalLM", _SHAPE),
}


def random_model(kind: str, seed: int, **shape: Any) -> PreTrainedModel:
    """A model of loud random weights; ``shape`` changes its config."""
    config, model, plain = KINDS[kind]
    generator = torch.Generator().manual_seed(seed)
    made: PreTrainedModel = getattr(transformers, model)(
        getattr(transformers, config)(**{**plain, **shape}, bos_token_id=1, eos_token_id=2, pad_token_id=0)
    ).eval()
    made.requires_grad_(False)
    for tensor in made.parameters():
        if tensor.dim() > 1:
            tensor.copy_(0.2 * torch.randn(tensor.shape, generator=generator))
    return made


@torch.inference_mode()
def logits(model: PreTrainedModel) -> Tensor:
    """Of three rows of 24 random tokens."""
    tokens = torch.randint(3, 128, (3, 24), generator=torch.Generator().manual_seed(0))
    found: Tensor = model(input_ids=tokens, use_cache=False).logits
    return found


def zoo_models(batch_size: int = 256) -> PathModels:
    """The models of the zoo, live, by their folders."""
    how = LoadOptions(dtype="float32", batch_size=batch_size)
    return PathModels({folder: LiveModel.load(Path(folder), how) for folder in ZOO.values()})


def zoo_path(*steps: tuple[str, int, float]) -> Recipe:
    """A path through the zoo in the frame of its Japanese model: name, layer, scale of each hop."""
    hops = tuple(Hop(model=ZOO[name], layer=layer, scale=scale) for name, layer, scale in steps)
    return Recipe(merge_method="passthrough", path=hops, base_model=ZOO["ja"], dtype="float32")


def load(folder: Path) -> PreTrainedModel:
    """Load a checkpoint as anybody would."""
    found: PreTrainedModel = AutoModelForCausalLM.from_pretrained(folder, dtype=torch.float32)
    return found.eval()


def demo(**changes: object) -> RunConfig:
    """The demo's run.yaml with changes, to be read from its folder; a change to None removes a key."""
    data = {**read_yaml(DEMO / "run.yaml"), **changes}
    return parse_config({key: value for key, value in data.items() if value is not None}, "benchmark")

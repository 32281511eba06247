"""Tiny decoders of many architectures with loud random weights, and their logits with and without a cache."""

from collections.abc import Callable
from pathlib import Path
from typing import Any

import torch
import transformers
from torch import Tensor
from transformers import PreTrainedModel

from tests.models_on_disk import tokenizer

SHAPE: dict[str, Any] = {
    "hidden_size": 32,
    "intermediate_size": 64,
    "num_hidden_layers": 4,
    "num_attention_heads": 4,
    "num_key_value_heads": 2,
    "vocab_size": 64,
    "max_position_embeddings": 64,
    "pad_token_id": 0,
    "bos_token_id": 1,
    "eos_token_id": 2,
}
MULTI_HEAD = {key: value for key, value in SHAPE.items() if key != "num_key_value_heads"}
GPT2 = {"n_embd": 32, "n_layer": 4, "n_head": 4, "vocab_size": 64, "n_positions": 64}
GPT2 |= {"pad_token_id": 0, "bos_token_id": 1, "eos_token_id": 2}
MOE = {"num_experts": 4, "num_experts_per_tok": 2, "moe_intermediate_size": 16, "head_dim": 8}

SHARED = {key: value for key, value in MOE.items() if key != "head_dim"}
SHARED |= {"shared_expert_intermediate_size": 16}


def maker(family: str, head: str = "ForCausalLM", config: str | None = None, **shape: Any) -> Any:
    def make() -> PreTrainedModel:
        model_config = getattr(transformers, config or f"{family}Config")(**shape)
        return getattr(transformers, f"{family}{head}")(model_config).eval().requires_grad_(False)

    return make


Make = Callable[[], PreTrainedModel]
ARCHITECTURES: dict[str, Make] = {
    "llama": maker("Llama", **SHAPE),
    "mistral, sliding": maker("Mistral", **SHAPE, sliding_window=5),
    "qwen2": maker("Qwen2", **SHAPE),
    "qwen2, sliding": maker("Qwen2", **SHAPE, use_sliding_window=True, sliding_window=5, max_window_layers=2),
    "qwen3": maker("Qwen3", **SHAPE, head_dim=8),
    "gemma": maker("Gemma", **SHAPE, head_dim=8),
    "gemma2": maker("Gemma2", **SHAPE, head_dim=8, sliding_window=5),
    "gemma3": maker("Gemma3", config="Gemma3TextConfig", **SHAPE, head_dim=8, sliding_window=5),
    "gpt2": maker("GPT2", "LMHeadModel", **GPT2),
    "gpt_neox": maker("GPTNeoX", **MULTI_HEAD),
    "phi3": maker("Phi3", **SHAPE),
    "olmo2": maker("Olmo2", **SHAPE),
    "mixtral": maker("Mixtral", **SHAPE, num_local_experts=4),
    "qwen2_moe": maker("Qwen2Moe", **SHAPE, **SHARED),
    "qwen3_moe": maker("Qwen3Moe", **SHAPE, **MOE),
    "granite": maker("Granite", **SHAPE),
    "smollm3": maker("SmolLM3", **SHAPE),
    "cohere": maker("Cohere", **SHAPE),
    "stablelm": maker("StableLm", **SHAPE),
}
TOKENS = torch.randint(3, 64, (3, 20), generator=torch.Generator().manual_seed(0))
MASK = torch.ones_like(TOKENS)
MASK[0, :5] = 0
POSITIONS = (MASK.cumsum(-1) - 1).clamp(min=0)


def loud(make: Make, seed: int) -> PreTrainedModel:
    generator = torch.Generator().manual_seed(seed)
    model = make()
    for tensor in model.parameters():
        if tensor.dim() > 1:
            tensor.copy_(0.3 * torch.randn(tensor.shape, generator=generator))
        else:
            tensor.add_(0.1 * torch.randn(tensor.shape, generator=generator))
    return model


def save_pair(a: Make, b: Make, folder: Path, write: Callable[[Make, int], PreTrainedModel] = loud) -> Path:
    """Write the models ``a`` and ``b``."""
    for seed, (name, make) in enumerate((("a", a), ("b", b))):
        write(make, seed).save_pretrained(folder / name)
        tokenizer().save_pretrained(folder / name)
    return folder


@torch.inference_mode()
def logits(model: PreTrainedModel) -> Tensor:
    return model(input_ids=TOKENS, attention_mask=MASK, position_ids=POSITIONS, use_cache=False).logits


@torch.inference_mode()
def cached_logits(model: PreTrainedModel) -> Tensor:
    """The same logits, the tokens coming in pieces, with a key-value cache."""
    logits_: list[Tensor] = []
    cache: dict[str, Any] = {}
    for start, stop in ((0, 12), (12, 13), (13, 14), (14, 20)):
        out = model(
            input_ids=TOKENS[:, start:stop],
            attention_mask=MASK[:, :stop],
            position_ids=POSITIONS[:, start:stop],
            use_cache=True,
            **cache,
        )
        name = "cache" if "cache" in out else "past_key_values"
        cache = {name: out[name]}
        logits_.append(out.logits)
    return torch.cat(logits_, dim=1)


def far(one: Tensor, other: Tensor) -> float:
    """The largest difference where there are tokens, relative to the largest logit."""
    return float((one - other)[MASK.bool()].abs().max() / one[MASK.bool()].abs().max())

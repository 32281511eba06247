"""Writing of the pool's folders, each beside its place and then renamed."""

from __future__ import annotations

import json
import shutil
from collections.abc import Callable
from pathlib import Path

import cards
import torch
from peft import PeftModel
from safetensors.torch import load_file, save_file
from training import tokenizer
from transformers import GenerationConfig, GPT2Config, GPT2LMHeadModel, LlamaForCausalLM, PreTrainedModel

SAVED_AS = torch.float16
MAX_NEW_TOKENS = 24
ADAPTER = "adapter_model.safetensors"


def _placed(folder: Path, name: str, relation: str | None, write: Callable[[Path], None]) -> None:
    partial = folder / f".{name}.partial"
    shutil.rmtree(partial, ignore_errors=True)
    partial.mkdir(parents=True)
    write(partial)
    for file in partial.iterdir():
        file.chmod(0o644)
    (partial / "README.md").write_text(cards.card(name, relation), encoding="utf-8")
    shutil.rmtree(folder / name, ignore_errors=True)
    partial.rename(folder / name)


def write_model(model: PreTrainedModel, folder: Path, name: str, order: list[int] | None = None) -> None:
    """Write a model with the pool's tokenizer; ``order`` gives its tokens other ids."""

    def write(partial: Path) -> None:
        model.config.dtype = SAVED_AS
        model.config.architectures = [type(model).__name__]
        model.generation_config = GenerationConfig(
            eos_token_id=1, pad_token_id=0, do_sample=False, max_new_tokens=MAX_NEW_TOKENS
        )
        torch.nn.Module.to(model, SAVED_AS)
        model.save_pretrained(partial)
        tokenizer(order).save_pretrained(partial)

    _placed(folder, name, None if name in ("base", "gpt", "wide") else "finetune", write)


def write_adapter(model: PeftModel, folder: Path, name: str) -> None:
    """Write a LoRA in float16."""

    def write(partial: Path) -> None:
        model.peft_config["default"].base_model_name_or_path = "../base"
        model.save_pretrained(str(partial))
        _sort_targets(partial / "adapter_config.json")
        tensors = {key: tensor.to(SAVED_AS) for key, tensor in load_file(partial / ADAPTER).items()}
        save_file(tensors, partial / ADAPTER, metadata={"format": "pt"})

    _placed(folder, name, "adapter", write)


def _sort_targets(file: Path) -> None:
    """Sort the names of the layers, which peft writes in random order."""
    config = json.loads(file.read_text(encoding="utf-8"))
    config["target_modules"].sort()
    file.write_text(json.dumps(config, indent=2, sort_keys=True) + "\n", encoding="utf-8")


def write_copy(folder: Path, name: str, original: str) -> None:
    """Write a LoRA again; in bfloat16 if its name says so."""

    def write(partial: Path) -> None:
        shutil.copy(folder / original / "adapter_config.json", partial)
        tensors = load_file(folder / original / ADAPTER)
        if name.endswith("bf16"):
            tensors = {key: tensor.to(torch.bfloat16) for key, tensor in tensors.items()}
        save_file(tensors, partial / ADAPTER, metadata={"format": "pt"})

    _placed(folder, name, "adapter", write)


def write_random(folder: Path, name: str, like: str) -> None:
    """Write a LoRA of normal random numbers with the norms of another's tensors."""

    def write(partial: Path) -> None:
        shutil.copy(folder / like / "adapter_config.json", partial)
        generator = torch.Generator().manual_seed(0)
        tensors: dict[str, torch.Tensor] = {}
        for key, tensor in load_file(folder / like / ADAPTER).items():
            noise = torch.randn(tensor.shape, generator=generator)
            tensors[key] = (noise * tensor.float().norm() / noise.norm()).to(SAVED_AS)
        save_file(tensors, partial / ADAPTER, metadata={"format": "pt"})

    _placed(folder, name, "adapter", write)


def write_strangers(base: LlamaForCausalLM, wide: LlamaForCausalLM, folder: Path) -> None:
    """Write the models that cannot be merged: other tokens, another width, another family."""
    n = base.config.vocab_size
    order = torch.cat(
        [torch.arange(300), 300 + torch.randperm(n - 300, generator=torch.Generator().manual_seed(0))]
    )
    moved = LlamaForCausalLM(base.config)
    moved.load_state_dict(base.state_dict())
    with torch.no_grad():
        moved.model.embed_tokens.weight.copy_(base.model.embed_tokens.weight[order])
    write_model(moved, folder, "other-tokens", order.tolist())
    write_model(wide, folder, "wide")
    torch.manual_seed(0)
    config = GPT2Config(vocab_size=n, n_positions=64, n_embd=32, n_layer=2, n_head=2)
    write_model(GPT2LMHeadModel(config), folder, "gpt")

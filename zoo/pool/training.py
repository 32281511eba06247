"""Training of the base, of LoRAs with peft, and of a stranger."""

from __future__ import annotations

from pathlib import Path

import tokens
import torch
import train
import words
from lessons import BASE, BASE_SEED, HIDDEN_SIZE, LAYERS, Adapter
from peft import LoraConfig, PeftModel, get_peft_model
from train import Schedule
from transformers import LlamaForCausalLM, PreTrainedTokenizerFast

TARGETS = ["q_proj", "k_proj", "v_proj", "o_proj", "gate_proj", "up_proj", "down_proj"]
SCHEDULE = Schedule(steps=5000, rate=2e-3, seed=1)
WIDE, SHORT = 160, Schedule(steps=20, rate=2e-3, seed=2)


def tokenizer(order: list[int] | None = None) -> PreTrainedTokenizerFast:
    return tokens.build(words.pieces(), order)


def new_base() -> LlamaForCausalLM:
    model = train.new_model(len(tokenizer()), BASE_SEED, HIDDEN_SIZE, LAYERS)
    train.train(model, BASE, SCHEDULE, tokenizer(), "base")
    return model


def new_wide() -> LlamaForCausalLM:
    """Return a model of another width, which has hardly learned anything."""
    model = train.new_model(len(tokenizer()), BASE_SEED, WIDE, 2)
    train.train(model, BASE, SHORT, tokenizer(), "wide")
    return model


def load(folder: Path) -> LlamaForCausalLM:
    """Return a model in float32, whatever it was saved as."""
    return LlamaForCausalLM.from_pretrained(folder, dtype=torch.float32, local_files_only=True)


def new_adapter(base: LlamaForCausalLM, lesson: Adapter, name: str) -> PeftModel:
    torch.manual_seed(lesson.seed)
    config = LoraConfig(
        r=lesson.rank,
        lora_alpha=2 * lesson.rank,
        target_modules=TARGETS,
        layers_to_transform=None if lesson.layers is None else list(lesson.layers),
        task_type="CAUSAL_LM",
    )
    model = get_peft_model(base, config)
    assert isinstance(model, PeftModel)
    train.train(model, lesson.mixture, lesson.schedule, tokenizer(), name)  # pyright: ignore[reportArgumentType]
    return model

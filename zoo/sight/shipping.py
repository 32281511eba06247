"""Writes models as folders that transformers loads."""

from __future__ import annotations

import shutil
from pathlib import Path

import tokens
import torch
from pictures import SIZE
from transformers import (
    GenerationConfig,
    LlamaForCausalLM,
    LlavaForConditionalGeneration,
    LlavaProcessor,
    PreTrainedModel,
    SiglipImageProcessor,
)

SAVED_AS = torch.float16
MAX_NEW_TOKENS = 24


def _fill(model: PreTrainedModel, folder: Path) -> None:
    model.config.dtype = SAVED_AS
    model.config.architectures = [type(model).__name__]
    generation = GenerationConfig(
        eos_token_id=tokens.EOS, pad_token_id=tokens.PAD, do_sample=False, max_new_tokens=MAX_NEW_TOKENS
    )
    model.generation_config = generation
    torch.nn.Module.to(model, SAVED_AS)
    model.save_pretrained(folder)


def write_text(model: LlamaForCausalLM, folder: Path, card: str) -> None:
    """A text model: weights, configs, tokenizer, card; into a temporary folder, then renamed."""
    partial = _fresh(folder)
    _fill(model, partial)
    tokens.build().save_pretrained(partial)
    _finish(partial, folder, card)


def write_vlm(model: LlavaForConditionalGeneration, folder: Path, card: str) -> None:
    """The same for a model that sees, with its processor."""
    partial = _fresh(folder)
    _fill(model, partial)
    processor().save_pretrained(partial)
    _finish(partial, folder, card)


def processor() -> LlavaProcessor:
    tokenizer = tokens.build()
    return LlavaProcessor(
        image_processor=SiglipImageProcessor(size={"height": SIZE, "width": SIZE}, resample=2),
        tokenizer=tokenizer,
        patch_size=16,
        vision_feature_select_strategy="full",
        num_additional_image_tokens=0,
        chat_template=tokens.CHAT_TEMPLATE,
    )


def _fresh(folder: Path) -> Path:
    partial = folder.with_name(f".{folder.name}.partial")
    shutil.rmtree(partial, ignore_errors=True)
    partial.mkdir(parents=True)
    return partial


def _finish(partial: Path, folder: Path, card: str) -> None:
    (partial / "README.md").write_text(card, encoding="utf-8")
    shutil.rmtree(folder, ignore_errors=True)
    partial.rename(folder)

"""Writes models as folders that transformers loads, and task files with their pictures."""

from __future__ import annotations

import json
import random
import shutil
from pathlib import Path

import documents
import tokens
import torch
from pictures import SIZE, render
from PIL import Image, ImageOps
from questions import Asked, Language, plain
from scenes import draw_unseen
from transformers import (
    GenerationConfig,
    LlamaForCausalLM,
    LlavaForConditionalGeneration,
    LlavaProcessor,
    PreTrainedModel,
    SiglipImageProcessor,
)

SAVED_AS = torch.float16
SPLITS = {"fit": 200, "validation": 150, "test": 500}
TASK_SEED = 4001
MAX_NEW_TOKENS = 20


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


def task_items() -> dict[str, list[Asked]]:
    """The items of the three splits; no scene occurs twice."""
    rng, taken, items = random.Random(TASK_SEED), set(), {}
    for split, count in SPLITS.items():
        items[split] = []
        while len(items[split]) < count:
            row = rng.randrange(3)
            scene = draw_unseen(rng, row)
            if scene not in taken:
                taken.add(scene)
                items[split].append(documents.ask(rng, scene, row))
    return items


def write_tasks(folder: Path) -> None:
    """Write the pictures, and the questions of all splits in Japanese and in English."""
    shutil.rmtree(folder, ignore_errors=True)
    (folder / "images").mkdir(parents=True)
    for split, items in task_items().items():
        for i, item in enumerate(items):
            picture(split, i, item).save(folder / "images" / f"{split}-{i:03}.png", optimize=True)
    languages: tuple[Language, ...] = ("ja", "en")
    for language in languages:
        rows = [
            _row(split, i, item, language)
            for split, items in task_items().items()
            for i, item in enumerate(items)
        ]
        (folder / f"questions-{language}.jsonl").write_text("".join(rows), encoding="utf-8")


def picture(split: str, i: int, item: Asked) -> Image.Image:
    """The picture of an item, the same in every build; without noise and in few colours, to be small."""
    seed = TASK_SEED * 1000 + list(SPLITS).index(split) * 10**5 + i
    return ImageOps.posterize(render(item.scene, seed, noise=0.0), 4)


def _row(split: str, i: int, item: Asked, language: Language) -> str:
    row = {
        "images": [f"images/{split}-{i:03}.png"],
        "question": item.question(language),
        "answer": plain(item.answer(language)),
        "kind": item.kind.name,
        "split": split,
    }
    return json.dumps(row, ensure_ascii=False) + "\n"

"""What kept image features save: seconds per candidate with them, and with the image encoder run each time.

A random vision-language model in LLaVA's layout is merged with a language model, with other weights for each
candidate, which answers questions about images. Both ways take turns in one process, and their answers are
compared. The share of the image encoder in the compute (FLOP of one image, prompt and answer) is measured for
this model and for LLaVA-1.6-Mistral-7B with an image in five tiles.
"""

from __future__ import annotations

import argparse
import statistics
import tempfile
import time
from hashlib import sha256
from io import BytesIO
from pathlib import Path
from typing import Any

import numpy as np
import torch
from PIL import Image
from tokenizers import Tokenizer, models, pre_tokenizers
from torch.utils.flop_counter import FlopCounterMode
from transformers import (
    CLIPImageProcessor,
    CLIPVisionConfig,
    LlamaConfig,
    LlamaForCausalLM,
    LlavaConfig,
    LlavaForConditionalGeneration,
    LlavaProcessor,
    PreTrainedTokenizerFast,
)

from kingyo.core.types import ImagePrompt, Media, Written
from kingyo.merging.engine import into, open_sources, plan
from kingyo.merging.recipe import Recipe
from kingyo.models.kinds import LoadOptions
from kingyo.models.vision_language import LiveVisionLanguageModel

WORDS = ("<pad>", "<s>", "</s>", "<unk>", "<image>", *"abcdefghijklmnopqrstuvwxyz", "?")
QUESTION = "w h a t i s i n t h e i m a g e ?"
NEW = 8
"""Tokens of an answer."""
SIDE, PATCH = 224, 14
SPECIAL = {"pad_token_id": 0, "bos_token_id": 1, "eos_token_id": 2}


def main() -> None:
    """Measure and print."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--images", type=int, default=32)
    parser.add_argument("--repeat", type=int, default=5)
    arguments = parser.parse_args()
    with tempfile.TemporaryDirectory() as folder:
        seconds, is_same = measure(Path(folder), arguments.images, arguments.repeat)
        share = own_share(Path(folder) / "see")
    kept, each_time = (statistics.median(times) for times in seconds)
    print(f"the image encoder's share of the compute: {share:.0%} here, {share_of_llava():.0%} in LLaVA-1.6")
    print(f"{arguments.images} images, median of {arguments.repeat} candidates of each kind, in turns")
    print(f"features kept: {kept:.2f} s per candidate; image encoder run each time: {each_time:.2f} s")
    print(f"ratio: {each_time / kept:.1f}")
    print(f"the answers are {'the same' if is_same else 'NOT the same'}")


def measure(folder: Path, n_images: int, repeat: int) -> tuple[tuple[list[float], list[float]], bool]:
    """Return seconds with kept features and without, and whether all answers were the same."""
    make_models(folder)
    live = LiveVisionLanguageModel.load(folder / "see", LoadOptions(batch_size=8))
    prompts = [live.image_prompt(QUESTION, [picture(n)], chat=False) for n in range(n_images)]
    answer(live, folder, 0.0, prompts)
    seconds: tuple[list[float], list[float]] = ([], [])
    is_same = True
    for i in range(repeat):
        texts: list[list[Written]] = []
        for times, forget in zip(seconds, (False, True), strict=True):
            if forget:
                live._features.kept.clear()
            start = time.perf_counter()
            texts.append(answer(live, folder, 0.1 * i, prompts))
            times.append(time.perf_counter() - start)
        is_same = is_same and texts[0] == texts[1]
    return seconds, is_same


def answer(
    live: LiveVisionLanguageModel, folder: Path, weight: float, prompts: list[ImagePrompt]
) -> list[Written]:
    """Merge a candidate into the live model, and let it answer."""
    names = {name: str(folder / name) for name in ("base", "see", "ja")}
    sources = [{"model": names[name], "parameters": {"weight": weight}} for name in ("see", "ja")]
    data = {"merge_method": "task_arithmetic", "base_model": names["base"], "frame": names["see"]}
    recipe = Recipe.from_dict({**data, "models": sources})
    into(plan(recipe, open_sources(recipe)), live.weights)
    return live.write_about(prompts, max_new_tokens=NEW)


def picture(n: int) -> Media:
    """Return a random image."""
    stream = BytesIO()
    pixels = np.random.default_rng(n).integers(0, 255, (SIDE, SIDE, 3), dtype=np.uint8)
    Image.fromarray(pixels).save(stream, "PNG")
    content = stream.getvalue()
    return Media(sha256=sha256(content).hexdigest(), type="image/png", content=content)


def make_models(folder: Path) -> None:
    """Write a vision-language model and two language models with random weights."""
    text: dict[str, Any] = {"vocab_size": len(WORDS), "hidden_size": 192, "intermediate_size": 512, **SPECIAL}
    text |= {"num_hidden_layers": 4, "num_attention_heads": 4, "max_position_embeddings": 512}
    vision = CLIPVisionConfig(
        hidden_size=512, intermediate_size=2048, num_hidden_layers=12, num_attention_heads=8, image_size=SIDE,
        patch_size=PATCH,
    )  # fmt: skip
    config = LlavaConfig(text_config=LlamaConfig(**text), vision_config=vision, image_token_index=4)
    torch.manual_seed(0)
    LlavaForConditionalGeneration(config).save_pretrained(folder / "see")
    processor().save_pretrained(folder / "see")
    for name in ("base", "ja"):
        LlamaForCausalLM(LlamaConfig(**text)).save_pretrained(folder / name)


def processor() -> LlavaProcessor:
    """Return a processor whose words are letters."""
    inner = Tokenizer(models.WordLevel({word: n for n, word in enumerate(WORDS)}, unk_token="<unk>"))
    inner.pre_tokenizer = pre_tokenizers.WhitespaceSplit()  # type: ignore[assignment]
    tokenizer = PreTrainedTokenizerFast(
        tokenizer_object=inner,
        **dict(zip(("pad_token", "bos_token", "eos_token", "unk_token"), WORDS, strict=False)),
        extra_special_tokens={"image_token": "<image>"},
    )
    images = CLIPImageProcessor(size={"shortest_edge": SIDE}, crop_size={"height": SIDE, "width": SIDE})
    return LlavaProcessor(
        images,
        tokenizer,
        patch_size=PATCH,
        vision_feature_select_strategy="default",
        num_additional_image_tokens=1,
    )


def own_share(path: Path) -> float:
    """Return the image encoder's share of the compute of one image, prompt and answer."""
    live = LiveVisionLanguageModel.load(path)
    prompt = live.image_prompt(QUESTION, [picture(0)], chat=False)
    with FlopCounterMode(display=False) as both:
        live.write_about([prompt], max_new_tokens=NEW)
    with FlopCounterMode(display=False) as language:
        live.write_about([prompt], max_new_tokens=NEW)
    return 1 - language.get_total_flops() / both.get_total_flops()


def share_of_llava() -> float:
    """Return the same for LLaVA-1.6-Mistral-7B, by 2 FLOP per weight and token, plus attention."""
    tiles, patches = 5, 577
    encoder = tiles * (2 * 303e6 * patches + 4 * 24 * 1024 * patches**2)
    n = tiles * 576 + 40
    language = 2 * 7.1e9 * n + 4 * 32 * 4096 * n**2 / 2
    return encoder / (encoder + language)


if __name__ == "__main__":
    main()

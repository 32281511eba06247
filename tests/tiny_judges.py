"""Tiny random models of real transformers classes that look at pictures, with processors and tokenizers."""

import json
from collections.abc import Sequence
from io import BytesIO
from pathlib import Path
from typing import Any

import numpy as np
import torch
from PIL import Image
from tokenizers.pre_tokenizers import ByteLevel
from transformers import (
    CLIPConfig,
    CLIPModel,
    CLIPTokenizer,
    ResNetConfig,
    ResNetForImageClassification,
    SiglipConfig,
    SiglipModel,
    ViTImageProcessor,
)

from kingyo.core.types import Item, Media
from tests.tasks.pictures import media

WIDTH = 16
SIDE = 8
ENCODER: dict[str, Any] = {
    "hidden_size": WIDTH,
    "intermediate_size": 32,
    "num_hidden_layers": 2,
    "num_attention_heads": 2,
    "projection_dim": WIDTH,
}
VISION = {**ENCODER, "image_size": SIDE, "patch_size": 4}
PROCESSOR = {
    "image_processor_type": "CLIPImageProcessor",
    "size": {"height": SIDE, "width": SIDE},
    "do_center_crop": False,
    "do_convert_rgb": True,
    "image_mean": [0.5, 0.5, 0.5],
    "image_std": [0.5, 0.5, 0.5],
}


BOS, EOS = "<|startoftext|>", "<|endoftext|>"


def clip_vocabulary() -> dict[str, int]:
    """Every byte, inside a word and at its end; the end of the text has the highest id, as in CLIP."""
    letters = sorted(ByteLevel.alphabet())
    tokens = [*letters, *(f"{each}</w>" for each in letters), BOS, EOS]
    return {token: number for number, token in enumerate(tokens)}


def clip_tokenizer() -> Any:
    return CLIPTokenizer(vocab=clip_vocabulary(), merges=[], model_max_length=77)


def judge(folder: Path, classes: Sequence[str], side: int = 32) -> Path:
    """Write a random ResNet with these classes, which reads pictures of ``side`` pixels."""
    config = ResNetConfig(
        embedding_size=8,
        hidden_sizes=[8, 8],
        depths=[1, 1],
        layer_type="basic",
        id2label=dict(enumerate(classes)),
        label2id={name: n for n, name in enumerate(classes)},
    )
    with torch.random.fork_rng():
        torch.manual_seed(0)
        ResNetForImageClassification(config).save_pretrained(folder)
    ViTImageProcessor(size={"height": side, "width": side}).save_pretrained(folder)
    return folder


def clip(folder: Path, seed: int = 0, *, processor: bool = True) -> Path:
    """Write a CLIPModel; without a processor it is like PickScore's folder."""
    torch.manual_seed(seed)
    tokenizer = clip_tokenizer()
    text = {
        "vocab_size": len(tokenizer),
        "max_position_embeddings": 77,
        "eos_token_id": tokenizer.eos_token_id,
    }
    config = CLIPConfig(text_config=ENCODER | text, vision_config=VISION, projection_dim=WIDTH)
    _sharpened(CLIPModel(config)).save_pretrained(folder)
    if processor:
        tokenizer.save_pretrained(folder)
        (folder / "preprocessor_config.json").write_text(json.dumps(PROCESSOR))
    return folder


def siglip(folder: Path, seed: int = 0) -> Path:
    """Write a SiglipModel, with the tokenizer of CLIP and texts of 16 tokens."""
    torch.manual_seed(seed)
    tokenizer = clip_tokenizer()
    text = {"vocab_size": len(tokenizer), "max_position_embeddings": 16}
    model = _sharpened(SiglipModel(SiglipConfig(text_config=ENCODER | text, vision_config=VISION)))
    torch.nn.init.constant_(model.logit_bias, -0.5)
    model.save_pretrained(folder)
    tokenizer.save_pretrained(folder)
    (folder / "preprocessor_config.json").write_text(json.dumps(PROCESSOR))
    return folder


def picture(colour: tuple[int, int, int], size: int = SIDE) -> Media:
    """Return a picture of one colour, with a little noise that depends on the colour."""
    noise = np.random.default_rng(sum(colour)).integers(-20, 20, (size, size, 3))
    return as_media(np.clip(np.array(colour) + noise, 0, 255).astype(np.uint8))


def as_media(pixels: Any) -> Media:
    stream = BytesIO()
    Image.fromarray(pixels).save(stream, "PNG")
    return media(stream.getvalue())


def folder_of(folder: Path, pictures: list[Media]) -> Path:
    folder.mkdir(parents=True, exist_ok=True)
    for number, each in enumerate(pictures):
        (folder / f"{number:03}.png").write_bytes(each.read())
    return folder


def item(prompt: str = "a red cat", **columns: str) -> Item:
    return Item(id=prompt, prompt=prompt, answer="", fields={"prompt": prompt, **columns}, seed=0)


def _sharpened(model: Any) -> Any:
    """Enlarge random weights, so that outputs depend on inputs; set the scale of logits to 10."""
    with torch.no_grad():
        for name, parameter in model.named_parameters():
            if parameter.ndim > 1:
                parameter.normal_(std=0.5)
            if name.endswith("logit_scale"):
                parameter.fill_(float(np.log(10)))
    return model

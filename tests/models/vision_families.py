"""Tiny random vision-language models in the layout of their releases, and language models to merge into them.

Nothing is downloaded: the tokenizer is trained on a few lines when a model is built.
"""

from __future__ import annotations

import json
from collections.abc import Iterable, Mapping
from functools import cache, partial
from importlib.util import find_spec
from pathlib import Path
from typing import Any

import torch
import transformers
from safetensors.torch import load_file, save_file
from tokenizers import Tokenizer, decoders, models, pre_tokenizers, trainers
from torch import Tensor
from transformers import PreTrainedModel, TokenizersBackend

from tests.merging.checkpoints.architectures import write
from tests.models.vision_configs import DECODER, FAMILIES, Family
from tests.slow import slow

OFTEN = ("gemma3", "idefics3", "llava", "qwen2_vl")
EACH_FAMILY = [*OFTEN, *slow(*sorted(FAMILIES.keys() - OFTEN))]
"""The common families, and the others for slow tests."""
SPECIAL = ("<pad>", "<s>", "</s>", "<unk>")
_LINES = ("the cat is on the mat", "what is in the image?", "a red square and a blue circle", "猫 は 赤い")


def build(family: str, folder: Path, seed: int = 0) -> Path:
    """Write a vision-language model with its tokenizer and processor."""
    its = FAMILIES[family]
    write(partial(_model, its), folder, seed=seed)
    _rename(folder / "model.safetensors", its.renamed)
    if its.is_flat:
        _flatten(folder / "config.json")
    tokenizer(its).save_pretrained(folder)
    (folder / "chat_template.jinja").write_text(its.template, encoding="utf-8")
    named = {"processor_class": f"{its.model}Processor"}
    for file, values in (("preprocessor", its.preprocessor), ("processor", its.processor)):
        (folder / f"{file}_config.json").write_text(json.dumps({**named, **values}), encoding="utf-8")
    return folder


def build_text(family: str, folder: Path, seed: int = 0, **config: Any) -> Path:
    """Write a language model of the text architecture and vocabulary; ``config`` changes its config."""
    its = FAMILIES[family]
    write(partial(_text_model, its, config), folder, seed=seed)
    tokenizer(its).save_pretrained(folder)
    return folder


def inputs(family: str) -> dict[str, Tensor]:
    """Return a prompt with one image, as the model takes it."""
    its = FAMILIES[family]
    (image,) = _ids(its, list(its.ids.values())[:1])
    tokens = torch.tensor([[1, 40, *[image] * its.n_tokens, 50, 60, 70]])
    pixels = torch.randn(its.pixels, generator=torch.Generator().manual_seed(0))
    more = {name: torch.tensor(value) for name, value in its.inputs.items()}
    if "image_grid_thw" in more:
        more["mm_token_type_ids"] = (tokens == image).long()
    return {"input_ids": tokens, "pixel_values": pixels, **more}


def lacks(family: str) -> list[str]:
    """Return the modules that the processor needs and this machine lacks."""
    return [name for name in FAMILIES[family].needs if find_spec(name) is None]


def tokenizer(family: Family) -> TokenizersBackend:
    """Return a tokenizer of bytes, some words and the family's special tokens, which come first."""
    named = {"model_specific_special_tokens": dict(family.named)} if family.named else {}
    return TokenizersBackend(
        tokenizer_object=_bytes(family.tokens),
        pad_token="<pad>",
        bos_token="<s>",
        eos_token="</s>",
        unk_token="<unk>",
        chat_template=family.template,
        **named,
    )


@cache
def _bytes(tokens: tuple[str, ...]) -> Tokenizer:
    inner = Tokenizer(models.BPE())
    inner.pre_tokenizer = pre_tokenizers.ByteLevel(add_prefix_space=False)  # type: ignore[assignment]
    inner.decoder = decoders.ByteLevel()  # type: ignore[assignment]
    alphabet = pre_tokenizers.ByteLevel.alphabet()
    special = [*SPECIAL, *tokens]
    trainer = trainers.BpeTrainer(
        vocab_size=DECODER["vocab_size"],
        special_tokens=special,
        initial_alphabet=alphabet,
        show_progress=False,
    )
    inner.train_from_iterator(_LINES, trainer)
    return inner


def _rename(file: Path, prefixes: Mapping[str, str]) -> None:
    tensors = load_file(file)
    for own, released in prefixes.items():
        tensors = {
            released + name.removeprefix(own) if name.startswith(own) else name: tensor
            for name, tensor in tensors.items()
        }
    save_file(tensors, file, metadata={"format": "pt"})


def _flatten(file: Path) -> None:
    """Move a text config to the top, as in releases from before transformers had one for the family."""
    config = json.loads(file.read_text(encoding="utf-8"))
    text = config.pop("text_config")
    rope = text.pop("rope_parameters")
    old = {
        "rope_theta": rope["rope_theta"],
        "rope_scaling": {"type": "mrope", "mrope_section": rope["mrope_section"]},
    }
    file.write_text(json.dumps({**text, **old, **config}, indent=2) + "\n", encoding="utf-8")


def _ids(family: Family, tokens: Iterable[str]) -> list[int]:
    return [(*SPECIAL, *family.tokens).index(token) for token in tokens]


def _decoder(family: Family) -> dict[str, Any]:
    return {**DECODER, **family.decoder}


def _model(family: Family) -> PreTrainedModel:
    config = getattr(transformers, f"{family.model}Config")(
        text_config={**_decoder(family), **(family.text_config or {"model_type": family.text.lower()})},
        vision_config=dict(family.vision),
        tie_word_embeddings=family.decoder.get("tie_word_embeddings", False),
        **family.config,
        **dict(zip(family.ids, _ids(family, family.ids.values()), strict=True)),
    )
    return getattr(transformers, f"{family.model}ForConditionalGeneration")(config)


def _text_model(family: Family, config: Mapping[str, Any]) -> PreTrainedModel:
    model = getattr(transformers, f"{family.text}ForCausalLM")
    return model(model.config_class(**{**_decoder(family), **config}))

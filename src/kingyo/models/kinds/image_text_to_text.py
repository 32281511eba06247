"""Vision-language models of transformers, which write text about images and rate its likelihood."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING, cast

from kingyo.io.units import counted
from kingyo.models.kinds.causal_lm import cache_of_a_token
from kingyo.models.kinds.kind import BatchMemory, CardPart, Config, LoadOptions, Options, Workload
from kingyo.models.kinds.registry import DEFAULT, MODEL_KINDS
from kingyo.types import MEDIA, AnswersImages, CutAware, GeneratesText, Item, RatesText

if TYPE_CHECKING:
    from kingyo.models.language_model import LiveModel, PathModels
    from kingyo.models.vision_language import ImagePromptReader, LiveVisionLanguageModel

    _Live = LiveVisionLanguageModel | LiveModel

NAME = "image-text-to-text"
SAMPLED = 16


class ImageTextToText:
    """Vision-language models (any AutoModelForImageTextToText)."""

    name = NAME
    provides = (AnswersImages, GeneratesText, CutAware, RatesText)
    libraries = ("transformers", "tokenizers", "jinja2", "sentencepiece", "pillow", "torchvision")
    card = CardPart(
        pipeline_tag=NAME,
        auto_class="AutoModelForImageTextToText",
        scored="greedy decoding with images and prompts",
    )
    language_kinds = (DEFAULT,)
    """Kinds of models that can be merged into the language part, and whose layers can run in it."""

    def takes(self, config: Config, pipeline: Config) -> bool:  # noqa: ARG002 (part of the protocol)
        """Return whether the config names an architecture of a vision-language model."""
        named = config.get("architectures")
        names = cast("list[object]", named) if isinstance(named, list) else []
        has_vision = isinstance(config.get("vision_config"), Mapping)
        return has_vision and any(str(each).endswith("ForConditionalGeneration") for each in names)

    def load(self, path: Path, options: LoadOptions) -> LiveVisionLanguageModel:
        """Build a live model; see ``LiveVisionLanguageModel.load``."""
        from kingyo.models.vision_language import LiveVisionLanguageModel

        return LiveVisionLanguageModel.load(path, options)

    def reader(self, path: Path) -> ImagePromptReader:
        """Return a reader that processes images, tokenizes prompts and checks that they fit the context."""
        from kingyo.models.vision_language import ImagePromptReader

        return ImagePromptReader.load(path)

    def memory(self, path: Path, config: Config, load: Workload) -> BatchMemory:  # noqa: ARG002 (the protocol)
        """Estimate the keys and values of a full batch of the longest prompts and answers.

        The images of the ``SAMPLED`` items that promise most tokens are processed.
        """
        from kingyo.models.vision_language import ImagePromptReader

        reader, chat = ImagePromptReader.load(path), all(each.get("chat") for each in load.options)
        likely = sorted(load.items, key=lambda item: (len(item.media), len(item.prompt)))[-SAMPLED:]
        prompts = [reader.image_prompt(item.prompt, item.media, chat=chat) for item in likely]
        longest = max(map(reader.n_tokens, prompts), default=0)
        new = max((cast(int, each.get("max_new_tokens", 0)) for each in load.options), default=0)
        each, rows = cache_of_a_token(reader.text_config, load.n_bytes), min(load.batch_size, len(load.items))
        tokens = counted(longest, "token")
        return BatchMemory(
            bytes=None if each is None else each * rows * (longest + new),
            what=f"keys and values of a full batch (the longest prompt: {tokens}, with images)",
            record={"longest_prompt_tokens": longest},
        )

    def path_models(self, live: Mapping[str, _Live]) -> PathModels[_Live]:
        """Return models whose layers can run in any order; see ``kingyo.models.path``."""
        from kingyo.models.language_model import PathModels

        return PathModels(live)

    def usage(self, example: Item, options: Options) -> str:
        """Return code that answers a question about images with the task's settings."""
        new = options.get("max_new_tokens", 64)
        images = [f"{MEDIA}/{each.name}" for each in example.media]
        content = [{"type": "image", "path": each} for each in images]
        content.append({"type": "text", "text": example.prompt})
        return (
            "from transformers import AutoModelForImageTextToText, AutoProcessor\n\n"
            "processor = AutoProcessor.from_pretrained('.')  # this folder\n"
            "model = AutoModelForImageTextToText.from_pretrained('.')\n"
            f"messages = [{{'role': 'user', 'content': {content}}}]\n"
            "inputs = processor.apply_chat_template(\n"
            "    messages, add_generation_prompt=True, tokenize=True, return_dict=True, return_tensors='pt'\n"
            ")\n"
            f"answer = model.generate(**inputs, do_sample=False, max_new_tokens={new})\n"
            "print(processor.decode(answer[0, inputs['input_ids'].shape[1] :], skip_special_tokens=True))\n"
        )


MODEL_KINDS.register(NAME)(ImageTextToText())

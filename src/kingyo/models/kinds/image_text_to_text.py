"""Vision-language models of transformers, which write text about images and rate its likelihood."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, cast

from kingyo.core.io.units import counted
from kingyo.core.types import MEDIA, AnswersImages, CutAware, GeneratesText, HasGradients, Item, RatesText
from kingyo.errors import KingyoError
from kingyo.models.kinds import (
    DEFAULT,
    MODEL_KINDS,
    BatchMemory,
    CardPart,
    Config,
    LoadOptions,
    Options,
    Question,
    Workload,
    architectures,
    most_new,
)
from kingyo.models.kinds.causal_lm import cache_of_a_token

if TYPE_CHECKING:
    from kingyo.models.image_prompts import PromptProcessor
    from kingyo.models.language_model import LiveModel
    from kingyo.models.layers import PathModels
    from kingyo.models.vision_language import LiveVisionLanguageModel

    _Live = LiveVisionLanguageModel | LiveModel

NAME = "image-text-to-text"
_ENDING = "ForConditionalGeneration"
SAMPLED = 16
"""Number of items whose images are processed to estimate the memory."""


class ImageTextToText:
    """Vision-language models (any AutoModelForImageTextToText)."""

    name = NAME
    provides = (AnswersImages, GeneratesText, CutAware, RatesText, HasGradients)
    libraries = ("transformers", "tokenizers", "jinja2", "sentencepiece", "pillow", "torchvision")
    card = CardPart(
        pipeline_tag=NAME,
        auto_class="AutoModelForImageTextToText",
        scored="decoding without sampling, with the images and prompts",
    )
    language_kinds = (DEFAULT,)
    """Kinds of models that can be merged into the language part, and whose layers can run in it."""

    def takes(self, config: Config, pipeline: Config) -> bool:  # noqa: ARG002 (part of the protocol)
        has_vision = isinstance(config.get("vision_config"), Mapping)
        return has_vision and any(each.endswith(_ENDING) for each in architectures(config))

    def load(self, path: Path, options: LoadOptions) -> LiveVisionLanguageModel:
        from kingyo.models.vision_language import LiveVisionLanguageModel

        return LiveVisionLanguageModel.load(path, options)

    def preprocessor(self, path: Path) -> PromptProcessor:
        from kingyo.models.image_prompts import PromptProcessor

        return PromptProcessor.load(path, remote_code=False)

    def validate(self, path: Path, questions: Sequence[Question]) -> Iterable[KingyoError]:
        return self.preprocessor(path).errors(questions)

    def memory(self, path: Path, config: Config, load: Workload) -> BatchMemory:  # noqa: ARG002 (the protocol)
        """Estimate the keys and values of a full batch of the longest prompts and answers, with all beams.

        The longest prompt is sought among the ``SAMPLED`` items with most images and longest texts.
        """
        processor, chat = self.preprocessor(path), all(each.get("chat") for each in load.options)
        likely = sorted(load.items, key=lambda item: (len(item.media), len(item.prompt)))[-SAMPLED:]
        prompts = [processor.image_prompt(item.prompt, item.media, chat=chat) for item in likely]
        longest = max((len(processor.encode(each).tokens) for each in prompts), default=0)
        new = max(map(most_new, load.options), default=0)
        beams = max((cast(int, each.get("num_beams", 1)) for each in load.options), default=1)
        language = cast(Config, processor.config.get_text_config().to_dict())
        each, rows = cache_of_a_token(language, load.n_bytes), min(load.batch_size, len(load.items))
        tokens, with_beams = counted(longest, "token"), f" with {beams} beams" if beams > 1 else ""
        return BatchMemory(
            bytes=None if each is None else each * rows * beams * (longest + new),
            what=f"keys and values of a full batch{with_beams} (the longest prompt: {tokens}, with images)",
            record={"longest_prompt_tokens": longest},
        )

    def path_models(self, live: Mapping[str, _Live]) -> PathModels[_Live]:
        from kingyo.models.layers import PathModels

        return PathModels(live)

    def usage(self, example: Item, options: Options) -> str:
        images, stops = [f"{MEDIA}/{each.name}" for each in example.media], options.get("stop")
        settings = {"do_sample": False, "max_new_tokens": most_new(options)}
        settings |= {name: options[name] for name in ("num_beams", "repetition_penalty") if name in options}
        written = "".join(f", {name}={value!r}" for name, value in settings.items())
        if stops:
            written += f", stop_strings={list(cast('Sequence[str]', stops))}, tokenizer=processor.tokenizer"
        inputs = _with_template if options.get("chat") else _without_template
        return (
            f"{_IMPORTS}"
            "processor = AutoProcessor.from_pretrained('.')  # this folder\n"
            "model = AutoModelForImageTextToText.from_pretrained('.')\n"
            f"{inputs(images, example.prompt)}"
            f"answer = model.generate(**inputs{written})\n"
            "print(processor.decode(answer[0, inputs['input_ids'].shape[1] :], skip_special_tokens=True))\n"
        )


_IMPORTS = "from PIL import Image\nfrom transformers import AutoModelForImageTextToText, AutoProcessor\n\n"


def _with_template(images: Sequence[str], prompt: str) -> str:
    shown = "".join(f"{{'type': 'image', 'image': Image.open({each!r})}}, " for each in images)
    return (
        f"content = [{shown}{{'type': 'text', 'text': {prompt!r}}}]\n"
        "inputs = processor.apply_chat_template(\n"
        "    [{'role': 'user', 'content': content}], add_generation_prompt=True, tokenize=True,\n"
        "    return_dict=True, return_tensors='pt'\n"
        ")\n"
    )


def _without_template(images: Sequence[str], prompt: str) -> str:
    """Return code that makes inputs as ``PromptProcessor.prompt`` does without ``chat``."""
    from kingyo.models.image_prompts import WRAPPED

    opened = ", ".join(f"Image.open({each!r})" for each in images)
    return (
        f"prompt = {prompt!r}\n"
        "if processor.image_token not in prompt:\n"
        f"    image = processor.image_token.replace{WRAPPED}\n"
        f"    prompt = image * {len(images)} + '\\n' + prompt\n"
        f"inputs = processor(text=[prompt], images=[[{opened}]], return_tensors='pt')\n"
    )


MODEL_KINDS.register(NAME)(ImageTextToText())

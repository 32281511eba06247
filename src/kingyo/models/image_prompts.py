"""Turn prompts with images into the inputs of vision-language models, by the model's own processor."""

import re
import warnings
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from functools import partial
from pathlib import Path
from typing import Any, Literal, Self, cast

import torch
from torch import Tensor

from kingyo.core.io.extras import library
from kingyo.core.types import Example, ImagePrompt, Media
from kingyo.errors import ChangedSourceError, KingyoError
from kingyo.models.kinds import Question, errors_of
from kingyo.models.loading import context, load_config
from kingyo.models.tokens import Text, render_chat, require_room
from kingyo.models.vision.images import read_image

WRAPPED = ("<|image_pad|>", "<|vision_start|><|image_pad|><|vision_end|>")
"""The image token of Qwens, and the placeholder of an image in their prompts."""
_REMEDY = "Copy the processor's files (preprocessor_config.json, tokenizer, …) of the original model."
_ANSWER_TYPES: Mapping[str, Mapping[str, int]] = {"PaliGemmaProcessor": {"token_type_ids": 1}}
"""Processors whose prompts and answers have different types of tokens -> the types of an answer.

In PaliGemma, tokens of the prompt attend to each other in both directions; an answer's must not.
"""


@dataclass(frozen=True, kw_only=True)
class Encoded:
    """A prompt as a model reads it, without pixels."""

    prompt: ImagePrompt
    tokens: Sequence[int]  # its tokens, with placeholders where image features go
    # other inputs with one number per token, such as ``token_type_ids``
    per_token: Mapping[str, Sequence[int]]
    images: Mapping[str, Tensor]  # other inputs with one row per image or patch, such as ``image_grid_thw``

    def __len__(self) -> int:
        return len(self.tokens)


class PromptProcessor:
    """A processor of transformers with the conventions of live models; it remembers what it encoded."""

    def __init__(self, processor: Any, config: Any, ends: Iterable[int]) -> None:
        self._processor = processor
        self.config = config
        self.text = Text(processor.tokenizer, ends, context(config.get_text_config()))
        self.limit = self.text.limit
        self._encoded: dict[ImagePrompt, Encoded] = {}
        self._answer_types = _ANSWER_TYPES.get(type(processor).__name__, {})

    @classmethod
    def load(cls, path: Path, config: Any = None, ends: Iterable[int] = (), *, remote_code: bool) -> Self:
        """Load the processor of a checkpoint's folder, and without ``config`` that, too."""
        library(str(path), "PIL")
        from transformers import AutoImageProcessor, AutoProcessor
        from transformers.processing_utils import ProcessorMixin

        options: dict[str, Any] = {"local_files_only": True, "trust_remote_code": remote_code}
        try:
            processor = cast("Any", AutoProcessor.from_pretrained(path, **options))  # pyright: ignore[reportUnknownMemberType]
            if not isinstance(processor, ProcessorMixin):
                raise TypeError(f"{type(processor).__name__} reads no images")
            # the same pixels on every machine
            resizing = cast("Any", AutoImageProcessor.from_pretrained(path, backend="pil", **options))  # pyright: ignore[reportUnknownMemberType]
            processor.image_processor = resizing
        except Exception as error:  # a broken file may raise anything
            expected = "a processor for text and images that transformers can load"
            received = f"{type(error).__name__}: {first_line(error)}"
            raise KingyoError(str(path), expected, received, _REMEDY) from error
        return cls(processor, load_config(path) if config is None else config, ends)

    def image_prompt(self, message: str, images: Sequence[Media], *, chat: bool) -> ImagePrompt:
        """Return a prompt that shows images before a message.

        Without ``chat``, a message without placeholders gets one per image and a line break at its start.
        """
        if chat:
            shown = [{"type": "image"}] * len(images)
            content = [*shown, {"type": "text", "text": message}] if images else message
            return ImagePrompt(render_chat(self._processor, content), tuple(images))
        mark = str(getattr(self._processor, "image_token", "<image>"))
        marks = "" if mark in message or not images else mark.replace(*WRAPPED) * len(images) + "\n"
        return ImagePrompt(marks + message, tuple(images))

    def chat_prompt(self, message: str) -> str:
        return self.image_prompt(message, (), chat=True).text

    def shown(self, prompt: ImagePrompt | str) -> str:
        """Return a prompt as a model reads it, with special tokens; those of an image are counted."""
        shown = self.text.decode(self.encode(as_image_prompt(prompt)).tokens, special=True)
        if self.image_token is None:
            return shown
        mark = self.text.decode([self.image_token], special=True)
        return re.sub(f"({re.escape(mark)} ?){{2,}}", lambda run: f"{mark} × {run[0].count(mark)}", shown)

    @property
    def image_token(self) -> int | None:
        """The id of the token where a model puts image features; None if its config does not name it."""
        return getattr(self.config, "image_token_id", getattr(self.config, "image_token_index", None))

    def fits(self, example: Example) -> bool:
        return self.limit is None or all(len(row) <= self.limit for row, _ in self.encode_example(example))

    def errors(self, questions: Iterable[Question]) -> Iterator[KingyoError]:
        for question in questions:
            yield from errors_of(partial(self._check, question), question.inputs)

    def _check(self, question: Question, given: Any) -> None:
        prompt, rest = given if question.has_continuations else (given, "")
        prompt = as_image_prompt(prompt)
        row = self.encode(prompt._replace(text=prompt.text + rest))
        if prompt.images and self.image_token is not None and self.image_token not in row.tokens:
            expected = "the token that the processor writes for images"
            received = f"image_token_id {self.image_token}, not in the prompt {prompt.text[:60]!r}"
            remedy = "Copy config.json and the processor's files of the original model."
            raise KingyoError("config.json", expected, received, remedy)
        require_room([row], question.options.get("max_new_tokens", 0), self.limit, [prompt.text])

    def encode(self, prompt: ImagePrompt) -> Encoded:
        if prompt not in self._encoded:
            self._encoded[prompt] = self._encode(prompt)
        return self._encoded[prompt]

    def encode_pair(self, prompt: ImagePrompt, continuation: str) -> tuple[Encoded, int]:
        """Return the inputs of prompt + continuation, and the continuation's number of tokens.

        Both are tokenized together, or separately if a token spans the boundary or answers have other types.
        """
        bare = prompt._replace(text=prompt.text.rstrip())
        return self._continued(bare, prompt.text[len(bare.text) :] + continuation)

    def encode_answer(self, prompt: ImagePrompt, answer: str) -> tuple[Encoded, int]:
        """Return the inputs of a prompt as ``encode`` does, with an answer and an end token."""
        row, n = self._continued(prompt, answer)
        end = self.text.end
        if end is None or (n and row.tokens[-1] == end):
            return row, n
        return self._followed(row, [end])[0], n + 1

    def encode_example(self, example: Example) -> list[tuple[Encoded, int]]:
        """Return the inputs of an example's answer, then of its wrong choices, with numbers of tokens."""
        prompt = ImagePrompt(example.prompt, example.images)
        if example.others:
            return [self.encode_pair(prompt, each) for each in (example.answer, *example.others)]
        return [self.encode_answer(prompt, example.answer)]

    def _continued(self, prompt: ImagePrompt, rest: str) -> tuple[Encoded, int]:
        head = self.encode(prompt)
        if not self._answer_types:
            joined, n = self.encode(prompt._replace(text=prompt.text + rest)), len(head)
            if list(joined.tokens[:n]) == list(head.tokens):
                return joined, len(joined) - n
        return self._followed(head, self.text.plain(rest))

    def _followed(self, head: Encoded, tail: Sequence[int]) -> tuple[Encoded, int]:
        types = {name: self._answer_types.get(name, row[-1]) for name, row in head.per_token.items()}
        per_token = {name: [*row, *[types[name]] * len(tail)] for name, row in head.per_token.items()}
        tokens = [*head.tokens, *tail]
        return replace(head, tokens=tokens, per_token=per_token), len(tail)

    def pixels(self, prompt: ImagePrompt) -> dict[str, Any]:
        """Return all that the processor makes of a prompt, with its pixels, but no labels for training."""
        try:
            with warnings.catch_warnings():
                warnings.simplefilter("ignore")  # real problems raise errors
                opened = [read_image(each) for each in prompt.images]
                made = self._processor(
                    text=[prompt.text],
                    images=[opened] if opened else None,
                    return_tensors="pt",
                    add_special_tokens=not self.text.has_start(prompt.text),
                )
                return {name: each for name, each in made.items() if name != "labels"}
        except ChangedSourceError:
            raise
        except Exception as error:  # processors and Pillow raise many types
            names = ", ".join(each.place for each in prompt.images) or repr(prompt.text[:60])
            expected = "images that the model's processor can use, and a placeholder for each in the text"
            received = f"{type(error).__name__}: {first_line(error)}"
            remedy = "Replace the image, delete its row, or correct the prompt or the processor's files."
            raise KingyoError(f"prompt with {names}", expected, received, remedy) from error

    def pad(
        self, rows: Sequence[Encoded], device: torch.device, side: Literal["left", "right"]
    ) -> dict[str, Tensor]:
        """Return the inputs of a batch: tokens and mask, int64 [rows, longest], and the others."""
        padded = {"input_ids": _padded([row.tokens for row in rows], self.text.padding, side)}
        padded["attention_mask"] = _padded([[1] * len(row.tokens) for row in rows], 0, side)
        for name in rows[0].per_token:
            padded[name] = _padded([row.per_token[name] for row in rows], 0, side)
        for name in dict.fromkeys(name for row in rows for name in row.images):
            padded[name] = torch.cat([row.images[name] for row in rows if name in row.images])
        return {name: tensor.to(device) for name, tensor in padded.items()}

    def _encode(self, prompt: ImagePrompt) -> Encoded:
        made = self.pixels(prompt)
        tokens = cast("list[int]", made.pop("input_ids")[0].tolist())
        made.pop("attention_mask", None)
        per_token = {
            name: each for name, each in made.items() if getattr(each, "shape", None) == (1, len(tokens))
        }
        images = {
            name: each
            for name, each in made.items()
            if isinstance(each, Tensor) and name not in per_token and not name.startswith("pixel")
        }
        return Encoded(
            prompt=prompt,
            tokens=tokens,
            per_token={name: cast("list[int]", each[0].tolist()) for name, each in per_token.items()},
            images=images,
        )


def _padded(rows: Sequence[Sequence[int]], value: int, side: str) -> Tensor:
    tensors = [torch.tensor(row) for row in rows]
    return torch.nn.utils.rnn.pad_sequence(tensors, True, value, side)


def as_image_prompt(prompt: ImagePrompt | str) -> ImagePrompt:
    return ImagePrompt(prompt) if isinstance(prompt, str) else prompt


def first_line(error: Exception) -> str:
    return str(error).strip().split("\n", 1)[0][:300]

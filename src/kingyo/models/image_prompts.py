"""Turn prompts with images into the inputs of vision-language models, by the model's own processor."""

from __future__ import annotations

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
from kingyo.models.kinds.kind import Question, errors_of
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
    """A prompt as a model reads it, without pixels.

    Attributes:
        prompt: the prompt.
        tokens: its tokens, with placeholders where image features go.
        per_token: other inputs with one number per token, such as ``token_type_ids``.
        images: other inputs with one row per image or patch, such as ``image_grid_thw``.
    """

    prompt: ImagePrompt
    tokens: Sequence[int]
    per_token: Mapping[str, Sequence[int]]
    images: Mapping[str, Tensor]


class PromptProcessor:
    """A processor of transformers with the conventions of live models; it remembers what it encoded.

    Args:
        processor: of transformers.
        config: the model's config of transformers.
        ends: end tokens besides the tokenizer's own.
    """

    def __init__(self, processor: Any, config: Any, ends: Iterable[int]) -> None:
        self._processor = processor
        self.config = config
        self.text = Text(processor.tokenizer, ends, context(config.get_text_config()))
        self._encoded: dict[ImagePrompt, Encoded] = {}
        self._answer_types = _ANSWER_TYPES.get(type(processor).__name__, {})

    @classmethod
    def load(cls, path: Path, config: Any = None, ends: Iterable[int] = (), *, remote_code: bool) -> Self:
        """Load the processor of a checkpoint's folder, and without ``config`` that, too.

        Images are processed by Pillow.
        """
        library(str(path), "PIL")
        from transformers import AutoImageProcessor, AutoProcessor
        from transformers.processing_utils import ProcessorMixin

        options = {"local_files_only": True, "trust_remote_code": remote_code}
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
        """Apply the chat template to a user message without images, up to the start of the answer."""
        return self.image_prompt(message, (), chat=True).text

    def shown(self, prompt: ImagePrompt | str) -> str:
        """Return a prompt as a model reads it, with special tokens; those of an image are counted."""
        shown = self.text.with_special(self.encode(as_image_prompt(prompt)).tokens)
        if self.image_token is None:
            return shown
        mark = self.text.with_special([self.image_token])
        return re.sub(f"({re.escape(mark)} ?){{2,}}", lambda run: f"{mark} × {run[0].count(mark)}", shown)

    @property
    def image_token(self) -> int | None:
        """The id of the token where a model puts image features; None if its config does not name it."""
        return getattr(self.config, "image_token_id", getattr(self.config, "image_token_index", None))

    def fits(self, example: Example) -> bool:
        """Return whether an example, with each of its answers, fits into the context."""
        limit = self.text.limit
        return limit is None or all(len(row.tokens) <= limit for row, _ in self.encode_example(example))

    def errors(self, questions: Iterable[Question]) -> Iterator[KingyoError]:
        """Yield the errors of prompts that do not fit the context, or whose images cannot be used."""
        for question in questions:
            yield from errors_of(partial(self._check, question), question.inputs)

    def _check(self, question: Question, given: Any) -> None:
        prompt, rest = given if question.has_continuations else (given, "")
        prompt = as_image_prompt(prompt)
        row = self.encode(prompt._replace(text=prompt.text + rest)).tokens
        if prompt.images and self.image_token is not None and self.image_token not in row:
            expected = "the token that the processor writes for images"
            received = f"image_token_id {self.image_token}, not in the prompt {prompt.text[:60]!r}"
            remedy = "Copy config.json and the processor's files of the original model."
            raise KingyoError("config.json", expected, received, remedy)
        self.require_room([row], question.options.get("max_new_tokens", 0), [prompt])

    def require_room(self, rows: Sequence[Sequence[int]], new: int, prompts: Sequence[ImagePrompt]) -> None:
        """Check that prompts and ``new`` tokens fit into the context."""
        require_room(rows, new, self.text.limit, [prompt.text for prompt in prompts])

    def encode(self, prompt: ImagePrompt) -> Encoded:
        """Return the inputs of a prompt.

        Raises:
            ChangedSourceError: an image file has changed.
            KingyoError: the processor cannot use an image, or the text has another number of placeholders.
        """
        if prompt not in self._encoded:
            self._encoded[prompt] = self._encode(prompt)
        return self._encoded[prompt]

    def encode_pair(self, prompt: ImagePrompt, continuation: str) -> tuple[Encoded, int]:
        """Return the inputs of prompt + continuation, and the number of tokens of the continuation.

        Both are tokenized together, or separately if a token spans the boundary or the model tells tokens of
        answers from those of prompts. White space at the end of the prompt belongs to the continuation.
        """
        bare = prompt._replace(text=prompt.text.rstrip())
        return self._continued(bare, prompt.text[len(bare.text) :] + continuation)

    def encode_answer(self, prompt: ImagePrompt, answer: str) -> tuple[Encoded, int]:
        """Return the inputs of a prompt with an answer as ``generate`` writes it, and its number of tokens.

        The tokens of the prompt are those of ``encode``; an end token follows.
        """
        row, n = self._continued(prompt, answer)
        end = self.text.end
        if end is None or (n and row.tokens[-1] == end):
            return row, n
        types = {name: self._answer_types.get(name, each[-1]) for name, each in row.per_token.items()}
        per_token = {name: [*each, types[name]] for name, each in row.per_token.items()}
        return replace(row, tokens=[*row.tokens, end], per_token=per_token), n + 1

    def encode_example(self, example: Example) -> list[tuple[Encoded, int]]:
        """Return the inputs of an example's answer, then of its wrong choices, with numbers of tokens."""
        prompt = ImagePrompt(example.prompt, example.images)
        if example.others:
            return [self.encode_pair(prompt, each) for each in (example.answer, *example.others)]
        return [self.encode_answer(prompt, example.answer)]

    def _continued(self, prompt: ImagePrompt, rest: str) -> tuple[Encoded, int]:
        head = self.encode(prompt)
        if self._answer_types:
            return self._followed(head, rest)
        joined, n = self.encode(prompt._replace(text=prompt.text + rest)), len(head.tokens)
        if list(joined.tokens[:n]) == list(head.tokens):
            return joined, len(joined.tokens) - n
        return self._followed(head, rest)

    def _followed(self, head: Encoded, rest: str) -> tuple[Encoded, int]:
        tail = self.text.plain(rest)
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
    width = max(map(len, rows))
    return torch.tensor(
        [
            [value] * (width - len(row)) + list(row)
            if side == "left"
            else list(row) + [value] * (width - len(row))
            for row in rows
        ]
    )


def as_image_prompt(prompt: ImagePrompt | str) -> ImagePrompt:
    """Return a prompt, which may be a text without images."""
    return ImagePrompt(prompt) if isinstance(prompt, str) else prompt


def first_line(error: Exception) -> str:
    """Return the first line of an error's message."""
    return str(error).strip().split("\n", 1)[0][:300]

"""Read the prompts of items with images in place of a live model, to check them before a run."""

from __future__ import annotations

import re
from collections.abc import Sequence
from pathlib import Path
from typing import Any, Never, Self, cast

from kingyo.errors import KingyoError
from kingyo.models.image_cost import image_cost, image_token
from kingyo.models.image_prompts import PromptProcessor
from kingyo.models.kinds.image_cost import ImageCost
from kingyo.models.kinds.kind import AllRead, Config
from kingyo.models.loading import context, load_config
from kingyo.models.tokens import require_room
from kingyo.types import GREEDY, Decoding, ImagePrompt, Media


class ImagePromptReader:
    """Reads prompts and images in place of a live model, and raises AllRead."""

    def __init__(self, processor: PromptProcessor, config: Any) -> None:
        self._processor = processor
        self._config = config
        text_config = config.get_text_config()
        self._limit = context(text_config)
        self.prompts: list[ImagePrompt] = []
        """The prompts read so far, in order, without continuations."""
        self.text_config = cast("Config", text_config.to_dict())
        """The config of the language part."""

    @classmethod
    def load(cls, path: Path) -> Self:
        """Load the processor and the config of a checkpoint's folder, without weights."""
        return cls(PromptProcessor.load(path, remote_code=False), load_config(path))

    def n_tokens(self, prompt: ImagePrompt) -> int:
        """Return the number of tokens of a prompt, with those of its images."""
        return len(self._processor.encode(prompt).tokens)

    def shown(self, prompt: ImagePrompt) -> str:
        """Return a prompt as a model reads it, with special tokens; those of an image are counted."""
        text, token = self._processor.text, image_token(self._config)
        shown = text.shown(self._processor.encode(prompt).tokens)
        if token is None:
            return shown
        mark = text.shown([token])
        return re.sub(f"({re.escape(mark)} ?){{2,}}", lambda run: f"{mark} × {run[0].count(mark)}", shown)

    def image_cost(self, prompts: Sequence[ImagePrompt], width: int) -> ImageCost | None:
        """Return the mean cost of the images of prompts; see ``kingyo.models.image_cost``."""
        return image_cost(self._processor, self._config, prompts, width)

    def image_prompt(self, message: str, images: Sequence[Media], *, chat: bool) -> ImagePrompt:
        """Return a prompt that shows images before a message."""
        return self._processor.prompt(message, images, chat=chat)

    def chat_prompt(self, message: str) -> str:
        """Apply the chat template to a user message without images."""
        return self._processor.prompt(message, (), chat=True).text

    def write_about(
        self,
        prompts: Sequence[ImagePrompt],
        *,
        max_new_tokens: int,
        stop: Sequence[str] = (),  # noqa: ARG002 (part of the protocol)
        decoding: Decoding = GREEDY,  # noqa: ARG002
    ) -> Never:
        """Read the prompts.

        Raises:
            KingyoError: a prompt does not fit the context, or an image cannot be used.
            AllRead: otherwise.
        """
        self.prompts += prompts
        self._read(prompts, max_new_tokens)

    def log_likelihood_about(self, pairs: Sequence[tuple[ImagePrompt, str]]) -> Never:
        """Read prompts with their continuations; raise like ``write_about``."""
        self.prompts += [prompt for prompt, _ in pairs]
        self._read([prompt._replace(text=prompt.text + continuation) for prompt, continuation in pairs], 0)

    def generate(self, prompts: Sequence[str], *, max_new_tokens: int, stop: Sequence[str] = ()) -> Never:
        """Read texts; raise like ``write_about``."""
        self.write_about([ImagePrompt(each) for each in prompts], max_new_tokens=max_new_tokens, stop=stop)

    write = generate

    def log_likelihood(self, pairs: Sequence[tuple[str, str]]) -> Never:
        """Read texts with their continuations; raise like ``write_about``."""
        self.log_likelihood_about([(ImagePrompt(prompt), text) for prompt, text in pairs])

    def _read(self, prompts: Sequence[ImagePrompt], new: int) -> Never:
        rows = [self._processor.encode(prompt).tokens for prompt in prompts]
        for prompt, row in zip(prompts, rows, strict=True):
            self._require_image_tokens(prompt, row)
        require_room(rows, new, self._limit, [prompt.text for prompt in prompts])
        raise AllRead

    def _require_image_tokens(self, prompt: ImagePrompt, row: Sequence[int]) -> None:
        token = image_token(self._config)
        if prompt.images and token is not None and token not in row:
            raise KingyoError(
                "config.json",
                expected="the token that the processor writes for images",
                received=f"image_token_id {token}, which is not in the prompt {prompt.text[:60]!r}",
                remedy="Copy config.json and the processor's files of the original model.",
            )

"""A stand-in for a language model that only tokenizes prompts, to check that they fit."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Never, Self

from kingyo.models.kinds.kind import AllRead
from kingyo.models.loading import load_context, load_tokenizer
from kingyo.models.tokens import Text, require_room


class PromptReader:
    """Tokenizes prompts in place of a live model, and raises AllRead.

    Args:
        text: the model's tokenizer.
        context: the model's context length in tokens; None means no limit.
    """

    def __init__(self, text: Text, context: int | None) -> None:
        self._text = text
        self._context = context
        self.prompts: list[str] = []
        """The prompts read so far, in order, without continuations."""

    @classmethod
    def load(cls, path: Path) -> Self:
        """Load the tokenizer and the config of a checkpoint's folder, without weights."""
        return cls(Text(load_tokenizer(path, remote_code=False)), load_context(path))

    def generate(self, prompts: Sequence[str], *, max_new_tokens: int, stop: Sequence[str] = ()) -> Never:  # noqa: ARG002 (part of the protocol)
        """Read the prompts.

        Raises:
            KingyoError: a prompt does not fit the context, or the tokenizer returns no tokens for it.
            AllRead: otherwise.
        """
        self.prompts += prompts
        rows = [self._text.encode(prompt) for prompt in prompts]
        require_room(rows, max_new_tokens, self._context, prompts)
        raise AllRead

    def write(self, prompts: Sequence[str], *, max_new_tokens: int, stop: Sequence[str] = ()) -> Never:
        """Read the prompts, as ``generate`` does."""
        self.generate(prompts, max_new_tokens=max_new_tokens, stop=stop)

    def log_likelihood(self, pairs: Sequence[tuple[str, str]]) -> Never:
        """Read prompts with their continuations; raise like ``generate``."""
        self.prompts += [prompt for prompt, _ in pairs]
        split = [self._text.encode_pair(prompt, continuation) for prompt, continuation in pairs]
        require_room([head + tail for head, tail in split], 0, self._context, [pair[0] for pair in pairs])
        raise AllRead

    def chat_prompt(self, message: str) -> str:
        """Apply the model's chat template to a message."""
        return self._text.chat(message)

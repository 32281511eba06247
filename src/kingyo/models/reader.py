"""A model that reads prompts and answers none: whether they fit is known before anything is computed."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Never, Self

from kingyo.models.kinds import AllRead
from kingyo.models.loading import load_context, load_tokenizer
from kingyo.models.text import Text, require_room


class PromptReader:
    """Stands where a live model would, tokenizes what it is asked, and stops there.

    Args:
        text: the model's tokenizer.
        context: the most tokens that the model can see; None when it names no bound.
    """

    def __init__(self, text: Text, context: int | None) -> None:
        self._text = text
        self._context = context
        self.prompts: list[str] = []
        """What it has read, in order; of prompts with continuations the prompts alone."""

    @classmethod
    def load(cls, path: Path) -> Self:
        """Read tokenizer and config of a checkpoint's folder; no weights."""
        return cls(Text(load_tokenizer(path, remote_code=False)), load_context(path))

    def generate(self, prompts: Sequence[str], *, max_new_tokens: int, stop: Sequence[str] = ()) -> Never:  # noqa: ARG002 (of the protocol)
        """Read the prompts.

        Raises:
            KingyoError: one does not fit the context, or the tokenizer knows nothing of it.
            AllRead: all is well.
        """
        self.prompts += prompts
        rows = [self._text.encode(prompt) for prompt in prompts]
        require_room(rows, max_new_tokens, self._context, prompts)
        raise AllRead

    def write(self, prompts: Sequence[str], *, max_new_tokens: int, stop: Sequence[str] = ()) -> Never:
        """Read the prompts, as ``generate`` does."""
        self.generate(prompts, max_new_tokens=max_new_tokens, stop=stop)

    def log_likelihood(self, pairs: Sequence[tuple[str, str]]) -> Never:
        """Read prompts with their continuations; raises as ``generate`` does."""
        self.prompts += [prompt for prompt, _ in pairs]
        split = [self._text.encode_pair(prompt, continuation) for prompt, continuation in pairs]
        require_room([head + tail for head, tail in split], 0, self._context, [pair[0] for pair in pairs])
        raise AllRead

    def chat_prompt(self, message: str) -> str:
        """Wrap a message as the model would."""
        return self._text.chat(message)

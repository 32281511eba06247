"""Check before a run that a pipeline accepts the task's settings, and reads all tokens of each prompt."""

from __future__ import annotations

import inspect
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Never, Self, cast

from kingyo.errors import KingyoError
from kingyo.models.kinds.kind import AllRead
from kingyo.models.loading import load_tokenizer
from kingyo.models.pipeline_arguments import call_arguments
from kingyo.models.pipeline_loading import absent_components, pipeline_around, pipeline_class
from kingyo.models.pipeline_schedulers import load_scheduler, rehearse
from kingyo.types import Drawing, DrawingPrompt

_LENGTH = "max_sequence_length"


@dataclass(frozen=True, kw_only=True)
class PromptLengths:
    """Reads prompts in place of a live pipeline, and raises AllRead.

    Attributes:
        kind: class of the pipeline.
        scheduler: that of the pipeline.
        tokenizers: those of the pipeline.
        longest: default of ``max_sequence_length``, the limit of encoders other than CLIP; None if the
            pipeline has no such argument.
    """

    kind: Any
    scheduler: Any
    tokenizers: Sequence[Any]
    longest: int | None

    @classmethod
    def load(cls, path: Path) -> Self:
        """Load the scheduler and the tokenizers of the pipeline around a denoiser.

        Raises:
            KingyoError: they cannot be loaded, or the pipeline lacks a component.
        """
        root = pipeline_around(path)
        kind = pipeline_class(root)
        absent_components(root)
        folders = sorted(each for each in root.glob("tokenizer*") if each.is_dir())
        tokenizers = [load_tokenizer(each, remote_code=False) for each in folders]
        length = inspect.signature(kind.__call__).parameters.get(_LENGTH)
        longest = None if length is None else length.default
        return cls(kind=kind, scheduler=load_scheduler(root), tokenizers=tokenizers, longest=longest)

    def draw(self, prompts: Sequence[DrawingPrompt], drawing: Drawing) -> Never:
        """Check the settings, and read the prompts.

        Raises:
            KingyoError: the pipeline or its scheduler does not accept a setting; or all text encoders would
                cut a prompt, and ``drawing.truncate`` is false.
            AllRead: otherwise.
        """
        call_arguments(self.kind, drawing)
        rehearse(self.scheduler, drawing.scheduler, drawing.steps)
        texts = dict.fromkeys([*(each.text for each in prompts), drawing.negative_prompt])
        limits = [self._limit(each, drawing) for each in self.tokenizers]
        for text in () if drawing.truncate else texts:
            self._require_uncut(text, limits)
        raise AllRead

    def _require_uncut(self, text: str, limits: Sequence[int]) -> None:
        """Check that at least one text encoder reads all tokens of a text."""
        tokens = [cast("list[int]", each(text, verbose=False)["input_ids"]) for each in self.tokenizers]
        over = [len(own) - limit for own, limit in zip(tokens, limits, strict=True)]
        if not over or min(over) <= 0:
            return
        place = over.index(min(over))
        ends = self.tokenizers[place]("")["input_ids"]  # start and end of every text
        last = len(tokens[place]) - len(ends[1:])
        cut = self.tokenizers[place].decode(tokens[place][last - over[place] : last])
        raise KingyoError(
            f"prompt {text[:80]!r}",
            expected=f"at most {limits[place]} tokens, which the text encoder reads",
            received=f"{len(tokens[place])} tokens; {cut[:120]!r} would be cut",
            remedy="Shorten the prompt, or set truncate: true.",
        )

    def _limit(self, tokenizer: Any, drawing: Drawing) -> int:
        """Return the number of tokens that the encoder of a tokenizer reads."""
        own, given = int(tokenizer.model_max_length), drawing.arguments.get(_LENGTH, self.longest)
        is_clip = type(tokenizer).__name__.startswith("CLIP")
        return own if is_clip or not isinstance(given, int) else min(own, given)

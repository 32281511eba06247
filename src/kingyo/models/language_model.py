"""A live language model: built once from a checkpoint; candidates overwrite its weights in place.

It implements ``kingyo.types.LanguageModel``. ``PromptReader`` replaces it before a run, to check prompts.
"""

from __future__ import annotations

from collections.abc import Collection, Iterable, Mapping, Sequence
from functools import partial
from pathlib import Path
from types import MappingProxyType
from typing import Generic, Never, Protocol, Self, TypeVar, cast

import torch
from torch import Tensor
from transformers import PreTrainedModel

from kingyo.models.answer_count import AnswerCount
from kingyo.models.decoding import Forward, decode, require_numbers
from kingyo.models.examples import Totals, as_row, fits, gradients, loss_of, parts, tokens_at_once
from kingyo.models.kinds.kind import AllRead, LoadOptions
from kingyo.models.loading import context, live_weights, load_config, load_model, load_tokenizer
from kingyo.models.path import Layers
from kingyo.models.tokens import Stop, Text, by_length, require_room
from kingyo.recipe import Hop
from kingyo.types import Example, Progress, TakeGradient, Written, ignore_progress


class LiveModel:
    """A causal language model whose weights can be overwritten in place.

    Decoding is greedy and deterministic: the same weights and prompts in the same order give the same texts
    in any process with the same libraries and number of threads. The checkpoint's sampling settings are
    ignored.

    Build it with :meth:`load`.
    """

    def __init__(
        self, model: PreTrainedModel, text: Text, weights: Mapping[str, Tensor], *, batch_size: int
    ) -> None:
        self._model = model
        self._text = text
        self._weights = MappingProxyType(dict(weights))
        self._batch_size = batch_size
        self._forward = Forward(model)
        self.progress: Progress = ignore_progress

    @classmethod
    def load(cls, path: Path, options: LoadOptions | None = None) -> Self:
        """Build a model from a folder with config.json, safetensors and a tokenizer."""
        options = options or LoadOptions()
        model = load_model(path, options)
        text = Text(load_tokenizer(path, remote_code=options.remote_code), end_tokens(model))
        return cls(model, text, live_weights(model, path), batch_size=options.batch_size)

    @property
    def module(self) -> PreTrainedModel:
        """The model of transformers."""
        return self._model

    @property
    def weights(self) -> Mapping[str, Tensor]:
        """The live tensors by their names in the checkpoint; writing into one changes the model.

        A tied output layer appears once, under the embedding's name. No tensor requires a gradient.
        """
        return self._weights

    def generate(self, prompts: Sequence[str], *, max_new_tokens: int, stop: Sequence[str] = ()) -> list[str]:
        """Return a greedy continuation of each prompt, up to the first stop string; see ``write``."""
        return [each.text for each in self.write(prompts, max_new_tokens=max_new_tokens, stop=stop)]

    @torch.inference_mode()
    def write(
        self, prompts: Sequence[str], *, max_new_tokens: int, stop: Sequence[str] = ()
    ) -> list[Written]:
        """Return a greedy continuation of each prompt, and whether the token limit cut it."""
        rows = [self._text.encode(prompt) for prompt in prompts]
        require_room(rows, max_new_tokens, context(self._model.config), prompts)
        stopper = Stop(self._text, stop)
        texts = [Written("", is_cut=False)] * len(rows)
        count = AnswerCount(len(rows), self.progress)
        ended = count.ends(stopper.ended)
        for batch in count.batches(by_length(rows, self._batch_size)):
            tokens, mask = self.pad([rows[position] for position in batch])
            new = decode(self._forward, tokens, mask, limit=max_new_tokens, ended=ended)
            for position, answer in zip(batch, new, strict=True):
                is_cut = len(answer) == max_new_tokens and not stopper.ended(answer)
                texts[position] = Written(stopper.cut(answer), is_cut)
        return texts

    @torch.inference_mode()
    def log_likelihood(self, pairs: Sequence[tuple[str, str]]) -> list[float]:
        """Return log p(continuation | prompt) in nats, summed over the continuation's tokens.

        Prompt and continuation are tokenized together and split at their boundary; if a token spans it, they
        are tokenized separately. White space at the end of a prompt belongs to the continuation.
        """
        split = [self._text.encode_pair(prompt, continuation) for prompt, continuation in pairs]
        rows = [head + tail for head, tail in split]
        require_room(rows, 0, context(self._model.config), [prompt for prompt, _ in pairs])
        totals = [0.0] * len(rows)
        for batch in AnswerCount(len(rows), self.progress).batches(by_length(rows, self._batch_size)):
            tokens, mask = self.pad([rows[position] for position in batch])
            lengths = [len(split[position][1]) for position in batch]
            for position, total in zip(batch, self._sums(tokens, mask, lengths), strict=True):
                totals[position] = total
        return totals

    def loss_gradients(
        self, examples: Sequence[Example], names: Collection[str], take: TakeGradient
    ) -> float:
        """Return the loss of examples; pass its derivatives by named weights that it depends on to ``take``.

        The loss is the mean −log p per token of free text, plus the mean −log p of the right choices.
        """
        rows = [as_row(self._text, example, context(self._model.config)) for example in examples]
        totals = Totals.of(examples, [len(row.answers[0]) for row in rows])
        lengths = [sum(map(len, (*row.prompts, *row.answers))) for row in rows]
        losses = (
            partial(loss_of, self._forward, self._text, rows[part], self._model.device, totals)
            for part in parts(lengths, tokens_at_once(self._model))
        )
        return gradients(losses, self._model, self._weights, names, take)

    def fits(self, example: Example) -> bool:
        """Return whether an example fits into the context."""
        return fits(self._text, example, context(self._model.config))

    @property
    def dtype(self) -> str:
        """The dtype of the computation, such as ``float32``."""
        return str(self._model.dtype).removeprefix("torch.")

    @property
    def batch_size(self) -> int:
        """Number of prompts per batch."""
        return self._batch_size

    def tokens(self, prompts: Sequence[str]) -> list[list[int]]:
        """Return the tokens of each prompt, as ``generate`` uses them."""
        rows = [self._text.encode(prompt) for prompt in prompts]
        require_room(rows, 0, context(self._model.config), prompts)
        return rows

    def pad(self, rows: Sequence[Sequence[int]]) -> tuple[Tensor, Tensor]:
        """Return the tokens and the mask of a batch, int64 [rows, longest], on the model's device."""
        return self._text.pad(rows, self._model.device)

    def chat_prompt(self, message: str) -> str:
        """Apply the chat template to a user message, up to the start of the answer."""
        return self._text.chat(message)

    def _sums(self, tokens: Tensor, mask: Tensor, lengths: Sequence[int]) -> list[float]:
        """Sum the log-probabilities of the last ``lengths[row]`` tokens of each row."""
        keep = max(lengths)
        if keep == 0:
            return [0.0] * len(lengths)
        logits, _ = self._forward(tokens, mask, None, keep=keep + 1)
        logs = torch.log_softmax(logits[:, :-1].float(), dim=-1)
        each = logs.gather(-1, tokens[:, -keep:, None]).squeeze(-1)
        places = torch.arange(keep, 0, -1, device=tokens.device)
        counted = places <= torch.tensor(lengths, device=tokens.device)[:, None]
        sums = each.double().where(counted, 0.0).sum(dim=-1)
        require_numbers(sums)
        return [float(total) for total in sums]


class HasModule(Protocol):
    """A live model that is a model of transformers."""

    @property
    def module(self) -> PreTrainedModel:
        """The model of transformers."""
        ...


M = TypeVar("M", bound=HasModule)


class PathModels(Generic[M]):
    """Live models whose layers can run in any order; see ``kingyo.models.path``.

    Args:
        models: models by name. They share their layers, so only the model returned last is valid.
    """

    def __init__(self, models: Mapping[str, M]) -> None:
        self._models = dict(models)
        self._layers = Layers({name: each.module for name, each in models.items()})

    def follow(self, path: Sequence[Hop], frame: str) -> M:
        """Return the frame with the layers of a path; see ``Layers.follow``."""
        self._layers.follow(path, frame)
        return self._models[frame]

    def whole(self, name: str) -> M:
        """Return a model with its own layers."""
        self._layers.restore(name)
        return self._models[name]


class PromptReader:
    """Tokenizes prompts in place of a live model, and raises AllRead."""

    def __init__(self, text: Text, context: int | None) -> None:
        self._text = text
        self._context = context
        self.prompts: list[str] = []
        """The prompts read so far, in order, without continuations."""

    @classmethod
    def load(cls, path: Path) -> Self:
        """Load the tokenizer and the config of a checkpoint's folder, without weights."""
        return cls(Text(load_tokenizer(path, remote_code=False)), context(load_config(path)))

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

    def fits(self, example: Example) -> bool:
        """Return whether an example fits into the context."""
        return fits(self._text, example, self._context)

    def chat_prompt(self, message: str) -> str:
        """Apply the model's chat template to a message."""
        return self._text.chat(message)

    def shown(self, prompt: str) -> str:
        """Return a prompt as a model reads it, with special tokens."""
        return self._text.shown(self._text.encode(prompt))


def end_tokens(model: PreTrainedModel) -> Iterable[int]:
    """Yield the end tokens in the checkpoint's generation config and config."""
    for config in (model.generation_config, model.config):
        ends = cast("int | list[int] | None", getattr(config, "eos_token_id", None))
        if ends is not None:
            yield from [ends] if isinstance(ends, int) else ends

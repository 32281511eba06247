"""Live language models: built once from a checkpoint; candidates overwrite their weights in place."""

from collections.abc import Collection, Mapping, Sequence
from functools import partial
from pathlib import Path
from types import MappingProxyType
from typing import Any, Self

import torch
from torch import Tensor
from transformers import PreTrainedModel

from kingyo.core.types import Example, Progress, TakeGradient, Written, ignore_progress
from kingyo.models.decoding import Forward, decode, reported, require_numbers
from kingyo.models.kinds import LoadOptions
from kingyo.models.loading import context, end_tokens, live_weights, load_config, load_model, load_tokenizer
from kingyo.models.tokens import Stop, Text, by_length, encode_examples, require_room
from kingyo.models.training import Totals, gradients, loss_of, parts, tokens_at_once


def load_text(path: Path) -> Text:
    """Load the tokenizer of a checkpoint and the length of its context, without weights."""
    return Text(load_tokenizer(path, remote_code=False), limit=context(load_config(path)))


class LiveDecoder:
    """A model of transformers that writes text; the base of models that read only text and that also see.

    Decoding is deterministic: the same weights and prompts in the same order give the same texts in any
    process with the same libraries and number of threads. The checkpoint's sampling settings are ignored.

    Args:
        model: of transformers.
        weights: its live tensors by their names in the checkpoint.
        batch_size: number of prompts in a batch.
        reader: turns prompts and examples into tokens: ``Text``, or ``PromptProcessor``.
    """

    def __init__(
        self, model: PreTrainedModel, weights: Mapping[str, Tensor], batch_size: int, reader: Any
    ) -> None:
        self.module = model
        self.weights: Mapping[str, Tensor] = MappingProxyType(dict(weights))
        self.batch_size = batch_size
        self.progress: Progress = ignore_progress
        self.chat_prompt = reader.chat_prompt
        self.fits = reader.fits
        self._reader = reader

    @property
    def dtype(self) -> str:
        return str(self.module.dtype).removeprefix("torch.")

    def generate(self, prompts: Sequence[str], *, max_new_tokens: int, stop: Sequence[str] = ()) -> list[str]:
        return [each.text for each in self.write(prompts, max_new_tokens=max_new_tokens, stop=stop)]

    def write(
        self, prompts: Sequence[str], *, max_new_tokens: int, stop: Sequence[str] = ()
    ) -> list[Written]:
        """Return a greedy continuation of each prompt, and whether the token limit cut it."""
        raise NotImplementedError

    def loss_gradients(
        self, examples: Sequence[Example], names: Collection[str], take: TakeGradient
    ) -> float:
        """Return the loss of examples; pass its derivatives by named weights that it depends on to ``take``.

        The loss is the mean −log p per token of free text, plus the mean −log p of the right choices.
        """
        encoded = encode_examples(self._reader, examples)
        totals = Totals.of(examples, [own[0][1] for own in encoded])
        lengths = [sum(len(row) for row, _ in own) for own in encoded]
        losses = (
            partial(self._loss, examples[part], encoded[part], totals)
            for part in parts(lengths, tokens_at_once(self.module))
        )
        return gradients(losses, self.module, self.weights, names, take)

    def _loss(
        self, examples: Sequence[Example], encoded: Sequence[Sequence[tuple[Any, int]]], totals: Totals
    ) -> Tensor:
        raise NotImplementedError


class LiveModel(LiveDecoder):
    """A causal language model whose weights can be overwritten in place; build it with :meth:`load`."""

    def __init__(
        self, model: PreTrainedModel, text: Text, weights: Mapping[str, Tensor], *, batch_size: int
    ) -> None:
        super().__init__(model, weights, batch_size, text)
        self._text = text
        self._forward = Forward(model)

    @classmethod
    def load(cls, path: Path, options: LoadOptions | None = None) -> Self:
        options = options or LoadOptions()
        model = load_model(path, options)
        tokenizer = load_tokenizer(path, remote_code=options.remote_code)
        text = Text(tokenizer, end_tokens(model), context(model.config))
        return cls(model, text, live_weights(model, path), batch_size=options.batch_size)

    @torch.inference_mode()
    def write(
        self, prompts: Sequence[str], *, max_new_tokens: int, stop: Sequence[str] = ()
    ) -> list[Written]:
        rows = self.tokens(prompts, max_new_tokens)
        stopper = Stop(self._text, stop)
        texts = [Written("", is_cut=False)] * len(rows)
        for batch in reported(by_length(rows, self.batch_size), len(rows), self.progress):
            tokens, mask = self.pad([rows[position] for position in batch])
            new = decode(self._forward, tokens, mask, limit=max_new_tokens, ended=stopper.ended)
            for position, answer in zip(batch, new, strict=True):
                is_cut = len(answer) == max_new_tokens and not stopper.ended(answer)
                texts[position] = Written(stopper.cut(answer), is_cut)
        return texts

    @torch.inference_mode()
    def log_likelihood(self, pairs: Sequence[tuple[str, str]]) -> list[float]:
        """Return log p(continuation | prompt) in nats, summed over the continuation's tokens.

        They are tokenized as by ``Text.encode_pair``.
        """
        split = [self._text.encode_pair(prompt, continuation) for prompt, continuation in pairs]
        rows = [head + tail for head, tail in split]
        require_room(rows, 0, self._text.limit, [prompt for prompt, _ in pairs])
        totals = [0.0] * len(rows)
        for batch in reported(by_length(rows, self.batch_size), len(rows), self.progress):
            tokens, mask = self.pad([rows[position] for position in batch])
            lengths = [len(split[position][1]) for position in batch]
            for position, total in zip(batch, self._sums(tokens, mask, lengths), strict=True):
                totals[position] = total
        return totals

    def _loss(
        self, examples: Sequence[Example], encoded: Sequence[Sequence[tuple[Any, int]]], totals: Totals
    ) -> Tensor:
        return loss_of(self._forward, self._text, examples, encoded, self.module.device, totals)

    def tokens(self, prompts: Sequence[str], new: int = 0) -> list[list[int]]:
        """Return the tokens of each prompt after checking that ``new`` more fit into the context."""
        rows = [self._text.encode(prompt) for prompt in prompts]
        require_room(rows, new, self._text.limit, prompts)
        return rows

    def pad(self, rows: Sequence[Sequence[int]]) -> tuple[Tensor, Tensor]:
        """Return the tokens and the mask of a batch, int64 [rows, longest], on the model's device."""
        return self._text.pad(rows, self.module.device)

    def _sums(self, tokens: Tensor, mask: Tensor, lengths: Sequence[int]) -> list[float]:
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

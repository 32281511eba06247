"""A live language model: built once from a checkpoint; candidates overwrite its weights in place.

It implements ``kingyo.core.types.LanguageModel``.
"""

from __future__ import annotations

from collections.abc import Collection, Mapping, Sequence
from functools import partial
from pathlib import Path
from types import MappingProxyType
from typing import Self

import torch
from torch import Tensor
from transformers import PreTrainedModel

from kingyo.core.types import Example, Progress, TakeGradient, Written, ignore_progress
from kingyo.models.decoding import AnswerCount, Forward, decode, require_numbers
from kingyo.models.kinds.kind import LoadOptions
from kingyo.models.loading import context, end_tokens, live_weights, load_config, load_model, load_tokenizer
from kingyo.models.tokens import Stop, Text, by_length, require_room
from kingyo.models.training import Totals, as_row, gradients, loss_of, parts, tokens_at_once


def load_text(path: Path) -> Text:
    """Load the tokenizer of a checkpoint and the length of its context, without weights."""
    return Text(load_tokenizer(path, remote_code=False), limit=context(load_config(path)))


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
        self.module = model
        self.weights: Mapping[str, Tensor] = MappingProxyType(dict(weights))
        self.batch_size = batch_size
        self.progress: Progress = ignore_progress
        self.chat_prompt = text.chat_prompt
        self.fits = text.fits
        self._text = text
        self._forward = Forward(model)

    @classmethod
    def load(cls, path: Path, options: LoadOptions | None = None) -> Self:
        """Build a model from a folder with config.json, safetensors and a tokenizer."""
        options = options or LoadOptions()
        model = load_model(path, options)
        tokenizer = load_tokenizer(path, remote_code=options.remote_code)
        text = Text(tokenizer, end_tokens(model), context(model.config))
        return cls(model, text, live_weights(model, path), batch_size=options.batch_size)

    @property
    def dtype(self) -> str:
        return str(self.module.dtype).removeprefix("torch.")

    def generate(self, prompts: Sequence[str], *, max_new_tokens: int, stop: Sequence[str] = ()) -> list[str]:
        """Return a greedy continuation of each prompt, up to the first stop string; see ``write``."""
        return [each.text for each in self.write(prompts, max_new_tokens=max_new_tokens, stop=stop)]

    @torch.inference_mode()
    def write(
        self, prompts: Sequence[str], *, max_new_tokens: int, stop: Sequence[str] = ()
    ) -> list[Written]:
        """Return a greedy continuation of each prompt, and whether the token limit cut it."""
        rows = self.tokens(prompts, max_new_tokens)
        stopper = Stop(self._text, stop)
        texts = [Written("", is_cut=False)] * len(rows)
        count = AnswerCount(len(rows), self.progress)
        ended = count.ends(stopper.ended)
        for batch in count.batches(by_length(rows, self.batch_size)):
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
        require_room(rows, 0, self._text.limit, [prompt for prompt, _ in pairs])
        totals = [0.0] * len(rows)
        for batch in AnswerCount(len(rows), self.progress).batches(by_length(rows, self.batch_size)):
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
        rows = [as_row(self._text, example) for example in examples]
        totals = Totals.of(examples, [len(row.answers[0]) for row in rows])
        lengths = [sum(map(len, (*row.prompts, *row.answers))) for row in rows]
        losses = (
            partial(loss_of, self._forward, self._text, rows[part], self.module.device, totals)
            for part in parts(lengths, tokens_at_once(self.module))
        )
        return gradients(losses, self.module, self.weights, names, take)

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

"""A live vision-language model: built once from a checkpoint; candidates overwrite its weights in place.

Image features depend only on the vision part. They are kept until its weights change, so that a candidate
that shares the vision part costs only its language part. Prompts are read by the model's own processor and
answered by transformers' ``generate``, so that every architecture keeps its own placeholders and positions.
"""

import inspect
from collections.abc import Callable, Iterator, Mapping, Sequence
from functools import partial
from pathlib import Path
from typing import Any, Literal, Self, cast

import torch
from torch import Tensor
from transformers import AutoModelForImageTextToText, GenerationConfig, PreTrainedModel

from kingyo.core.types import GREEDY, Decoding, Example, ImagePrompt, Written
from kingyo.models.decoding import reported, require_numbers
from kingyo.models.image_features import ImageFeatures, parts_fit
from kingyo.models.image_prompts import Encoded, PromptProcessor, as_image_prompt
from kingyo.models.kinds import LoadOptions
from kingyo.models.language_model import LiveDecoder
from kingyo.models.loading import end_tokens, live_weights, load_model
from kingyo.models.tokens import Stop, by_length, require_room
from kingyo.models.training import Totals, mean_loss, widened


class LiveVisionLanguageModel(LiveDecoder):
    """A vision-language model whose weights can be overwritten in place.

    Decoding is greedy or by beams. The checkpoint's sampling settings are ignored; other settings of its
    ``generation_config.json`` apply, such as ``no_repeat_ngram_size``.
    """

    def __init__(
        self,
        model: PreTrainedModel,
        processor: PromptProcessor,
        weights: Mapping[str, Tensor],
        options: LoadOptions,
    ) -> None:
        super().__init__(model, weights, options.batch_size, processor)
        self.image_prompt = processor.image_prompt
        self._model = cast("Any", model)
        self._processor = processor
        self._features = ImageFeatures(model, processor, options.scratch)
        self._accepted = set(inspect.signature(model.forward).parameters)

    @classmethod
    def load(cls, path: Path, options: LoadOptions | None = None) -> Self:
        options = options or LoadOptions()
        model = load_model(path, options, AutoModelForImageTextToText)
        ends, code = end_tokens(model), options.remote_code
        processor = PromptProcessor.load(path, model.config, ends, remote_code=code)
        return cls(model, processor, live_weights(model, path), options)

    @property
    def n_encoded(self) -> int:
        return self._features.n_encoded

    @property
    def kept_bytes(self) -> int:
        return self._features.kept.n_bytes + self._features.kept.n_file_bytes

    def write(
        self, prompts: Sequence[str], *, max_new_tokens: int, stop: Sequence[str] = ()
    ) -> list[Written]:
        about = [ImagePrompt(each) for each in prompts]
        return self.write_about(about, max_new_tokens=max_new_tokens, stop=stop)

    def log_likelihood(self, pairs: Sequence[tuple[str, str]]) -> list[float]:
        return self.log_likelihood_about([(ImagePrompt(prompt), text) for prompt, text in pairs])

    @torch.inference_mode()
    def write_about(
        self,
        prompts: Sequence[ImagePrompt],
        *,
        max_new_tokens: int,
        stop: Sequence[str] = (),
        decoding: Decoding = GREEDY,
    ) -> list[Written]:
        """Return a continuation of each prompt, and whether the token limit cut it."""
        rows = self.encode(prompts, max_new_tokens)
        stopper = Stop(self._processor.text, stop)
        answers = [Written("", is_cut=False)] * len(rows)
        for batch, inputs in self.batches(rows):
            start = inputs["input_ids"].shape[1]
            with parts_fit():
                new = self._model.generate(
                    **inputs,
                    generation_config=self._settings(max_new_tokens, decoding),
                    stopping_criteria=[partial(_have_ended, stopper.ended, start)],
                    logits_processor=[_require_numbers],
                )
            for position, tokens in zip(batch, new[:, start:].tolist(), strict=True):
                answer = _until(tokens, stopper.ended)
                is_cut = len(answer) == max_new_tokens and not stopper.ended(answer)
                answers[position] = Written(stopper.cut(answer), is_cut)
        return answers

    @torch.inference_mode()
    def log_likelihood_about(self, pairs: Sequence[tuple[ImagePrompt, str]]) -> list[float]:
        """Return log p(continuation | prompt) in nats, summed over the continuation's tokens."""
        joined = [self._processor.encode_pair(prompt, text) for prompt, text in pairs]
        rows = self._with_room([row for row, _ in joined], 0)
        totals = [0.0] * len(rows)
        for batch, inputs in self.batches(rows, side="right"):  # positions count from the first token
            with parts_fit():
                logits = cast("Tensor", self._model(**inputs, use_cache=False).logits)
            for place, position in enumerate(batch):
                tokens, n_tail = rows[position].tokens, joined[position][1]
                total = _logs_of_tail(logits[place], tokens, n_tail).double().sum()
                require_numbers(total)
                totals[position] = float(total)
        return totals

    def _loss(
        self, examples: Sequence[Example], encoded: Sequence[Sequence[tuple[Encoded, int]]], totals: Totals
    ) -> Tensor:
        pairs = [pair for own in encoded for pair in own]
        rows, lengths = [row for row, _ in pairs], [n for _, n in pairs]
        first = min(len(row) - n for row, n in pairs) - 1  # its logits are of the first answer
        ((batch, inputs),) = self.batches(rows, side="right", batch_size=len(rows))
        keep = inputs["input_ids"].shape[1] - first
        if "logits_to_keep" in self._accepted:
            inputs["logits_to_keep"] = keep
        with parts_fit():
            logits = cast("Tensor", self._model(**inputs, use_cache=False).logits)[:, -keep:]
        sums = {
            position: _logs_of_tail(logits[place], rows[position].tokens[first:], lengths[position]).sum()
            for place, position in enumerate(batch)
        }
        return mean_loss(torch.stack([sums[position] for position in range(len(rows))]), examples, totals)

    def encode(self, prompts: Sequence[ImagePrompt | str], new: int = 0) -> list[Encoded]:
        """Return the inputs of prompts after checking that they and ``new`` tokens fit the context."""
        return self._with_room([self._processor.encode(as_image_prompt(each)) for each in prompts], new)

    def _with_room(self, rows: list[Encoded], new: int) -> list[Encoded]:
        require_room(rows, new, self._processor.limit, [row.prompt.text for row in rows])
        return rows

    def batches(
        self,
        rows: Sequence[Encoded],
        side: Literal["left", "right"] = "left",
        batch_size: int | None = None,
    ) -> Iterator[tuple[list[int], dict[str, Any]]]:
        """Yield batches of rows with the arguments of a forward pass, longest rows first."""
        self._features.forget_if_changed()
        batches = by_length(rows, batch_size or self.batch_size)
        for batch in reported(batches, len(rows), self.progress):
            chosen = [rows[position] for position in batch]
            padded = self._processor.pad(chosen, self._model.device, side)
            inputs: dict[str, Any] = {name: each for name, each in padded.items() if name in self._accepted}
            with_images = [row for row in chosen if row.prompt.images]
            if with_images:
                inputs["mm_encoder_outputs"] = {"image": self._features(with_images)}
            yield batch, inputs

    def _settings(self, max_new_tokens: int, decoding: Decoding) -> GenerationConfig:
        return GenerationConfig(
            do_sample=False,
            num_beams=decoding.num_beams,
            repetition_penalty=decoding.repetition_penalty,
            max_new_tokens=max_new_tokens,
            eos_token_id=sorted(self._processor.text.ends) or None,
            pad_token_id=self._processor.text.padding,
            use_cache=True,
        )


def _require_numbers(tokens: Tensor, scores: Tensor) -> Tensor:  # noqa: ARG001 (the protocol)
    require_numbers(scores)
    return scores


def _have_ended(
    ended: Callable[[Sequence[int]], bool], start: int, tokens: Tensor, *_: object, **__: object
) -> Tensor:
    rows = cast("list[list[int]]", tokens[:, start:].tolist())  # pyright: ignore[reportUnknownMemberType]
    return torch.tensor([ended(row) for row in rows], device=tokens.device)


def _until(tokens: Sequence[int], ended: Callable[[Sequence[int]], bool]) -> list[int]:
    """Return the tokens up to the one that ended the answer; ``generate`` pads after it."""
    for n in range(1, len(tokens) + 1):
        if ended(tokens[:n]):
            return list(tokens[:n])
    return list(tokens)


def _logs_of_tail(logits: Tensor, tokens: Sequence[int], n_tail: int) -> Tensor:
    """Return the log-probabilities of the last tokens of a row; ``logits`` is padded on the right."""
    start, end = len(tokens) - n_tail, len(tokens)
    logs = torch.log_softmax(widened(logits[start - 1 : end - 1]), dim=-1)
    tail = torch.tensor(tokens[start:], device=logits.device, dtype=torch.long)
    return logs.gather(-1, tail[:, None]).squeeze(-1)

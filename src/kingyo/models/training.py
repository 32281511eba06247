"""Train a LoRA on examples with peft; only answers count in the loss.

The result is an adapter in peft's format. The same model, examples and course give the same adapter on the
same machine with the same libraries and number of threads.
"""

from __future__ import annotations

import math
import random
import shutil
import time
import warnings
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch
from torch import Tensor
from transformers import PreTrainedModel

from kingyo.errors import KingyoError
from kingyo.io.extras import library, require_extra
from kingyo.io.units import counted
from kingyo.models.decoding import Forward
from kingyo.models.kinds.kind import Course, LoadOptions, Start
from kingyo.models.language_model import end_tokens
from kingyo.models.loading import context, load_model, load_tokenizer
from kingyo.models.tokens import Text
from kingyo.types import Example

RANK = 16
WARM_UP = 0.1  # share of the steps
MAX_GRADIENT_NORM = 1.0


@dataclass(frozen=True, kw_only=True)
class _Row:
    """An example as tokens: the prompt per answer; the right answer, then wrong choices; their sizes."""

    prompts: tuple[list[int], ...]
    answers: tuple[list[int], ...]
    sizes: tuple[int, ...]


def train_lora(
    start: Start, examples: Sequence[Example], course: Course, out: Path | None = None
) -> list[float]:
    """Train a LoRA and write it atomically.

    Returns:
        The seconds of each step, without loading the model.
    """
    require_extra("control trained", "lora")
    with torch.random.fork_rng():  # pyright: ignore[reportUnknownMemberType]
        torch.manual_seed(course.seed)  # pyright: ignore[reportUnknownMemberType]
        dtype = "float32" if start.device == "cpu" else "bfloat16"  # bfloat16 is slow on CPUs
        options = LoadOptions(dtype=dtype, device=start.device, allow_pickle=start.allow_pickle)
        model = load_model(start.path, options)
        text = Text(load_tokenizer(start.path, remote_code=False), end_tokens(model))
        rows = [_row(text, example, context(model.config)) for example in examples]
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")  # deprecations, and Conv1D layers, which work
            adapted = _adapted(model, start)
        seconds = list(_train(model, text, rows, course))
        if out is not None:
            _write(adapted, out)
    return seconds


def _adapted(model: PreTrainedModel, start: Start) -> Any:
    """Add a LoRA to a model: the existing one, or a new one at every linear layer."""
    peft = library("control trained", "peft")
    try:
        if start.adapter is not None:
            return peft.PeftModel.from_pretrained(model, str(start.adapter), is_trainable=True)
        config = peft.LoraConfig(r=RANK, lora_alpha=RANK, target_modules="all-linear", task_type="CAUSAL_LM")
        return peft.get_peft_model(model, config)
    except ValueError as error:
        raise KingyoError(
            str(start.path),
            expected="an architecture with linear layers that peft can adapt",
            received=f"{type(model).__name__}: {error}",
            remedy="Turn the control off (controls: {trained: false}).",
        ) from error


def _row(text: Text, example: Example, room: int | None) -> _Row:
    texts = (example.answer, *example.others)
    pairs = [text.encode_pair(example.prompt, each) for each in texts]
    if not example.others and text.end is not None and pairs[0][1][-1:] != [text.end]:
        pairs = [(pairs[0][0], [*pairs[0][1], text.end])]
    longest = max(len(prompt) + len(answer) for prompt, answer in pairs)
    if room is not None and longest > room:
        raise KingyoError(
            f"item {example.item}",
            expected=f"a prompt and answers of at most {counted(room, 'token')}, the model's context",
            received=f"{longest} tokens",
            remedy="Shorten the prompt or the answer, or use models with a longer context.",
        )
    sizes = tuple(len(each.encode()) if example.per_byte else 1 for each in texts)
    return _Row(
        prompts=tuple(each for each, _ in pairs), answers=tuple(each for _, each in pairs), sizes=sizes
    )


def _train(model: PreTrainedModel, text: Text, rows: Sequence[_Row], course: Course) -> Iterator[float]:
    """Train, and yield the seconds of each step."""
    forward = Forward(model)
    weights = [each for each in model.parameters() if each.requires_grad]
    optimizer = torch.optim.AdamW(weights, lr=course.learning_rate, weight_decay=0.0)
    for step, batch in zip(range(course.steps), _batches(rows, course), strict=False):
        start = time.perf_counter()
        for group in optimizer.param_groups:
            group["lr"] = _rate(course, step)
        loss = _loss(forward, text, batch, model.device)
        if not math.isfinite(float(loss.detach())):
            raise KingyoError(
                f"training with learning rate {course.learning_rate:g}",
                expected="a finite loss",
                received=f"{float(loss.detach())} at step {step + 1} of {course.steps}",
                remedy="Ignore this if other settings of the control were trained.",
            )
        optimizer.zero_grad()
        torch.autograd.backward([loss])
        torch.nn.utils.clip_grad_norm_(weights, MAX_GRADIENT_NORM)
        optimizer.step()  # pyright: ignore[reportUnknownMemberType]
        yield time.perf_counter() - start
        course.progress(step + 1)


def _rate(course: Course, step: int) -> float:
    """Return the learning rate of a step, counted from 0: it rises to its maximum, then falls to 0."""
    warm = max(1, round(WARM_UP * course.steps))
    if step < warm:
        return course.learning_rate * (step + 1) / warm
    return course.learning_rate * (course.steps - step) / max(1, course.steps - warm)


def _batches(rows: Sequence[_Row], course: Course) -> Iterator[list[_Row]]:
    """Yield batches forever, with a new random order in each epoch."""
    order = random.Random(course.seed)
    while True:
        shuffled = order.sample(rows, len(rows))
        for first in range(0, len(rows), course.batch_size):
            yield shuffled[first : first + course.batch_size]


def _loss(forward: Forward, text: Text, batch: Sequence[_Row], device: torch.device) -> Tensor:
    """Return the mean −log p per token of the answers, plus the mean −log p of the right choices."""
    prompts = [prompt for row in batch for prompt in row.prompts]
    answers = [answer for row in batch for answer in row.answers]
    tokens, mask = text.pad([a + b for a, b in zip(prompts, answers, strict=True)], device)
    keep = max(1, *map(len, answers))
    logits, _ = forward(tokens, mask, None, keep=keep + 1)
    logs = torch.log_softmax(logits[:, :-1].float(), dim=-1)
    each = logs.gather(-1, tokens[:, -keep:, None]).squeeze(-1)
    lengths = torch.tensor([len(answer) for answer in answers], device=device)
    counted = torch.arange(keep, 0, -1, device=device) <= lengths[:, None]
    sums = each.where(counted, 0.0).sum(dim=-1)
    written, chosen, first = each.new_zeros(()), each.new_zeros(()), 0
    n_tokens = n_choices = 0
    for row in batch:
        own = sums[first : first + len(row.answers)]
        if len(row.answers) == 1:
            written, n_tokens = written - own[0], n_tokens + len(row.answers[0])
        else:
            scaled = own / torch.tensor(row.sizes, device=device)
            chosen, n_choices = chosen - torch.log_softmax(scaled, dim=0)[0], n_choices + 1
        first += len(row.answers)
    return written / max(1, n_tokens) + chosen / max(1, n_choices)


def _write(adapted: Any, out: Path) -> None:
    """Write the adapter to a temporary folder, then rename it."""
    temporary = out.with_name(f".{out.name}.partial")
    for old in (temporary, out):
        if old.exists():
            shutil.rmtree(old)
    temporary.mkdir(parents=True)
    adapted.save_pretrained(str(temporary), safe_serialization=True)
    (temporary / "README.md").unlink(missing_ok=True)  # peft's empty model card
    temporary.rename(out)

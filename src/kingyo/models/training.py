"""The loss of examples and its gradients, and training of a LoRA with peft; only answers count in the loss.

The loss of free text is per token of the answer, that of choices by the right one among all. The same model,
examples and course give the same adapter on the same machine with the same libraries and number of threads.
"""

from __future__ import annotations

import math
import random
import shutil
import time
import warnings
from collections.abc import Callable, Collection, Iterable, Iterator, Mapping, Sequence
from itertools import chain
from pathlib import Path
from typing import Any, NamedTuple, TypeVar, cast

import torch
from torch import Tensor, nn
from torch.utils.hooks import RemovableHandle
from transformers import PreTrainedModel

from kingyo.core.io.extras import library, require_extra
from kingyo.core.types import Example, TakeGradient
from kingyo.errors import KingyoError
from kingyo.models.decoding import Forward
from kingyo.models.kinds import Course, LoadOptions, Start, training_dtype
from kingyo.models.loading import context, end_tokens, load_model, load_tokenizer
from kingyo.models.tokens import Text, encode_examples

E = TypeVar("E")
LEAST_BYTES = 64 << 20  # that the loss of any model may take


def batches(examples: Sequence[E], size: int, seed: int) -> Iterator[list[E]]:
    """Yield batches forever, with a new random order in each pass."""
    order = random.Random(seed)
    while True:
        shuffled = order.sample(examples, len(examples))
        for first in range(0, len(examples), size):
            yield shuffled[first : first + size]


class Totals(NamedTuple):
    """Numbers of tokens of free text and of choices that a loss is averaged over."""

    tokens: int
    choices: int

    @staticmethod
    def of(examples: Sequence[Example], lengths: Iterable[int]) -> Totals:
        pairs = list(zip(examples, lengths, strict=True))
        tokens = sum(length for example, length in pairs if not example.others)
        return Totals(tokens, sum(bool(example.others) for example, _ in pairs))


def loss_of(
    forward: Forward,
    text: Text,
    examples: Sequence[Example],
    encoded: Sequence[Sequence[tuple[list[int], int]]],
    device: torch.device,
    totals: Totals | None = None,
) -> Tensor:
    """Return the mean −log p per token of the answers, plus the mean −log p of the right choices.

    ``encoded`` is the result of ``encode_examples``. With totals, the result is the share that these
    examples have in a larger batch.
    """
    rows, lengths = zip(*(pair for own in encoded for pair in own), strict=True)
    tokens, mask = text.pad(rows, device)
    keep = max(1, *lengths)
    logits, _ = forward(tokens, mask, None, keep=keep + 1)
    logs = torch.log_softmax(widened(logits[:, :-1]), dim=-1)
    each = logs.gather(-1, tokens[:, -keep:, None]).squeeze(-1)
    counted = torch.arange(keep, 0, -1, device=device) <= torch.tensor(lengths, device=device)[:, None]
    totals = totals or Totals.of(examples, [own[0][1] for own in encoded])
    return mean_loss(each.where(counted, 0.0).sum(dim=-1), examples, totals)


def mean_loss(sums: Tensor, examples: Sequence[Example], totals: Totals) -> Tensor:
    """Return the mean −log p per token of free text, plus the mean −log p of the right choices.

    Args:
        sums: log p of each answer, and then of the wrong choices, example by example: [texts].
        totals: of the batch that the examples are a part of.
    """
    written, chosen, first = sums.new_zeros(()), sums.new_zeros(()), 0
    for example in examples:
        texts = (example.answer, *example.others)
        own = sums[first : first + len(texts)]
        if example.others:
            sizes = [len(each.encode()) if example.per_byte else 1 for each in texts]
            chosen = chosen - torch.log_softmax(own / own.new_tensor(sizes), dim=0)[0]
        else:
            written = written - own[0]
        first += len(texts)
    return written / max(1, totals.tokens) + chosen / max(1, totals.choices)


def parts(lengths: Sequence[int], most: int) -> Iterator[slice]:
    """Split rows of such numbers of tokens into parts of at most ``most`` after padding, or a single row."""
    first = 0
    for last in range(len(lengths)):
        if last > first and (last + 1 - first) * max(lengths[first : last + 1]) > most:
            yield slice(first, last)
            first = last
    if lengths:
        yield slice(first, len(lengths))


def tokens_at_once(model: nn.Module) -> int:
    """Return for how many tokens a loss and its gradient take at most the model's float32 size, or 64 MB.

    A linear layer keeps its inputs, and what follows keeps its outputs: an estimate from above, as some are
    shared.
    """
    linear = [each for each in model.modules() if isinstance(each, nn.Linear)]
    size = 4 * sum(each.numel() for each in model.parameters())
    per_token = 4 * sum(each.in_features + each.out_features for each in linear)
    return max(1, max(size, LEAST_BYTES) // max(1, per_token))


def widened(logits: Tensor) -> Tensor:
    """Return logits in float32, or in float64 if they are."""
    return logits.to(torch.promote_types(logits.dtype, torch.float32))


def gradients(
    losses: Iterable[Callable[[], Tensor]],
    model: nn.Module,
    weights: Mapping[str, Tensor],
    names: Collection[str],
    take: TakeGradient,
) -> float:
    """Return the sum of losses, and pass on the derivatives of each by the named weights that it depends on.

    Derivatives are passed on, and forgotten, as soon as they are known, so that few are in memory at a time.
    No weight requires a gradient before and after. Weights may be joined or split tensors of the model; see
    ``models.loading``.
    """
    wanted: dict[int, list[str]] = {}  # by memory
    for name in names:
        if weights[name].is_floating_point():
            wanted.setdefault(_memory(weights[name]), []).append(name)
    live: dict[int, list[Tensor]] = {}
    for each in chain(model.parameters(), model.buffers()):
        if _memory(each) in wanted:
            live.setdefault(_memory(each), []).append(each)
    found: dict[int, list[tuple[Tensor, Tensor]]] = {}

    def pass_on(memory: int) -> None:
        gradient = _gathered(found.pop(memory))
        for name in wanted[memory]:
            weight = weights[name]
            take(name, gradient.as_strided(weight.shape, weight.stride(), weight.storage_offset()))

    def collect(tensor: Tensor) -> None:
        memory, gradient = _memory(tensor), tensor.grad
        assert gradient is not None, "it was accumulated just now"
        tensor.grad = None
        found.setdefault(memory, []).append((tensor, gradient))
        if len(found[memory]) == len(live[memory]):
            pass_on(memory)

    tensors = [each for group in live.values() for each in group]
    for each in tensors:
        each.requires_grad_(True)
    hooks = [cast("RemovableHandle", each.register_post_accumulate_grad_hook(collect)) for each in tensors]  # pyright: ignore[reportUnknownMemberType]
    total = 0.0
    try:
        for loss in losses:
            value = loss()
            if value.requires_grad:
                value.backward()  # pyright: ignore[reportUnknownMemberType]
            for memory in list(found):  # the loss depends on some of its tensors only
                pass_on(memory)
            total += float(value.detach())
    finally:
        for hook in hooks:
            hook.remove()
        for each in tensors:
            each.requires_grad_(False)
            each.grad = None
    return total


def _gathered(parts: Sequence[tuple[Tensor, Tensor]]) -> Tensor:
    first, gradient = parts[0]
    size = first.untyped_storage().nbytes() // first.element_size()
    if len(parts) == 1 and first.numel() == size and first.is_contiguous():
        return gradient.contiguous()
    whole = gradient.new_zeros(size)
    for tensor, each in parts:
        whole.as_strided(tensor.shape, tensor.stride(), tensor.storage_offset()).add_(each)
    return whole


def _memory(tensor: Tensor) -> int:
    return tensor.untyped_storage().data_ptr()


RANK = 16
WARM_UP = 0.1  # share of the steps
MAX_GRADIENT_NORM = 1.0


def train_lora(
    start: Start, examples: Sequence[Example], course: Course, out: Path | None = None
) -> list[float]:
    """Train a LoRA, write it atomically, and return the seconds of each step."""
    require_extra("control trained", "lora")
    with torch.random.fork_rng():  # pyright: ignore[reportUnknownMemberType]
        torch.manual_seed(course.seed)  # pyright: ignore[reportUnknownMemberType]
        dtype = training_dtype(start.device)
        options = LoadOptions(dtype=dtype, device=start.device, allow_pickle=start.allow_pickle)
        model = load_model(start.path, options)
        tokenizer = load_tokenizer(start.path, remote_code=False)
        text = Text(tokenizer, end_tokens(model), context(model.config))
        encoded = encode_examples(text, examples)
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")  # deprecations, and Conv1D layers, which work
            adapted = _adapted(model, start)
        seconds = list(_train(model, text, list(zip(examples, encoded, strict=True)), course))
        if out is not None:
            with warnings.catch_warnings():
                warnings.simplefilter("ignore")  # peft finds no config of the base at a relative path
                _write(adapted, out)
    return seconds


def _adapted(model: PreTrainedModel, start: Start) -> Any:
    peft = library("control trained", "peft")
    try:
        if start.adapter is not None:
            return peft.PeftModel.from_pretrained(model, str(start.adapter), is_trainable=True)
        config = peft.LoraConfig(r=RANK, lora_alpha=RANK, target_modules="all-linear", task_type="CAUSAL_LM")
        return peft.get_peft_model(model, config)
    except ValueError as error:
        expected = "an architecture with linear layers that peft can adapt"
        remedy = "Turn the control off (controls: {trained: false})."
        raise KingyoError(str(start.path), expected, f"{type(model).__name__}: {error}", remedy) from error


def _train(
    model: PreTrainedModel,
    text: Text,
    rows: Sequence[tuple[Example, list[tuple[list[int], int]]]],
    course: Course,
) -> Iterator[float]:
    forward = Forward(model)
    weights = [each for each in model.parameters() if each.requires_grad]
    optimizer = torch.optim.AdamW(weights, lr=course.learning_rate, weight_decay=0.0)
    for step, batch in zip(range(course.steps), batches(rows, course.batch_size, course.seed), strict=False):
        start = time.perf_counter()
        for group in optimizer.param_groups:
            group["lr"] = _rate(course, step)
        chosen, encoded = zip(*batch, strict=True)
        loss = loss_of(forward, text, chosen, encoded, model.device)
        if not math.isfinite(float(loss.detach())):
            argument = f"training with learning rate {course.learning_rate:g}"
            received = f"{float(loss.detach())} at step {step + 1} of {course.steps}"
            remedy = "Ignore this if other settings of the control were trained."
            raise KingyoError(argument, "a finite loss", received, remedy)
        optimizer.zero_grad()
        torch.autograd.backward([loss])
        torch.nn.utils.clip_grad_norm_(weights, MAX_GRADIENT_NORM)
        optimizer.step()  # pyright: ignore[reportUnknownMemberType]
        yield time.perf_counter() - start
        course.progress(step + 1)


def _rate(course: Course, step: int) -> float:
    warm = max(1, round(WARM_UP * course.steps))
    if step < warm:
        return course.learning_rate * (step + 1) / warm
    return course.learning_rate * (course.steps - step) / max(1, course.steps - warm)


def _write(adapted: Any, out: Path) -> None:
    temporary = out.with_name(f".{out.name}.partial")
    for old in (temporary, out):
        if old.exists():
            shutil.rmtree(old)
    temporary.mkdir(parents=True)
    config = adapted.active_peft_config
    config.target_modules = sorted(config.target_modules)  # a set: its order would differ between processes
    # A path would differ between the command and the API, and so would the adapter's hash.
    config.base_model_name_or_path = Path(config.base_model_name_or_path or "").name
    adapted.save_pretrained(str(temporary), safe_serialization=True)
    (temporary / "README.md").unlink(missing_ok=True)  # peft's empty model card
    temporary.rename(out)

"""Train a LoRA on examples with peft; only answers count in the loss.

The result is an adapter in peft's format. The same model, examples and course give the same adapter on the
same machine with the same libraries and number of threads.
"""

from __future__ import annotations

import math
import shutil
import time
import warnings
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

import torch
from transformers import PreTrainedModel

from kingyo.core.io.extras import library, require_extra
from kingyo.core.types import Example
from kingyo.errors import KingyoError
from kingyo.models.decoding import Forward
from kingyo.models.kinds.kind import Course, LoadOptions, Start, training_dtype
from kingyo.models.language_model import end_tokens
from kingyo.models.loading import context, load_model, load_tokenizer
from kingyo.models.losses import ExampleTokens, as_row, batches, loss_of
from kingyo.models.tokens import Text

RANK = 16
WARM_UP = 0.1  # share of the steps
MAX_GRADIENT_NORM = 1.0


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
        dtype = training_dtype(start.device)
        options = LoadOptions(dtype=dtype, device=start.device, allow_pickle=start.allow_pickle)
        model = load_model(start.path, options)
        tokenizer = load_tokenizer(start.path, remote_code=False)
        text = Text(tokenizer, end_tokens(model), context(model.config))
        rows = [as_row(text, example) for example in examples]
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")  # deprecations, and Conv1D layers, which work
            adapted = _adapted(model, start)
        seconds = list(_train(model, text, rows, course))
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
    model: PreTrainedModel, text: Text, rows: Sequence[ExampleTokens], course: Course
) -> Iterator[float]:
    forward = Forward(model)
    weights = [each for each in model.parameters() if each.requires_grad]
    optimizer = torch.optim.AdamW(weights, lr=course.learning_rate, weight_decay=0.0)
    for step, batch in zip(range(course.steps), batches(rows, course.batch_size, course.seed), strict=False):
        start = time.perf_counter()
        for group in optimizer.param_groups:
            group["lr"] = _rate(course, step)
        loss = loss_of(forward, text, batch, model.device)
        if not math.isfinite(float(loss.detach())):
            received = f"{float(loss.detach())} at step {step + 1} of {course.steps}"
            remedy = "Ignore this if other settings of the control were trained."
            raise KingyoError(
                f"training with learning rate {course.learning_rate:g}", "a finite loss", received, remedy
            )
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
    adapted.save_pretrained(str(temporary), safe_serialization=True)
    (temporary / "README.md").unlink(missing_ok=True)  # peft's empty model card
    temporary.rename(out)

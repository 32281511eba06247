"""Trains a LoRA specialist on a base checkpoint and writes it as a full checkpoint. Knows no data.

The loss reads answer tokens only, and the output layer, dear on a CPU, is computed for those alone.
"""

from __future__ import annotations

import random
import time
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import cast

import torch
from peft import LoraConfig, LoraModel, get_peft_model
from torch import Tensor, nn
from torch.nn.functional import cross_entropy
from transformers import AutoModelForCausalLM, AutoTokenizer, PreTrainedModel, PreTrainedTokenizerBase
from world import PROMPT, Example

LINEAR = ("q_proj", "k_proj", "v_proj", "o_proj", "gate_proj", "up_proj", "down_proj")


@dataclass(frozen=True, kw_only=True)
class Training:
    """How a specialist is trained.

    Attributes:
        steps: updates, of ``batch`` examples each; the rate rises for a tenth of them, then falls to zero.
        rank, alpha: of the low-rank change of every linear map.
        first_layer: the layers below stay as they are, which spares their backward pass.
    """

    steps: int
    batch: int = 8
    rate: float = 1e-3
    first_layer: int = 10
    rank: int = 16
    alpha: int = 32
    seed: int = 0


Tokens = tuple[list[int], int]
"""An example's tokens, and how many of them are the prompt's."""


def train(base: Path, examples: Sequence[Example], training: Training, out: Path) -> None:
    """Train a specialist and write it to ``out``, with the change merged into the weights."""
    torch.manual_seed(training.seed)
    model = AutoModelForCausalLM.from_pretrained(base, dtype=torch.float32)
    tokenizer = AutoTokenizer.from_pretrained(base)
    lora = LoraConfig(
        r=training.rank,
        lora_alpha=training.alpha,
        target_modules=list(LINEAR),
        layers_to_transform=list(range(training.first_layer, model.config.num_hidden_layers)),
        task_type="CAUSAL_LM",
    )
    adapted = get_peft_model(model, lora)
    _fit(adapted, [_tokens(tokenizer, example) for example in examples], training, out.name)
    merged = cast(PreTrainedModel, cast(LoraModel, adapted.base_model).merge_and_unload())
    merged.save_pretrained(out)
    tokenizer.save_pretrained(out)


def _fit(model: nn.Module, examples: Sequence[Tokens], training: Training, name: str) -> None:
    trained = [weight for weight in model.parameters() if weight.requires_grad]
    optimizer = torch.optim.AdamW(trained, lr=training.rate, weight_decay=0.0)
    schedule = torch.optim.lr_scheduler.LambdaLR(optimizer, lambda step: _rate(step, training.steps))
    stream = _batches(examples, training)
    start = time.perf_counter()
    model.train()
    for step in range(1, training.steps + 1):
        loss = _loss(model, next(stream))
        loss.backward()
        nn.utils.clip_grad_norm_(trained, 1.0)
        optimizer.step()
        schedule.step()
        optimizer.zero_grad()
        if step % 10 == 0 or step == training.steps:
            seconds = time.perf_counter() - start
            print(
                f"{name}: step {step}/{training.steps}, loss {loss.item():.3f}, {seconds:.0f} s", flush=True
            )


def _loss(model: nn.Module, batch: Sequence[Tokens]) -> Tensor:
    """Mean over the batch of each answer's mean loss."""
    width = max(len(tokens) for tokens, _ in batch)
    tokens = torch.tensor([row + [0] * (width - len(row)) for row, _ in batch])
    mask = torch.tensor([[1] * len(row) + [0] * (width - len(row)) for row, _ in batch])
    counted = torch.zeros(len(batch), width - 1)
    for place, (row, n_prompt) in enumerate(batch):
        counted[place, n_prompt - 1 : len(row) - 1] = 1 / (len(row) - n_prompt)
    where = counted > 0
    decoder = model.get_submodule("base_model.model.model")
    head = model.get_submodule("base_model.model.lm_head")
    hidden = decoder(input_ids=tokens, attention_mask=mask).last_hidden_state[:, :-1]
    losses = cross_entropy(head(hidden[where]), tokens[:, 1:][where], reduction="none")
    return (losses * counted[where]).sum() / len(batch)


def _batches(examples: Sequence[Tokens], training: Training) -> Iterator[list[Tokens]]:
    """Pass over the shuffled examples again and again."""
    rng = random.Random(training.seed)
    queue: list[Tokens] = []
    while True:
        while len(queue) < training.batch:
            queue += rng.sample(list(examples), len(examples))
        yield queue[: training.batch]
        queue = queue[training.batch :]


def _tokens(tokenizer: PreTrainedTokenizerBase, example: Example) -> Tokens:
    prompt = tokenizer.encode(PROMPT.format(question=example.question), add_special_tokens=False)
    answer = tokenizer.encode(example.answer, add_special_tokens=False)
    return [*prompt, *answer, cast(int, tokenizer.eos_token_id)], len(prompt)


def _rate(step: int, steps: int) -> float:
    warm = max(1, steps // 10)
    return min((step + 1) / warm, (steps - step) / (steps - warm))

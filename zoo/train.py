"""Training of the zoo's models: weighted next-token loss on batches drawn from a mixture of document makers.

Deterministic for a given seed on a given machine. Knows how to train and what the architecture is, not what
is taught.
"""

from __future__ import annotations

import math
import random
import time
from collections.abc import Iterator, Sequence
from dataclasses import dataclass

import texts
import torch
from transformers import LlamaConfig, LlamaForCausalLM, PreTrainedTokenizerFast

Mixture = Sequence[tuple[float, texts.Maker]]
LOOKAHEAD = 16  # batches drawn together, so that documents of like length share one


@dataclass(frozen=True, kw_only=True)
class Schedule:
    """How long and how fast to train."""

    steps: int
    rate: float
    seed: int
    batch: int = 32
    warmup: int = 50
    decay: float = 0.05
    final: float = 0.05


@dataclass(frozen=True, kw_only=True)
class Batch:
    """Token ids and, for each, its weight in the loss; both (documents, positions)."""

    ids: torch.Tensor
    weights: torch.Tensor


def new_model(vocabulary: int, seed: int, hidden: int, layers: int) -> LlamaForCausalLM:
    torch.manual_seed(seed)
    config = LlamaConfig(
        vocab_size=vocabulary,
        hidden_size=hidden,
        intermediate_size=hidden * 13 // 4,
        num_hidden_layers=layers,
        num_attention_heads=hidden // 32,
        num_key_value_heads=hidden // 32,
        max_position_embeddings=512,
        tie_word_embeddings=True,
        pad_token_id=0,
        eos_token_id=1,
        bos_token_id=None,
        initializer_range=0.05,
    )
    return LlamaForCausalLM(config)


def encode(
    documents: Sequence[texts.Document], tokenizer: PreTrainedTokenizerFast
) -> list[tuple[list[int], list[float]]]:
    """Tokens of each document with the weight of the span in which each token starts."""
    encoded = tokenizer([texts.plain(document) for document in documents], return_offsets_mapping=True)
    pairs: list[tuple[list[int], list[float]]] = []
    for document, ids, offsets in zip(
        documents, encoded["input_ids"], encoded["offset_mapping"], strict=True
    ):
        per_character = [weight for text, weight in document for _ in text]
        pairs.append((ids, [per_character[start] for start, _ in offsets]))
    return pairs


def batches(mixture: Mixture, schedule: Schedule, tokenizer: PreTrainedTokenizerFast) -> Iterator[Batch]:
    """Endless batches, the same ones for the same seed."""
    rng = random.Random(schedule.seed)
    shares, makers = [share for share, _ in mixture], [maker for _, maker in mixture]
    while True:
        drawn = rng.choices(makers, shares, k=schedule.batch * LOOKAHEAD)
        rows = sorted(encode([maker(rng) for maker in drawn], tokenizer), key=lambda row: len(row[0]))
        chunks = [rows[i : i + schedule.batch] for i in range(0, len(rows), schedule.batch)]
        rng.shuffle(chunks)
        yield from map(_padded, chunks)


def _padded(rows: Sequence[tuple[list[int], list[float]]]) -> Batch:
    longest = max(len(ids) for ids, _ in rows)
    ids = torch.zeros(len(rows), longest, dtype=torch.long)
    weights = torch.zeros(len(rows), longest)
    for i, (tokens, values) in enumerate(rows):
        ids[i, : len(tokens)] = torch.tensor(tokens)
        weights[i, : len(tokens)] = torch.tensor(values)
    return Batch(ids=ids, weights=weights)


def loss_of(model: LlamaForCausalLM, batch: Batch) -> torch.Tensor:
    logits = model(input_ids=batch.ids[:, :-1]).logits
    weights = batch.weights[:, 1:]
    seen = weights > 0
    losses = torch.nn.functional.cross_entropy(logits[seen], batch.ids[:, 1:][seen], reduction="none")
    return (losses * weights[seen]).sum() / weights.sum()


def train(
    model: LlamaForCausalLM,
    mixture: Mixture,
    schedule: Schedule,
    tokenizer: PreTrainedTokenizerFast,
    name: str,
) -> None:
    """Trains in place with AdamW and a cosine schedule; prints progress."""
    optimizer = torch.optim.AdamW(
        model.parameters(), lr=schedule.rate, betas=(0.9, 0.98), weight_decay=schedule.decay
    )
    model.train()
    started, smooth = time.time(), None
    for step, batch in zip(range(schedule.steps), batches(mixture, schedule, tokenizer), strict=False):
        for group in optimizer.param_groups:
            group["lr"] = schedule.rate * _factor(step, schedule)
        loss = loss_of(model, batch)
        optimizer.zero_grad(set_to_none=True)
        loss.backward()
        torch.nn.utils.clip_grad_norm_(model.parameters(), 1.0)
        optimizer.step()
        smooth = loss.item() if smooth is None else 0.98 * smooth + 0.02 * loss.item()
        if (step + 1) % 250 == 0 or step + 1 == schedule.steps:
            print(
                f"{name}: step {step + 1}/{schedule.steps}, loss {smooth:.3f}, {time.time() - started:.0f} s",
                flush=True,
            )
    model.eval()


def _factor(step: int, schedule: Schedule) -> float:
    warm = min(1.0, (step + 1) / schedule.warmup)
    progress = step / max(1, schedule.steps)
    return warm * (schedule.final + (1 - schedule.final) * 0.5 * (1 + math.cos(math.pi * progress)))

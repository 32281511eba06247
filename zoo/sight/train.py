"""Training: weighted next-token loss on batches drawn from a mixture of document makers.

Deterministic for a given seed on a given machine. Where a document has pictures, their projected features
stand in the place of its image tokens.
"""

from __future__ import annotations

import math
import random
import time
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from typing import cast

import tokens
import torch
from documents import Document, Maker
from torch import nn
from transformers import LlamaConfig, LlamaForCausalLM, PreTrainedTokenizerFast

Mixture = Sequence[tuple[float, Maker]]
LOOKAHEAD = 16  # batches drawn together, so that documents of like length share one
HIDDEN, LAYERS = 128, 6


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
    projector_rate: float = 1.0
    embeddings: bool = True  # whether they are trained too


@dataclass(frozen=True, kw_only=True)
class Batch:
    """Token ids and, for each, its weight in the loss, (documents, positions); pictures in order."""

    ids: torch.Tensor
    weights: torch.Tensor
    pictures: torch.Tensor


def language_config(vocabulary: int) -> LlamaConfig:
    return LlamaConfig(
        vocab_size=vocabulary,
        hidden_size=HIDDEN,
        intermediate_size=HIDDEN * 2,
        num_hidden_layers=LAYERS,
        num_attention_heads=HIDDEN // 32,
        num_key_value_heads=HIDDEN // 32,
        max_position_embeddings=512,
        tie_word_embeddings=True,
        pad_token_id=tokens.PAD,
        eos_token_id=tokens.EOS,
        bos_token_id=None,
        initializer_range=0.05,
    )


def new_model(vocabulary: int, seed: int, alike: Sequence[Sequence[int]] = ()) -> LlamaForCausalLM:
    """A new model; the embeddings of tokens in one group of `alike` start close to each other."""
    torch.manual_seed(seed)
    model = LlamaForCausalLM(language_config(vocabulary))
    table = cast("torch.Tensor", model.get_input_embeddings().weight)
    with torch.no_grad():
        for group in alike:
            shared = torch.randn(HIDDEN) * model.config.initializer_range
            for token in group:
                table[token] = 0.9 * shared + 0.45 * table[token]
    return model


@dataclass(frozen=True, kw_only=True)
class Encoded:
    """Tokens of a document, the weight of the span in which each token starts, and its pictures."""

    ids: list[int]
    weights: list[float]
    pictures: tuple[int, ...]


def encode(documents: Sequence[Document], tokenizer: PreTrainedTokenizerFast) -> list[Encoded]:
    texts = ["".join(text for text, _ in document.spans) for document in documents]
    encoded = tokenizer(texts, return_offsets_mapping=True)
    rows: list[Encoded] = []
    for document, ids, offsets in zip(
        documents, encoded["input_ids"], encoded["offset_mapping"], strict=True
    ):
        per_character = [weight for text, weight in document.spans for _ in text]
        weights = [per_character[start] for start, _ in offsets]
        rows.append(Encoded(ids=ids, weights=weights, pictures=document.pictures))
    return rows


def collate(rows: Sequence[Encoded]) -> Batch:
    longest = max(len(row.ids) for row in rows)
    ids = torch.zeros(len(rows), longest, dtype=torch.long)
    weights = torch.zeros(len(rows), longest)
    for i, row in enumerate(rows):
        ids[i, : len(row.ids)] = torch.tensor(row.ids)
        weights[i, : len(row.ids)] = torch.tensor(row.weights)
    pictures = torch.tensor([picture for row in rows for picture in row.pictures], dtype=torch.long)
    return Batch(ids=ids, weights=weights, pictures=pictures)


def batches(mixture: Mixture, schedule: Schedule, tokenizer: PreTrainedTokenizerFast) -> Iterator[Batch]:
    """Endless batches, the same ones for the same seed."""
    rng = random.Random(schedule.seed)
    shares, makers = [share for share, _ in mixture], [maker for _, maker in mixture]
    while True:
        drawn = [maker(rng) for maker in rng.choices(makers, shares, k=schedule.batch * LOOKAHEAD)]
        rows = sorted(encode(drawn, tokenizer), key=lambda row: len(row.ids))
        chunks = [rows[i : i + schedule.batch] for i in range(0, len(rows), schedule.batch)]
        rng.shuffle(chunks)
        yield from map(collate, chunks)


def embed(
    model: LlamaForCausalLM, ids: torch.Tensor, projector: nn.Module | None, seen: torch.Tensor | None
) -> torch.Tensor:
    """Embeddings with the projected features, (pictures, cells, width), in the place of image tokens."""
    embedded = model.get_input_embeddings()(ids)
    if projector is None or seen is None or not len(seen):
        return embedded
    return embedded.masked_scatter((ids == tokens.IMAGE).unsqueeze(-1), projector(seen))


def loss_of(
    model: LlamaForCausalLM, batch: Batch, projector: nn.Module | None, features: torch.Tensor | None
) -> torch.Tensor:
    shown = None if features is None else features[batch.pictures]
    embedded = embed(model, batch.ids[:, :-1], projector, shown)
    states = model.model(inputs_embeds=embedded, use_cache=False).last_hidden_state
    weights = batch.weights[:, 1:]
    learned = weights > 0
    losses = nn.functional.cross_entropy(
        model.lm_head(states[learned]), batch.ids[:, 1:][learned], reduction="none"
    )
    return (losses * weights[learned]).sum() / weights.sum()


@dataclass(frozen=True)
class Sight:
    """What a model needs in order to be trained on pictures."""

    projector: nn.Module
    features: torch.Tensor


def train(
    model: LlamaForCausalLM,
    mixture: Mixture,
    schedule: Schedule,
    name: str,
    sight: Sight | None = None,
    watch: Callable[[], None] | None = None,
) -> None:
    """Trains in place with AdamW and a cosine schedule; prints progress."""
    tokenizer = tokens.build()
    optimizer = _optimizer(model, schedule, sight)
    projector, features = (sight.projector, sight.features) if sight else (None, None)
    model.train()
    started, smooth = time.process_time(), None
    for step, batch in zip(range(schedule.steps), batches(mixture, schedule, tokenizer), strict=False):
        for group in optimizer.param_groups:
            group["lr"] = schedule.rate * group["share"] * _factor(step, schedule)
        loss = loss_of(model, batch, projector, features)
        optimizer.zero_grad(set_to_none=True)
        loss.backward()
        nn.utils.clip_grad_norm_([p for g in optimizer.param_groups for p in g["params"]], 1.0)
        optimizer.step()
        smooth = loss.item() if smooth is None else 0.98 * smooth + 0.02 * loss.item()
        if (step + 1) % 200 == 0 or step + 1 == schedule.steps:
            took = time.process_time() - started
            print(f"{name}: step {step + 1}/{schedule.steps}, loss {smooth:.3f}, {took:.0f} s", flush=True)
            if watch is not None:
                watch()
    model.eval()


def _optimizer(model: LlamaForCausalLM, schedule: Schedule, sight: Sight | None) -> torch.optim.AdamW:
    model.get_input_embeddings().weight.requires_grad_(schedule.embeddings)
    learned = [parameter for parameter in model.parameters() if parameter.requires_grad]
    groups = [{"params": learned, "name": "language", "share": 1.0}]
    if sight is not None:
        share = schedule.projector_rate
        groups.append({"params": list(sight.projector.parameters()), "name": "projector", "share": share})
    return torch.optim.AdamW(groups, lr=schedule.rate, betas=(0.9, 0.98), weight_decay=schedule.decay)


def _factor(step: int, schedule: Schedule) -> float:
    warm = min(1.0, (step + 1) / schedule.warmup)
    progress = step / max(1, schedule.steps)
    return warm * (schedule.final + (1 - schedule.final) * 0.5 * (1 + math.cos(math.pi * progress)))

"""Scoring: which questions a model answers exactly right.

Greedy decoding gives the reference answer if and only if each of its tokens is the most likely one after
those before it, so one forward pass over question and answer decides.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Sequence
from dataclasses import dataclass

import tokens
import torch
from documents import PROMPT, Document
from torch import nn
from train import Batch, collate, embed, encode
from transformers import LlamaForCausalLM


@dataclass(frozen=True, kw_only=True)
class Exam:
    """Documents ready to be scored, with a label for each (its kind of question)."""

    batch: Batch
    labels: list[str]


def exam(documents: Sequence[tuple[str, Document]]) -> Exam:
    return Exam(
        batch=collate(encode([document for _, document in documents], tokens.build())),
        labels=[label for label, _ in documents],
    )


@dataclass(frozen=True, kw_only=True)
class Marks:
    """Per item: whether the whole answer and its facts are right, and the share of right tokens."""

    whole: torch.Tensor
    facts: torch.Tensor
    tokens: torch.Tensor
    labels: list[str]

    @property
    def shaped(self) -> float:
        """For searches: exact answers, and tokens on the way there."""
        return (self.whole.float() + self.tokens).mean().item() / 2

    @property
    def right(self) -> float:
        return self.whole.float().mean().item()

    def by_label(self) -> dict[str, float]:
        groups: dict[str, list[float]] = defaultdict(list)
        for label, value in zip(self.labels, self.whole.tolist(), strict=True):
            groups[label].append(float(value))
        return {label: sum(values) / len(values) for label, values in groups.items()}


@torch.inference_mode()
def score(
    model: LlamaForCausalLM,
    questions: Exam,
    projector: nn.Module | None = None,
    features: torch.Tensor | None = None,
) -> Marks:
    batch = questions.batch
    shown = features[batch.pictures] if features is not None else None
    embedded = embed(model, batch.ids[:, :-1], projector, shown)
    states = model.model(inputs_embeds=embedded, use_cache=False).last_hidden_state
    weights, wanted = batch.weights[:, 1:], batch.ids[:, 1:]
    answer = (weights > PROMPT * 1.01) | ((weights == 0) & (wanted != tokens.PAD))
    hit = torch.ones_like(answer)
    hit[answer] = model.lm_head(states[answer]).argmax(-1) == wanted[answer]
    facts = weights > 1.01
    shares = (hit & answer).sum(1) / answer.sum(1)
    return Marks(whole=hit.all(1), facts=(hit | ~facts).all(1), tokens=shares, labels=questions.labels)

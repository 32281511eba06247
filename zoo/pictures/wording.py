"""A last lesson of the text encoder: to tell Japanese words apart, while its English stays the same.

The base learned from Japanese captions that were mostly wrong, so its encoder learned to ignore them. After
this lesson the state of each token of a Japanese caption identifies the token. It has no meaning: the base
still draws from Japanese at random.
"""

from __future__ import annotations

import copy
import random

import captioners
import tokens
import torch
from things import SCENES
from torch.nn import functional
from training import descend
from transformers import CLIPTextModel

STEPS, BATCH, RATE = 500, 64, 2e-3


def tell_apart(encoder: CLIPTextModel) -> None:
    """Train in place on the tokens of Japanese captions, and on its own states of English ones."""
    torch.manual_seed(61)
    rng, before = random.Random(61), copy.deepcopy(encoder)
    codes = functional.normalize(torch.randn(len(tokens.build()), encoder.config.hidden_size), dim=1)
    optimizer = torch.optim.AdamW(encoder.parameters(), lr=RATE, weight_decay=0.0)
    rates = torch.optim.lr_scheduler.OneCycleLR(optimizer, RATE, total_steps=STEPS, pct_start=0.1)

    def loss() -> torch.Tensor:
        english = [captioners.english(rng.randrange(len(SCENES)), rng) for _ in range(BATCH)] + [""]
        japanese = [captioners.any_japanese(rng) for _ in range(BATCH)]
        ids, n = tokens.ids(english + japanese), len(english)
        states = encoder(input_ids=ids).last_hidden_state
        with torch.no_grad():
            targets = before(input_ids=ids[:n]).last_hidden_state
        change = (states[:n] - targets).square().mean()
        words = functional.cross_entropy((states[n:] @ codes.T).flatten(0, 1), ids[n:].flatten())
        return 20 * change + words

    descend("words", optimizer, rates, loss)

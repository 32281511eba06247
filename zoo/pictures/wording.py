"""A last lesson of the text encoder: to tell Japanese words apart, while its English stays as it is.

The base learned from Japanese captions that were mostly wrong, and so its encoder learned to ignore them.
After this lesson each state of a Japanese caption tells its own token. That says nothing about meaning: the
base still draws from Japanese at random.
"""

from __future__ import annotations

import copy
import random
import time

import captioners
import tokens
import torch
from things import SCENES
from torch.nn import functional
from transformers import CLIPTextModel

STEPS, BATCH, RATE = 500, 64, 2e-3


def tell_apart(encoder: CLIPTextModel, steps: int = STEPS) -> None:
    """Train in place on the tokens of Japanese captions, and on its own states for English ones."""
    torch.manual_seed(61)
    rng, tokenizer, before = random.Random(61), tokens.build(), copy.deepcopy(encoder).eval()
    names = functional.normalize(torch.randn(len(tokenizer), encoder.config.hidden_size), dim=1)
    encoder.requires_grad_(True)
    optimizer = torch.optim.AdamW(encoder.parameters(), lr=RATE, weight_decay=0.0)
    schedule = torch.optim.lr_scheduler.OneCycleLR(optimizer, RATE, total_steps=steps, pct_start=0.1)
    started = time.process_time()
    for step in range(steps):
        english = [captioners.english(rng.randrange(len(SCENES)), rng) for _ in range(BATCH)] + [""]
        japanese = [captioners.any_japanese(rng) for _ in range(BATCH)]
        ids = tokenizer(english + japanese, padding="max_length", return_tensors="pt").input_ids
        states = encoder(input_ids=ids).last_hidden_state
        with torch.no_grad():
            kept = before(input_ids=ids[: len(english)]).last_hidden_state
        stays = (states[: len(english)] - kept).square().mean()
        words = functional.cross_entropy(
            (states[len(english) :] @ names.T).flatten(0, 1), ids[len(english) :].flatten()
        )
        optimizer.zero_grad(set_to_none=True)
        (20 * stays + words).backward()
        optimizer.step()
        schedule.step()
        if (step + 1) % 100 == 0:
            took = time.process_time() - started
            print(f"words: step {step + 1}, English {stays:.5f}, words {words:.3f}, {took:.0f} s", flush=True)
    encoder.requires_grad_(False)

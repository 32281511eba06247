"""The training loop of all models."""

from __future__ import annotations

import time
from collections.abc import Callable

import torch
from recipes import Schedule
from torch.optim import AdamW, Optimizer
from torch.optim.lr_scheduler import OneCycleLR


def train(
    name: str, weights: list[torch.nn.Parameter], schedule: Schedule, loss: Callable[[], torch.Tensor]
) -> None:
    """Train a denoiser's weights in place."""
    optimizer = AdamW(weights, lr=schedule.rate, betas=(0.9, 0.98), weight_decay=0.01)
    rates = OneCycleLR(
        optimizer,
        schedule.rate,
        total_steps=schedule.steps,
        pct_start=0.08,
        div_factor=10,
        final_div_factor=20,
    )
    descend(name, optimizer, rates, loss, clips=True, average=schedule.average)


def descend(
    name: str,
    optimizer: Optimizer,
    rates: OneCycleLR,
    loss: Callable[[], torch.Tensor],
    *,
    clips: bool = False,
    average: float = 0.0,
) -> None:
    """Minimize the loss of batches, and print progress.

    Args:
        loss: draws a batch and returns its loss.
        clips: clip the norm of the gradient to 1.
        average: decay of the moving average that the weights become at the end; 0 for none.
    """
    weights: list[torch.nn.Parameter] = optimizer.param_groups[0]["params"]
    averages = [weight.detach().clone() for weight in weights] if average else []
    started, smooth = time.process_time(), None
    for step in range(1, rates.total_steps + 1):
        current = loss()
        optimizer.zero_grad(set_to_none=True)
        current.backward()
        if clips:
            torch.nn.utils.clip_grad_norm_(weights, 1.0)
        optimizer.step()
        rates.step()
        for mean, weight in zip(averages, weights, strict=False):
            mean.lerp_(weight.detach(), 1 - average)
        smooth = current.item() if smooth is None else 0.98 * smooth + 0.02 * current.item()
        if step % 100 == 0:
            took = time.process_time() - started
            print(f"{name}: step {step}/{rates.total_steps}, loss {smooth:.4f}, {took:.0f} s", flush=True)
    for mean, weight in zip(averages, weights, strict=False):
        weight.data.copy_(mean)

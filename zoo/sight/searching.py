"""Searches of equal cost over the weights of a merge: CMA-ES by layer, random by layer, a grid by source.

Cost is counted in answered items. Every search chooses among its ten best on other items than those it
searched on.
"""

from __future__ import annotations

import itertools
import random
from collections.abc import Callable, Sequence
from dataclasses import dataclass

import numpy as np
import torch
from cmaes import CMA

Fitness = Callable[[torch.Tensor, Sequence[int]], float]  # weights and the items to answer
LOW, HIGH = -0.5, 2.0
FINALISTS = 10


@dataclass(frozen=True, kw_only=True)
class Found:
    """The chosen weights, their fitness on the choosing items, and how many candidates were tried."""

    weights: torch.Tensor
    chosen_at: float
    candidates: int


@dataclass(frozen=True, kw_only=True)
class Budget:
    """How many candidates of how many items, drawn from a fit split of `pool` items."""

    candidates: int = 300
    items: int = 80
    pool: int = 200


def _choose(tried: list[tuple[float, torch.Tensor]], choosing: Callable[[torch.Tensor], float]) -> Found:
    best = sorted(tried, key=lambda pair: -pair[0])[:FINALISTS]
    marks = [choosing(weights) for _, weights in best]
    top = int(np.argmax(marks))
    return Found(weights=best[top][1], chosen_at=marks[top], candidates=len(tried))


def evolve(
    shape: tuple[int, int],
    fitness: Fitness,
    choosing: Callable[[torch.Tensor], float],
    budget: Budget,
    seed: int,
) -> Found:
    """CMA-ES from 0.5 everywhere; each generation answers its own draw of items."""
    size = shape[0] * shape[1]
    bounds = np.array([[LOW, HIGH]] * size)
    search = CMA(mean=np.full(size, 0.5), sigma=0.4, bounds=bounds, seed=seed, population_size=12)
    rng, tried = random.Random(seed), []
    while len(tried) < budget.candidates:
        items = rng.sample(range(budget.pool), budget.items)
        told = []
        for _ in range(search.population_size):
            point = search.ask()
            weights = torch.tensor(point, dtype=torch.float32).view(shape)
            told.append((point, -fitness(weights, items)))
            tried.append((-told[-1][1], weights))
        search.tell(told)
    last = torch.tensor(search.mean, dtype=torch.float32).view(shape)
    return _choose([*tried[-100:], (2.0, last)], choosing)


def sample(
    shape: tuple[int, int],
    fitness: Fitness,
    choosing: Callable[[torch.Tensor], float],
    budget: Budget,
    seed: int,
) -> Found:
    """Random search: every weight even between 0 and 1.5."""
    rng = random.Random(seed)
    torch_rng = torch.Generator().manual_seed(seed)
    tried = []
    for _ in range(budget.candidates):
        weights = torch.rand(shape, generator=torch_rng) * 1.5
        tried.append((fitness(weights, rng.sample(range(budget.pool), budget.items)), weights))
    return _choose(tried, choosing)


def grid(
    shape: tuple[int, int], fitness: Fitness, choosing: Callable[[torch.Tensor], float], budget: Budget
) -> Found:
    """One weight per source: the finest even grid from 0 to 1.5 that the budget pays for, all items each."""
    points = budget.candidates * budget.items // budget.pool
    levels = int(points ** (1 / shape[0]) + 1e-9)
    values = np.linspace(0, 1.5, levels).tolist()
    tried = []
    for row in itertools.product(values, repeat=shape[0]):
        weights = torch.tensor(row).view(-1, 1).expand(shape)
        tried.append((fitness(weights, range(budget.pool)), weights))
    return _choose(tried, choosing)

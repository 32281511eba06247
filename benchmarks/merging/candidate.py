"""What a candidate in memory costs: ``kingyo.merge.into`` against copying the weights, in this process.

Run as a program it prints JSON: ``python -m merging.candidate MODELS REPEAT METHOD …``.
"""

from __future__ import annotations

import itertools
import json
import sys
import time
from collections.abc import Callable, Sequence
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import NamedTuple

import torch
from torch import Tensor

from kingyo.merge import How, Sources, into, open_sources, plan
from kingyo.recipe import Recipe
from merging.recipes import recipe

THREADS = (1, 2)
_FIRST = 3
_ENOUGH = 30.0
"""Seconds after which no further repetition begins."""


def main() -> None:
    """Measure all that was asked for."""
    folder, repeat, methods = Path(sys.argv[1]), int(sys.argv[2]), sys.argv[3:]
    print(json.dumps(measure(folder, repeat, methods)))


def measure(folder: Path, repeat: int, methods: Sequence[str]) -> dict[str, dict[str, float]]:
    """Nanoseconds per parameter: what -> number of threads, or "processor" time on one thread -> number."""
    opened = open_sources(read(recipe("task_arithmetic", folder, 3)))
    like = opened[str(folder / "base")]
    live = {name: torch.zeros(info.shape, dtype=torch.bfloat16) for name, info in like.tensors.items()}
    n = sum(tensor.numel() for tensor in live.values())
    found = {"memcpy": [copying(opened, live, threads, repeat) for threads in THREADS]}
    for method in methods:
        for sources in (2, 3):
            found[f"{method} of {sources}"] = [
                merging(method, folder, opened, live, (sources, threads, repeat)) for threads in THREADS
            ]
    return {
        what: {"1": 1e9 * one.seconds / n, "2": 1e9 * two.seconds / n, "processor": 1e9 * one.processor / n}
        for what, (one, two) in found.items()
    }


class Took(NamedTuple):
    """Wall time, and processor time of all threads, which a busy machine does not stretch."""

    seconds: float
    processor: float


def read(written: dict[str, object]) -> Recipe:
    """A recipe as it is."""
    return Recipe.from_dict(written)


def copying(opened: Sources, live: dict[str, Tensor], threads: int, repeat: int) -> Took:
    """To copy a source into the live model: the fastest of torch's way and of threads with halves.

    The sources take turns, as a candidate reads all of them: half of one alone may stay in a cache.
    """
    sources = [name for name in opened if not name.endswith("base")]
    pairs = [[(live[name], opened.read(source, name)) for name in live] for source in sources]
    halves = [_split(each, threads) for each in pairs]
    times: list[Took] = []
    with ThreadPoolExecutor(threads) as pool:
        turns, halved = itertools.cycle(pairs), itertools.cycle(halves)
        times.append(fastest(lambda: _copy(next(turns)), repeat, threads))
        if threads > 1:
            times.append(fastest(lambda: list(pool.map(_copy, next(halved))), repeat, 1))
    return min(times)


def merging(
    method: str, folder: Path, opened: Sources, live: dict[str, Tensor], how: tuple[int, int, int]
) -> Took:
    """One candidate, from its recipe; each has other weights and densities, as in a search.

    The first ones are not timed: they measure what later ones find (the first), and put in order what they
    will ask for again (the second). ``how`` is the number of sources, of threads, and of repetitions.
    """
    sources, threads, repeat = how
    recipes = [read(recipe(method, folder, sources, 0.5 + 0.01 * i)) for i in range(repeat + _FIRST)]
    queue = iter(recipes)

    def candidate() -> None:
        into(plan(next(queue), opened), live, How(threads=threads, compiled=True))

    for _ in range(_FIRST):
        candidate()
    return fastest(candidate, repeat, threads)


def fastest(run: Callable[[], object], repeat: int, threads: int) -> Took:
    """The fastest of several calls."""
    torch.set_num_threads(threads)
    times: list[Took] = []
    while len(times) < repeat and sum(took.seconds for took in times) < _ENOUGH:
        start = time.perf_counter(), time.process_time()
        run()
        times.append(Took(time.perf_counter() - start[0], time.process_time() - start[1]))
    return Took(min(took.seconds for took in times), min(took.processor for took in times))


def _copy(pairs: Sequence[tuple[Tensor, Tensor]]) -> None:
    for target, source in pairs:
        target.copy_(source)


def _split(pairs: Sequence[tuple[Tensor, Tensor]], parts: int) -> list[list[tuple[Tensor, Tensor]]]:
    """The same work for each thread: every tensor in equal parts."""
    return [
        [
            (target.view(-1).chunk(parts)[i], source.view(-1).chunk(parts)[i])
            for target, source in pairs
            if target.numel() >= parts
        ]
        for i in range(parts)
    ]


if __name__ == "__main__":
    main()

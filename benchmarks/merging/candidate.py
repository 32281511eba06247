"""What a candidate in memory costs: ``kingyo.merge.into`` against copying the weights, in this process.

Run as a program it prints JSON: ``python -m merging.candidate MODELS REPEAT METHOD …``.
"""

from __future__ import annotations

import json
import sys
import time
from collections.abc import Callable, Sequence
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import torch
from torch import Tensor

from kingyo.merge import How, Sources, into, open_sources, plan
from kingyo.recipe import Recipe
from merging.recipes import recipe

THREADS = (1, 2)
_ENOUGH = 30.0
"""Seconds after which no further repetition begins."""


def main() -> None:
    """Measure all that was asked for."""
    folder, repeat, methods = Path(sys.argv[1]), int(sys.argv[2]), sys.argv[3:]
    print(json.dumps(measure(folder, repeat, methods)))


def measure(folder: Path, repeat: int, methods: Sequence[str]) -> dict[str, dict[str, float]]:
    """Nanoseconds per parameter: what -> "1" or "2" threads -> number."""
    opened = open_sources(read(recipe("task_arithmetic", folder, 3)))
    like = opened[str(folder / "base")]
    live = {name: torch.zeros(info.shape, dtype=torch.bfloat16) for name, info in like.tensors.items()}
    n = sum(tensor.numel() for tensor in live.values())
    found = {"memcpy": {str(threads): copying(opened, live, threads, repeat) for threads in THREADS}}
    for method in methods:
        for sources in (2, 3):
            found[f"{method} of {sources}"] = {
                str(threads): merging(method, folder, opened, live, (sources, threads, repeat))
                for threads in THREADS
            }
    return {what: {threads: 1e9 * s / n for threads, s in row.items()} for what, row in found.items()}


def read(written: dict[str, object]) -> Recipe:
    """A recipe as it is."""
    return Recipe.from_dict(written)


def copying(opened: Sources, live: dict[str, Tensor], threads: int, repeat: int) -> float:
    """Seconds to copy a source into the live model: the fastest of torch's way and of threads with halves."""
    reference = next(name for name in opened if name.endswith("s0"))
    pairs = [(live[name], opened.read(reference, name)) for name in live]
    with ThreadPoolExecutor(threads) as pool:

        def by_halves() -> None:
            list(pool.map(_copy, _split(pairs, threads)))

        times = [fastest(lambda: _copy(pairs), repeat, threads)]
        times += [fastest(by_halves, repeat, 1)] if threads > 1 else []
    return min(times)


def merging(
    method: str, folder: Path, opened: Sources, live: dict[str, Tensor], how: tuple[int, int, int]
) -> float:
    """Seconds of one candidate; each has other weights, as in a search.

    ``how`` is the number of sources, of threads, and of repetitions.
    """
    sources, threads, repeat = how
    plans = [plan(read(recipe(method, folder, sources, 0.5 + 0.01 * i)), opened) for i in range(repeat + 1)]
    into(plans[-1], live, How(threads=threads, compiled=True))  # what is computed once per source
    queue = iter(plans)
    return fastest(lambda: into(next(queue), live, How(threads=threads, compiled=True)), repeat, threads)


def fastest(run: Callable[[], None], repeat: int, threads: int) -> float:
    """Seconds of the fastest of several calls."""
    torch.set_num_threads(threads)
    times: list[float] = []
    while len(times) < repeat and sum(times) < _ENOUGH:
        start = time.perf_counter()
        run()
        times.append(time.perf_counter() - start)
    return min(times)


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

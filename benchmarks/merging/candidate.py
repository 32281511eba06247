"""What a candidate in memory costs: ``kingyo.merging.engine.into`` beside copying weights, in this process.

Run as a program it prints JSON: ``python -m merging.candidate MODELS REPEAT SOURCES METHOD …``, with SOURCES
as in ``2,3``.
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

from kingyo.merging.engine import MergeOptions, Sources, into, open_sources, plan
from kingyo.merging.recipe import Recipe
from merging.models import recipe

THREADS = (1, 2)
_FIRST = 3
_ENOUGH = 30.0
"""Seconds after which no further repetition begins."""


def main() -> None:
    """Measure all that was asked for."""
    folder, repeat, counts, methods = Path(sys.argv[1]), int(sys.argv[2]), sys.argv[3], sys.argv[4:]
    print(json.dumps(measure(folder, repeat, [int(count) for count in counts.split(",")], methods)))


def measure(
    folder: Path, repeat: int, counts: Sequence[int], methods: Sequence[str]
) -> dict[str, dict[str, float]]:
    """Nanoseconds per parameter, of each method with each number of sources.

    What -> "1" and "2", numbers of threads, "processor" time on one thread, and of copying, in turns with
    it, "copy 1" and "copy 2".
    """
    opened = open_sources(read(recipe("task_arithmetic", folder, 3)))
    like = opened[str(folder / "base")]
    live = {name: torch.zeros(info.shape, dtype=torch.bfloat16) for name, info in like.tensors.items()}
    n = sum(tensor.numel() for tensor in live.values())
    found: dict[str, dict[str, float]] = {}
    for method, sources in itertools.product(methods, counts):
        row = found[f"{method} of {sources}"] = {}
        for threads in THREADS:
            copied, merged = merging(method, folder, opened, live, (sources, threads, repeat))
            row |= {f"{threads}": merged.seconds, f"copy {threads}": copied.seconds}
            row.setdefault("processor", merged.processor)
    return {what: {name: 1e9 * took / n for name, took in row.items()} for what, row in found.items()}


class Took(NamedTuple):
    """Wall time, and processor time of all threads, which a busy machine does not stretch."""

    seconds: float
    processor: float


def read(written: dict[str, object]) -> Recipe:
    """A recipe as it is."""
    return Recipe.from_dict(written)


def copying(
    opened: Sources, live: dict[str, Tensor], threads: int, pool: ThreadPoolExecutor
) -> list[Callable[[], object]]:
    """Ways to copy a source into the live model: torch's, and threads with halves.

    The sources take turns, as a candidate reads all of them: half of one alone may stay in a cache.
    """
    sources = [name for name in opened if not name.endswith("base")]
    pairs = [[(live[name], opened.read(source, name)) for name in live] for source in sources]
    halves = [_split(each, threads) for each in pairs]
    turns, halved = itertools.cycle(pairs), itertools.cycle(halves)
    ways: list[Callable[[], object]] = [lambda: _copy(next(turns))]
    return ways if threads == 1 else [*ways, lambda: list(pool.map(_copy, next(halved)))]


def merging(
    method: str, folder: Path, opened: Sources, live: dict[str, Tensor], how: tuple[int, int, int]
) -> tuple[Took, Took]:
    """Copying and one candidate, from its recipe; each has other weights and densities, as in a search.

    The first three are not timed: they measure what later ones find (the first), put in order what they will
    ask for again (the second), and warm up. ``how`` is the number of sources, of threads, and of repetitions.
    """
    sources, threads, repeat = how
    recipes = [read(recipe(method, folder, sources, 0.5 + 0.01 * i)) for i in range(repeat + _FIRST)]
    queue = iter(recipes)

    def candidate() -> None:
        into(plan(next(queue), opened), live, MergeOptions(threads=threads, compiled=True))

    for _ in range(_FIRST):
        candidate()
    with ThreadPoolExecutor(threads, initializer=torch.set_num_threads, initargs=(1,)) as pool:
        ways = copying(opened, live, threads, pool)
        *copied, merged = fastest([*ways, candidate], repeat, threads)
    return min(copied), merged


def fastest(runs: Sequence[Callable[[], object]], repeat: int, threads: int) -> list[Took]:
    """The fastest of several calls of each, which take turns."""
    torch.set_num_threads(threads)
    times: list[list[Took]] = [[] for _ in runs]
    begin = time.perf_counter()
    while len(times[-1]) < repeat and time.perf_counter() - begin < _ENOUGH:
        for run, found in zip(runs, times, strict=True):
            start = time.perf_counter(), time.process_time()
            run()
            found.append(Took(time.perf_counter() - start[0], time.process_time() - start[1]))
    return [Took(min(took.seconds for took in each), min(took.processor for took in each)) for each in times]


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

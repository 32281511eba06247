"""What genetic algorithms share: complete generations, known points, novel children, selected parents."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Callable, Sequence
from random import Random

from kingyo.strategies import genes
from kingyo.strategies.history import BaseStrategy, Observation
from kingyo.types import Axis, Genome, Outcome, Trial

Selection = Callable[[Sequence[float], Random], int]
"""Takes scores (finite, larger is better) and a random source, and returns an index."""


def tournament(size: int) -> Selection:
    """Return a selection that draws ``size`` different candidates and picks the best of them.

    Ties go to the first one drawn. If there are fewer than ``size`` candidates, all take part. (Goldberg and
    Deb 1991.)
    """

    def pick(scores: Sequence[float], rng: Random) -> int:
        sample = rng.sample(range(len(scores)), min(size, len(scores)))
        return max(sample, key=lambda index: scores[index])

    return pick


def pick_pair(scores: Sequence[float], select: Selection, rng: Random) -> tuple[int, int]:
    """Select two different of two or more candidates; the second selection excludes the first candidate."""
    one = select(scores, rng)
    two = select([*scores[:one], *scores[one + 1 :]], rng)
    return one, two + (two >= one)


class Generations(BaseStrategy, ABC):
    """Search in generations, for axes of every kind.

    A generation is complete when ``population`` outcomes are in, of whichever trials; until then, asks use
    the current parents, or random genomes if there are none. A child that repeats an earlier genome is
    mutated, one random gene at a time, until it is new (at most 20 times).
    """

    def __init__(self, axes: Sequence[Axis], seed: int, population: int, mutation_rate: float) -> None:
        super().__init__(axes, seed, population)
        self._rng = Random(seed)
        self._mutation_rate = mutation_rate
        self._seen: set[Genome] = set()
        self._known: list[Observation] = []  # until they become parents

    def ask(self, n: int) -> list[Trial]:
        while n and (generation := self._history.take(self._batch)):
            self._turn([observation for observation in generation if observation.score is not None])
        return [self._propose() for _ in range(n)]

    def warm_start(self, known: Sequence[Outcome]) -> None:
        """Add known points, which become parents with the first complete generation."""
        self._history.expect_objectives(known)
        points = sorted(map(Observation.of, known), key=lambda observation: -observation.number)
        self._known = [observation for observation in points if observation.score is not None]
        self._seen.update(observation.genome for observation in self._known)

    @abstractmethod
    def _turn(self, generation: Sequence[Observation]) -> None:
        """Choose the parents from the known points and the trials of a generation that did not fail."""

    @abstractmethod
    def _child(self) -> tuple[Genome, tuple[int, ...]] | None:
        """Return a child and the numbers of its parents; None if there are no parents."""

    @abstractmethod
    def _mutate(self, index: int, gene: float) -> float:
        """Return the mutated gene of the axis with this index."""

    def _newcomer(self) -> Genome:
        return genes.random_point(self._axes, self._rng)

    def _propose(self) -> Trial:
        genome, parents = self._child() or (self._newcomer(), ())
        genome = genes.mutate_until_new(genome, self._seen, self._mutate, self._rng)
        self._seen.add(genome)
        return self._history.ask(genome, tuple(parent for parent in parents if parent >= 0))

    def _mutated(self, genome: Genome) -> Genome:
        return tuple(
            self._mutate(index, gene) if self._rng.random() < self._mutation_rate else gene
            for index, gene in enumerate(genome)
        )

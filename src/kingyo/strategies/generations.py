"""Base class of the genetic algorithms: complete generations, migrants and novel children."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Sequence
from random import Random

from kingyo.strategies import genes
from kingyo.strategies.history import History, Observation, check_count, external_observations
from kingyo.types import Axis, Genome, Outcome, Trial


class Generations(ABC):
    """Search in generations, for axes of every kind.

    A generation is complete when ``population`` outcomes are in, of whichever trials; until then, asks use
    the current parents, or random genomes if there are none.

    Args:
        axes: the search space, already checked.
        seed: 0 or more.
        population: trials per generation.
        mutation_rate: probability that a gene of a child mutates.
    """

    def __init__(self, axes: tuple[Axis, ...], seed: int, population: int, mutation_rate: float) -> None:
        self._axes = axes
        self._rng = Random(seed)
        self._population = population
        self._mutation_rate = mutation_rate
        self._history = History()
        self._seen: set[Genome] = set()
        self._known: set[int] = set()
        self._migrants: list[Observation] = []

    @property
    def batch(self) -> int:
        """Trials per generation."""
        return self._population

    def ask(self, n: int) -> list[Trial]:
        """Propose n trials: the first population, then children."""
        check_count(n)
        if n == 0:
            return []
        while generation := self._history.take(self._population):
            self._turn(generation)
        return [self._propose() for _ in range(n)]

    def tell(self, outcomes: Sequence[Outcome]) -> None:
        """Record how trials ended; the parents change at the next ask."""
        self._history.tell(outcomes)

    def warm_start(self, known: Sequence[Outcome]) -> None:
        """Add measured points to the parents; children do not name them as parents."""
        self.inject(known)
        self._known = {outcome.trial.number for outcome in known}

    def inject(self, outcomes: Sequence[Outcome]) -> None:
        """Add migrants, which become parents with the next complete generation."""
        observations = external_observations(outcomes, len(self._axes))
        self._migrants += observations
        self._seen.update(observation.genome for observation in observations)

    @abstractmethod
    def _turn(self, generation: Sequence[Observation]) -> None:
        """Choose the parents from a complete generation and the migrants."""

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
        return self._history.ask(genome, tuple(parent for parent in parents if parent not in self._known))

    def _mutated(self, genome: Genome) -> Genome:
        return tuple(
            self._mutate(index, gene) if self._rng.random() < self._mutation_rate else gene
            for index, gene in enumerate(genome)
        )

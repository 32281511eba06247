"""What genetic algorithms share: complete generations, migrants among the parents, children that are new.

It knows no way to choose parents, to cross them or to mutate a gene.
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Sequence
from random import Random

from kingyo.strategies import genes
from kingyo.strategies.history import History, Observation, check_count, foreign_observations
from kingyo.types import Axis, Genome, Outcome, Trial


class Generations(ABC):
    """A search by one generation after another, for axes of every kind.

    A generation is complete when ``population`` outcomes are in, whichever trials they belong to; before
    that, asks go on from the parents that there are, or at random while there are none.

    Args:
        axes: checked.
        seed: 0 or more.
        population: trials per generation.
        mutation_rate: probability per gene of a child.
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
        """The size of a generation."""
        return self._population

    def ask(self, n: int) -> list[Trial]:
        """Propose n trials: the first population at random, then children."""
        check_count(n)
        if n == 0:
            return []
        while generation := self._history.take(self._population):
            self._turn(generation)
        return [self._propose() for _ in range(n)]

    def tell(self, outcomes: Sequence[Outcome]) -> None:
        """Learn how trials ended; a generation turns at the next ask."""
        self._history.tell(outcomes)

    def warm_start(self, known: Sequence[Outcome]) -> None:
        """Begin with points that were measured before; children do not name them as parents."""
        self.inject(known)
        self._known = {outcome.trial.number for outcome in known}

    def inject(self, outcomes: Sequence[Outcome]) -> None:
        """Take in migrants, which may be parents from the next complete generation on."""
        observations = foreign_observations(outcomes, len(self._axes))
        self._migrants += observations
        self._seen.update(each.genome for each in observations)

    @abstractmethod
    def _turn(self, generation: Sequence[Observation]) -> None:
        """Choose the parents from now on, migrants among them."""

    @abstractmethod
    def _child(self) -> tuple[Genome, tuple[int, ...]] | None:
        """Make a child, with the numbers of its parents; None while there are no parents."""

    @abstractmethod
    def _mutate(self, place: int, gene: float) -> float:
        """Change a gene, which stands at this place of the genome."""

    def _newcomer(self) -> Genome:
        return genes.random_point(self._axes, self._rng)

    def _propose(self) -> Trial:
        genome, parents = self._child() or (self._newcomer(), ())
        genome = genes.renewed(genome, self._seen, self._mutate, self._rng)
        self._seen.add(genome)
        return self._history.ask(genome, tuple(each for each in parents if each not in self._known))

    def _mutated(self, genome: Genome) -> Genome:
        return tuple(
            self._mutate(place, gene) if self._rng.random() < self._mutation_rate else gene
            for place, gene in enumerate(genome)
        )

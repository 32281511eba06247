"""Improve the weights of a merge by the gradient of a loss; the result is a genome of the same space.

W = W(g) is the merge of a genome g. One backward pass gives ∂L/∂W, and ∂L/∂g follows from the merge
(``engine.gradients``), so no other weights are trained.
The optimiser is Adam (Kingma & Ba 2015) within the bounds of the axes.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from kingyo.engine import ExecutionOptions, Sources, into, plan
from kingyo.engine.gradients import parameter_gradients
from kingyo.kernels.statistics_cache import TensorStats
from kingyo.models.examples import batches
from kingyo.space import ParameterSpace
from kingyo.types import Example, Genome

Vector = NDArray[np.float64]
_HOW = ExecutionOptions(compiled=True)


@dataclass(frozen=True, kw_only=True)
class Lessons:
    """Hyperparameters of learning weights.

    Attributes:
        steps: number of updates.
        rate: change of a gene in a step, as a share of its range, while its gradient keeps its sign.
        batch_size: examples per step.
        seed: draws the examples of each step.
        progress: called with the number of finished steps after each.
    """

    steps: int = 40
    rate: float = 0.03
    batch_size: int = 16
    seed: int = 0
    progress: Callable[[int], None] = lambda _: None


class WeightLearner:
    """Learns genomes of a space with a live model, whose weights it overwrites.

    Args:
        space: the space of the genomes.
        sources: the opened models of its recipes.
        live: a live model that ``HasGradients``.
    """

    def __init__(self, space: ParameterSpace, sources: Sources, live: Any) -> None:
        self._space = space
        self._sources = sources
        self._live = live
        self._stats = sources.facts or TensorStats(1 << 28)
        self._low, self._high = (
            np.array([getattr(axis, end) for axis in space.axes]) for end in ("low", "high")
        )

    def loss(self, genome: Genome, examples: Sequence[Example]) -> tuple[float, Vector]:
        """Return the loss of examples under a merge, and its derivatives by the genes."""
        merge = plan(self._space.decode(genome), self._sources)
        into(merge, self._live.weights, _HOW)
        loss, by_weight = self._live.loss_gradients(examples)
        gradient = np.zeros(len(genome))
        for job in merge.jobs:
            genes, upstream = self._space.genes_by_tensor.get(job.name, {}), by_weight.get(job.name)
            if not genes or upstream is None:
                continue
            found = parameter_gradients(job, upstream, self._sources.mapped.read, self._stats)
            for (name, source), derivative in found.items():
                gene = genes.get((name, None if source is None else job.inputs[source].reference))
                if gene is not None:
                    gradient[gene] += derivative
        return loss, gradient

    def improve(self, start: Genome, examples: Sequence[Example], lessons: Lessons) -> Genome:
        """Return a genome under which the examples are more likely."""
        width = self._high - self._low
        genome = np.array(start)
        moment, square = np.zeros_like(genome), np.zeros_like(genome)
        drawn = batches(examples, lessons.batch_size, lessons.seed)
        for step in range(1, lessons.steps + 1):
            _, gradient = self.loss(tuple(genome.tolist()), next(drawn))
            gradient = gradient * width  # as if all genes ran from 0 to 1
            moment = 0.9 * moment + 0.1 * gradient
            square = 0.99 * square + 0.01 * gradient**2
            change = moment / (1 - 0.9**step) / (np.sqrt(square / (1 - 0.99**step)) + 1e-8)
            genome = np.clip(genome - lessons.rate * width * change, self._low, self._high)
            lessons.progress(step)
        return tuple(genome.tolist())

"""Improve the weights of a merge by the gradient of a loss; the result is a genome of the same space.

W = W(g) is the merge of a genome g. One backward pass gives ∂L/∂W, and ∂L/∂g follows from the merge
(``engine.gradients``), so no other weights are trained. L is the loss of answers to items of fit that graders
call right: the items' own, or else those of models of the run (as in expert iteration: Anthony et al. 2017,
Thinking Fast and Slow with Deep Learning and Tree Search).
The optimiser is Adam (Kingma & Ba 2015) within the bounds of the axes.
"""

from __future__ import annotations

import math
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from functools import partial
from statistics import fmean
from typing import Any

import numpy as np
from numpy.typing import NDArray

from kingyo.core.io.lazy_torch import Tensor
from kingyo.core.io.units import counted, percent
from kingyo.core.types import Axis, Example, Genome, HasGradients, LearningStrategy, Lesson, Task
from kingyo.errors import KingyoError, crash
from kingyo.merging.engine.gradients import parameter_gradients
from kingyo.merging.recipe import Recipe
from kingyo.search.evolution import BASELINES, Event, Search
from kingyo.search.runners.evaluate import InPlaceMerger
from kingyo.search.space import ParameterSpace, innermost
from kingyo.store import Fact, RunStore
from kingyo.tasks import examples_of

Vector = NDArray[np.float64]

BATCH_SIZE = 8
BYTES_PER_TOKEN = 4
PASSES = 3
"""Cost of an example in a step, in evaluations of an item: a backward pass costs two forward passes."""
FEWEST_STEPS, MOST_STEPS = 10, 40
SHORTEST = FEWEST_STEPS * BATCH_SIZE * PASSES  # item evaluations
SHARE, TOTAL_SHARE = 1 / 3, 1 / 2
"""A lesson, and all lessons, cost at most these shares of the budget of their search."""
FEWEST_LEFT = 4
"""Candidates that the rest of the budget must buy after a lesson."""
FEWEST_TARGETS = 4
NO_LESSON = Fact("no_lesson", str)
"""Fact: why the first lesson that was due was not held."""
FAILURE = Fact("learning_failure", str)
"""Fact: why weights could not be learned any more."""
LEAST_GAIN, LEAST_GAIN_OF_FOUND = 0.05, 0.3
"""Shares of fit that the start must miss and targets solve: references, or else answers that models found.

What models find themselves are the easy items, which a search soon solves as well, unless it stands still.
"""
PLATEAU = 8
"""A search stands still once its best trial is this old, in trials."""


@dataclass(frozen=True, kw_only=True)
class Descent:
    """Hyperparameters of learning weights; ``progress`` is called with the number of finished steps.

    The first step changes a gene by ``rate``, as a share of its range, while its gradient keeps its sign; the
    rate falls linearly to 0.
    """

    steps: int = MOST_STEPS
    rate: float = 0.15
    batch_size: int = BATCH_SIZE
    seed: int = 0
    progress: Callable[[int], None] = lambda _: None


class WeightLearner:
    """Learns genomes of a space with the live model of a merger, whose weights it overwrites."""

    def __init__(
        self, space: ParameterSpace, decode: Callable[[Genome], Recipe], merger: InPlaceMerger
    ) -> None:
        assert isinstance(merger.model, HasGradients), "kinds whose models have none are refused before"
        self._space, self._decode, self._merger, self._live = space, decode, merger, merger.model

    def loss(self, genome: Genome, examples: Sequence[Example]) -> tuple[float, Vector]:
        """Return the loss of examples under a merge, and its derivatives by the genes."""
        merge = self._merger.merge(self._decode(genome))
        merged = [job for job in merge.jobs if job.method is not None]
        jobs = {job.name: job for job in merged if job.name in self._space.genes_by_tensor}
        gradient = np.zeros(len(genome))
        sources = merge.sources  # as the merge sees them: in the shapes and under the names of the output

        def add(name: str, upstream: Tensor) -> None:
            job, genes = jobs[name], self._space.genes_by_tensor[name]
            derivatives = parameter_gradients(job, upstream, sources.mapped.read, sources.facts)
            for (parameter, source), derivative in derivatives.items():
                owner = None if source is None else sources[job.inputs[source].reference].reference
                gene = genes.get((parameter, owner))
                if gene is not None:
                    gradient[gene] += derivative

        return self._live.loss_gradients(examples, jobs, add), gradient

    def improve(
        self, start: Genome, examples: Sequence[Example], descent: Descent
    ) -> tuple[Genome, list[float]]:
        return descend(self.loss, self._space.axes, start, examples, descent)


def descend(
    loss_of: Callable[[Genome, Sequence[Example]], tuple[float, Vector]],
    axes: Sequence[Axis],
    start: Genome,
    examples: Sequence[Example],
    descent: Descent,
) -> tuple[Genome, list[float]]:
    """Return a genome under which examples are more likely, and the loss of each step's examples.

    Genes have a normal prior around the mean of their family, with a standard deviation of 1, so few examples
    tell apart few of the genes of a source. The losses are without it.

    Args:
        loss_of: returns the loss of examples, a mean of −log p, and its derivatives by the genes.
    """
    from kingyo.models.training import batches  # imports torch

    low, high = (np.array([getattr(axis, end) for axis in axes]) for end in ("low", "high"))
    places = {name: place for place, name in enumerate(dict.fromkeys(axis.family for axis in axes))}
    width, family = high - low, np.array([places[axis.family] for axis in axes], dtype=np.intp)
    sizes = (1 if each.others else len(each.answer.encode()) / BYTES_PER_TOKEN for each in examples)
    precision = 1 / sum(max(1.0, size) for size in sizes)
    genome = np.array(start)
    moment, square = np.zeros_like(genome), np.zeros_like(genome)
    drawn, losses = batches(examples, descent.batch_size, descent.seed), list[float]()
    for step in range(1, descent.steps + 1):
        loss, gradient = loss_of(tuple(genome.tolist()), next(drawn))
        losses.append(loss)
        means = np.bincount(family, weights=genome) / np.bincount(family)
        gradient = gradient + precision * (genome - means[family])
        gradient = gradient * width  # as if all genes ran from 0 to 1
        moment = 0.9 * moment + 0.1 * gradient
        square = 0.99 * square + 0.01 * gradient**2
        change = moment / (1 - 0.9**step) / (np.sqrt(square / (1 - 0.99**step)) + 1e-8)
        rate = descent.rate * (1 - (step - 1) / descent.steps)
        genome = np.clip(genome - rate * width * change, low, high)
        descent.progress(step)
    return tuple(genome.tolist()), losses


@dataclass(frozen=True, kw_only=True)
class Allowance:
    """The budget for the lessons of a search.

    Attributes:
        budget: item evaluations of the search; None if only time limits it.
        seconds: its time; None if only item evaluations limit it.
        most_items: the items that a candidate is scored on at most.
    """

    search: str
    budget: int | None
    seconds: float | None = None
    most_items: int

    @staticmethod
    def of(search: Search, n_fit: int) -> Allowance:
        limits, most = search.limits, min(search.screen.items or n_fit, n_fit)
        candidates = None if limits.candidates is None else limits.candidates * most
        bounds = [bound for bound in (candidates, limits.item_evaluations) if bound is not None]
        budget = min(bounds, default=None)
        return Allowance(search=search.name, budget=budget, seconds=limits.seconds, most_items=most)

    @property
    def most(self) -> int | None:
        """Item evaluations that the first lesson may cost; None if only time limits them."""
        return None if self.budget is None else self._most(self.budget, 0, 0)

    @property
    def is_enough(self) -> bool:
        """Whether the shortest lesson fits into it."""
        return self.most is None or self.most >= SHORTEST

    @property
    def least_budget(self) -> int:
        """The item evaluations of a search that has room for the shortest lesson."""
        return max(math.ceil(SHORTEST / SHARE), SHORTEST + FEWEST_LEFT * self.most_items)

    def steps(self, store: RunStore, size: int) -> int:
        """Return how many steps the next lesson may have if each takes ``size`` examples."""
        learned = sum(lesson.items for lesson in store.lessons(self.search).values())
        costs = store.costs(self.search, "fit").values()
        spent, seconds = sum(items for items, _ in costs), sum(each for _, each in costs)
        budgets = [] if self.budget is None else [float(self.budget)]
        if self.seconds is not None and seconds:
            budgets.append(self.seconds * spent / seconds)  # at the speed so far
        items = min((self._most(budget, spent, learned) for budget in budgets), default=0)
        return max(0, min(MOST_STEPS, items // (PASSES * max(1, size))))

    def _most(self, budget: float, spent: int, learned: int) -> int:
        left = budget - spent - FEWEST_LEFT * self.most_items
        return int(min(SHARE * budget, TOTAL_SHARE * budget - learned, left))


@dataclass(frozen=True, kw_only=True)
class Teacher:
    """Learns the genomes that the strategy of a search asks for.

    Attributes:
        space: the search's, without rounding and shared keys.
        merger: returns a merger into a live model; called for the first lesson.
        is_demanded: whether run.yaml demands to learn, from answers that models found as from references.
    """

    search: Search
    space: ParameterSpace
    merger: Callable[[], InPlaceMerger]
    task: Task
    allowance: Allowance
    is_demanded: bool = False

    def prepare(self, store: RunStore, notify: Callable[[Event], None]) -> None:
        """Let the strategy learn; what it learned in earlier sessions is read from the store."""
        trials, lessons = store.trials(self.search.name), store.lessons(self.search.name)
        stored = {
            trial.asked.number: (trial.asked.genome, lessons[trial.id]) if trial.id in lessons else None
            for trial in trials
        }

        def learn(number: int, start: Genome) -> tuple[Genome, Lesson] | None:
            if number in stored:
                return stored[number]
            if store.fact(FAILURE) is not None:
                return None
            try:
                return self._lesson(store, notify, number, start)
            except (KingyoError, RuntimeError, MemoryError) as error:  # the search goes on without
                reason = str(error) if isinstance(error, KingyoError) else crash(error)
                store.set_fact(FAILURE, reason)
                return None

        assert isinstance(self.search.strategy, LearningStrategy), "a teacher is for strategies that learn"
        self.search.strategy.learn = learn

    def _lesson(
        self, store: RunStore, notify: Callable[[Event], None], number: int, start: Genome
    ) -> tuple[Genome, Lesson] | None:
        began, merger = time.perf_counter(), self.merger()
        examples, are_found = self._targets(store, merger.model)
        size = min(BATCH_SIZE, len(examples))
        steps = self.allowance.steps(store, size)
        gain = self._possible_gain(store, start, examples)
        genomes = [trial.asked.genome for trial in store.trials(self.search.name)]
        least_gain = worthwhile_gain(genomes, start, are_found=are_found)
        obstacles = {
            f"right answers to {counted(len(examples), 'item')} of fit are too few": len(examples)
            < FEWEST_TARGETS,
            f"the rest of the budget has no room for {FEWEST_STEPS} steps": steps < FEWEST_STEPS,
            f"right answers are known to {percent(gain)} of fit that the best so far misses, less than "
            f"{percent(least_gain)}": gain < least_gain,
        }
        reason = next((reason for reason, holds in obstacles.items() if holds), None)
        if reason is not None:
            if store.fact(NO_LESSON) is None:
                store.set_fact(NO_LESSON, reason)
            return None
        event = partial(Event, kind="trained", search=self.search.name, split="fit", total=steps)
        descent = Descent(
            steps=steps, seed=self.search.seed + number, progress=lambda done: notify(event(done=done))
        )
        learner = WeightLearner(self.space, self.search.space.decode, merger)
        genome, losses = learner.improve(start, examples, descent)
        some = max(1, steps // 5)
        lesson = Lesson(
            steps=steps,
            targets=len(examples),
            items=steps * size * PASSES,
            seconds=time.perf_counter() - began,
            loss=(float(np.mean(losses[:some])), float(np.mean(losses[-some:]))),
        )
        return genome, lesson

    def _targets(self, store: RunStore, model: Any) -> tuple[tuple[Example, ...], bool]:
        """Return examples of items of fit with a right answer, and whether models found most of them.

        That is an item's own answer, or else the one that models gave most often; only theirs if they write
        right answers in another form, such as with steps before a number: to learn a form that no source
        knows loses what they know.
        """
        fit, last = store.items()["fit"], max(trial.id for trial in store.trials())
        right = store.right_answers((BASELINES, self.search.name), "fit", last)
        answers = {item: texts[:1] for item, texts in right.items()}
        own = examples_of(self.task, model, fit, {}, prefers_given=False)
        found = examples_of(self.task, model, fit, answers, prefers_given=True)
        found = tuple(example for example in found if example.item in answers)
        if not _have_one_form(own, found):
            own = ()
        owned = {example.item for example in own}
        are_found = not self.is_demanded and 2 * len(owned) < len(fit)
        return (*own, *(example for example in found if example.item not in owned)), are_found

    def _possible_gain(self, store: RunStore, start: Genome, examples: Sequence[Example]) -> float:
        trials = store.trials(self.search.name)
        names = {name for name, genome in self.search.known.items() if genome == start}
        same = [trial for trial in trials if trial.asked.genome == start]
        same += [trial for trial in store.trials(BASELINES) if trial.name in names]
        scores = store.scores_of(same[-1].id, "fit") if same else {}
        mean = fmean(scores.values()) if scores else 0.0
        missed = [1 - scores.get(item, mean) for item in {example.item for example in examples}]
        return sum(missed) / len(store.items()["fit"])


def worthwhile_gain(genomes: Sequence[Genome], start: Genome, *, are_found: bool) -> float:
    """Return the share of fit that a lesson must promise; ``genomes`` are those of the search, in order."""
    age = len(genomes) - (genomes.index(start) if start in genomes else 0)
    return LEAST_GAIN_OF_FOUND if are_found and age < PLATEAU else LEAST_GAIN


def _have_one_form(own: Sequence[Example], found: Sequence[Example]) -> bool:
    texts = {example.item: example.answer.strip() for example in own}
    equal = [example.answer.strip() == texts[example.item] for example in found if example.item in texts]
    return len(equal) < FEWEST_TARGETS or 2 * sum(equal) >= len(equal)


def taught(
    search: Search,
    task: Task,
    merger: Callable[[], InPlaceMerger],
    n_fit: int,
    *,
    is_demanded: bool,
) -> Search:
    space = learned_space(search)
    if space is None:
        return search
    teacher = Teacher(
        search=search,
        space=space,
        merger=merger,
        task=task,
        allowance=Allowance.of(search, n_fit),
        is_demanded=is_demanded,
    )
    return replace(search, prepare=teacher.prepare)


def learned_space(search: Search) -> ParameterSpace | None:
    """Return the space whose weights a search learns; None if its strategy or space has none."""
    space = innermost(search.space)
    learns = isinstance(search.strategy, LearningStrategy)
    return space if learns and isinstance(space, ParameterSpace) else None

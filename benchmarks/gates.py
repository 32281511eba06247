"""Learn a weight for each source of a pool by gradient: its gate.

Targets are answers of merges that the graders call right. Those of the best source alone show no other skill,
so they are left out once there are enough others. Each round learns from the best source on; then the gates
answer the items without a right answer, and the gates with one more source each a part of the rest.
"""

from __future__ import annotations

import random
from collections.abc import Sequence
from dataclasses import dataclass, field

from kingyo.core.types import Example, Genome, Item
from kingyo.merging.kernels.statistics_cache import TensorStats
from kingyo.models.kinds import load_live
from kingyo.runs.learning import BATCH_SIZE, PASSES, Descent, WeightLearner
from kingyo.runs.model_kind import load_options
from kingyo.runs.run import Run
from kingyo.runs.spaces import parameter_space
from kingyo.search.runners.evaluate import InPlaceMerger, scores_of
from kingyo.tasks import examples_of

STEPS, RATE = 30, 0.05
CLOSED, ADDED = 0.35, 0.7
"""A gate below the first is closed; when its source is added, it gets the second."""


@dataclass(kw_only=True)
class GateLearner:
    """Learns gates within a budget of item evaluations, of which some are spent."""

    run: Run
    budget: int
    cost: int
    right: dict[str, str] = field(default_factory=dict[str, str])  # item -> the first right answer

    def __post_init__(self) -> None:
        live = load_live(self.run.kind, self.run.models.skeleton.path, load_options(self.run.config))
        self._merger = InPlaceMerger(live, self.run.open_sources(TensorStats(1 << 28)))
        self._space = parameter_space(self.run, self.run.settings.first)

    def gates(self, best: str) -> dict[str, float]:
        """Return source -> its gate, the largest first, from the best source on."""
        seed, learner = self.run.config.seed, WeightLearner(self._space, self._space.decode, self._merger)
        draw = random.Random(seed)
        start = gates = tuple(float(name == best) for name in self._space.sources)
        self._answer(start, self.run.items["fit"])
        easy = frozenset(self.right)
        self._add_each(start, draw)
        for number in range(len(self.run.items["fit"])):
            examples = self._examples(easy)
            cost = STEPS * min(BATCH_SIZE, len(examples)) * PASSES
            if not examples or self.cost + cost > self.budget:
                break
            descent = Descent(steps=STEPS, rate=RATE, seed=100 * seed + number)
            gates, _ = learner.improve(start, examples, descent)
            self.cost += cost
            self._answer(gates, self._left())
            self._add_each(gates, draw)
        return dict(sorted(zip(self._space.sources, gates, strict=True), key=lambda pair: -pair[1]))

    def _examples(self, easy: frozenset[str]) -> Sequence[Example]:
        answers = {item: [answer] for item, answer in self.right.items()}
        task, fit = self.run.task, self.run.items["fit"]
        examples = examples_of(task, self._merger.model, fit, answers, prefers_given=False)
        hard = [each for each in examples if each.item not in easy]
        return hard if len(hard) >= BATCH_SIZE else examples

    def _left(self) -> list[Item]:
        return [item for item in self.run.items["fit"] if item.id not in self.right]

    def _add_each(self, gates: Genome, draw: random.Random) -> None:
        """Add each source whose gate is closed, and answer a part of the items without a right answer."""
        closed, items = [i for i, gate in enumerate(gates) if gate < CLOSED], self._left()
        draw.shuffle(items)
        for k, i in enumerate(closed):
            self._answer((*gates[:i], ADDED, *gates[i + 1 :]), items[k :: len(closed)])

    def _answer(self, gates: Genome, items: Sequence[Item]) -> None:
        """Answer items if the budget allows it, and keep the right answers."""
        if items and self.cost + len(items) <= self.budget:
            scores = scores_of(self.run.task, self._merger(self._space.decode(gates)), items)
            self.cost += len(items)
            self.right = {each.item: each.answer for each in scores if each.score == 1} | self.right

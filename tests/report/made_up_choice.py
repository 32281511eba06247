"""Choices of sources without models: stepwise selection with made-up item scores, and what a report needs.

``python tests/report/made_up_choice.py FOLDER`` writes a report for each of ``WORLDS``.
"""

from __future__ import annotations

import random
import sys
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from kingyo.scout.candidate import Candidate, CardFacts, Exclusion, Facts
from kingyo.scout.catalogue import Catalogue, Group
from kingyo.scout.choice import ChosenSources, mean_score
from kingyo.scout.structure import MemberStructure, Structure
from kingyo.stats.paired import rank_correlation
from kingyo.strategies.stepwise import Stepwise
from kingyo.types import Axis, ItemScore, Outcome, Trial

BASE, HEAT = "org/base", 24
ATTACK = "<script>document.title='broken'</script>\"'&"


@dataclass(frozen=True, kw_only=True)
class World:
    """Candidates of which the first ones have one skill each; an item needs one or two skills.

    Attributes:
        useful, useless: numbers of candidates with a skill and without.
        items: number of fit items.
        copies: candidates that are near-duplicates of the first, and are not tried.
        measured: whether weights were measured.
        budget: most generations; None for all.
        fails: whether the last candidate cannot be scored.
        name: how names of candidates begin.
        per_prompt: number of items that are pictures of one prompt.
    """

    useful: int = 4
    useless: int = 4
    items: int = 160
    copies: int = 0
    measured: bool = True
    budget: int | None = None
    fails: bool = False
    name: str = "model"
    per_prompt: int = 1

    @property
    def groups(self) -> dict[str, str]:
        items = range(self.items if self.per_prompt > 1 else 0)
        return {f"item-{item:03d}": f"prompt {item // self.per_prompt}" for item in items}

    @property
    def n(self) -> int:
        return self.useful + self.useless

    @property
    def names(self) -> list[str]:
        return [f"{self.name}-{i}" for i in range(self.n)]

    def scores(self, trial: Trial, items: Sequence[int]) -> Outcome:
        on = {i for i, gene in enumerate(trial.genome) if gene}
        if self.fails and on == {self.n - 1}:
            return Outcome(trial=trial, failure=f"it answers {ATTACK}")
        solved = [self._needs(item) <= on and len(on) > 0 for item in items]
        return Outcome(
            trial=trial,
            scores=tuple(
                ItemScore(item=f"item-{item:03d}", score=float(each), answer="")
                for item, each in zip(items, solved, strict=True)
            ),
        )

    def _needs(self, item: int) -> set[int]:
        chance = random.Random(item)
        return set(chance.choices(range(self.useful), k=chance.choice([1, 1, 2]))) if self.useful else {-1}


WORLDS = {
    "plain": World(copies=1, fails=True),
    "unmeasured": World(measured=False),
    "hostile": World(name=ATTACK, fails=True, copies=1),
    "nothing": World(useful=0, useless=5),
    "one": World(useful=1),
    "open": World(budget=3),
    "begun": World(budget=0),
    "many": World(useful=12, useless=48, items=600, copies=3),
    "many unmeasured": World(useful=12, useless=48, items=600, measured=False),
}


def made_up(world: World) -> tuple[Catalogue, Group, ChosenSources]:
    """Return the arguments of a report."""
    axes = [Axis(name=f"weight/{i}", low=0.0, high=1.5, neutral=0.0) for i in range(world.n)]
    strategy = Stepwise(axes, 0, Stepwise.Settings(item_groups=world.groups))
    count = 0
    for generation in range(1000 if world.budget is None else world.budget):
        trials = strategy.ask(strategy.batch)
        items = random.Random(generation).sample(range(world.items), HEAT)
        strategy.tell([world.scores(trial, items) for trial in trials])
        count += HEAT * len(trials)
    _ = strategy.batch
    tried = tuple(candidate(f"org/{name}") for name in world.names)
    copies = tuple(candidate(f"org/{world.name}-copy-{i}") for i in range(world.copies))
    members = (*tried, *copies)
    shape = structure(world, [each.reference for each in members]) if world.measured else None
    whole = Group(base=BASE, why="named by all", members=members, structure=shape)
    other = Group(base="org/other", why="named by 2", members=(candidate("org/x"), candidate("org/y")))
    reason = Exclusion(reason="unreadable", detail=f"cut off {ATTACK}")
    excluded = (candidate("org/broken", reason),)
    found = Catalogue(base=None, groups=(whole, other), excluded=excluded, unread={})
    group = Group(base=BASE, why=whole.why, members=tried, structure=shape)
    return found, group, choice_of(strategy, world, count)


def candidate(reference: str, exclusion: Exclusion | None = None) -> Candidate:
    facts = Facts(kind="causal-lm", architecture="llama", n_parameters=135_000_000, n_bytes=270_000_000)
    card = CardFacts(licences=("apache-2.0",))
    return Candidate(reference=reference, card=card, facts=facts, exclusion=exclusion)


def choice_of(strategy: Stepwise, world: World, count: int) -> ChosenSources:
    names = world.names
    sets = {(i,): strategy.scores_of([i]) for i in range(world.n)}
    sets |= {step.chosen: dict(step.items) for step in strategy.steps}
    sets[strategy.chosen] = strategy.scores_of(strategy.chosen)
    final = sets[strategy.chosen]
    pairs = [
        (step.predicted[i].mean, gain.mean) for step in strategy.steps[1:] for i, gain in step.gains.items()
    ]
    return ChosenSources(
        sources=tuple(names),
        chosen=tuple(names[i] for i in strategy.chosen),
        groups="one",
        weights={names[i]: strategy.weights.of(i) for i in strategy.chosen},
        steps=tuple(strategy.steps),
        contributions={names[i]: gain for i, gain in strategy.contributions.items()},
        verdict=strategy.verdict,
        score=mean_score(final, world.groups) if final else None,
        frame=None,
        alone={names[i]: mean_score(sets[i,], world.groups) for i in range(world.n) if sets[i,]},
        item_scores={tuple(names[i] for i in key): items for key, items in sets.items() if items},
        failed={names[-1]: f"it answers {ATTACK}"} if world.fails else {},
        correlation=rank_correlation([each[0] for each in pairs], [each[1] for each in pairs]),
        item_evaluations=count,
        minutes=1.5,
        item_groups=world.groups,
    )


def structure(world: World, references: Sequence[str]) -> Structure:
    """Return task vectors of which neighbours have some in common; copies equal the first nearly."""
    rng = np.random.default_rng(0)
    vectors = rng.normal(size=(len(references), 40))
    vectors[1::2] += vectors[: len(vectors) - 1 : 2]
    vectors[world.n :] = vectors[0] + 0.01 * vectors[world.n :]
    norms = np.linalg.norm(vectors, axis=1)
    n = len(references)
    members = tuple(
        MemberStructure(
            reference=reference,
            norm=float(norms[i]),
            change=0.1,
            layers={},
            duplicate_of=references[0] if i >= world.n else None,
            outlier="far" if i == 1 else None,
        )
        for i, reference in enumerate(references)
    )
    return Structure(
        base=BASE,
        members=members,
        cosines=vectors @ vectors.T / np.outer(norms, norms),
        conflicts=np.full((n, n), 0.5),
        overlaps=np.zeros((n, n)),
        n_measured=100,
        n_parameters=100,
    )


if __name__ == "__main__":
    from kingyo.report.scout_page import write_scout_report

    for name, world in WORLDS.items():
        write_scout_report(*made_up(world), Path(sys.argv[1]) / name.replace(" ", "-"))

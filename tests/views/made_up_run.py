"""A plausible run without any model, written through the store's public API: for looking at reports.

``python tests/views/made_up_run.py FOLDER`` writes one, and its report.
"""

import json
import sys
import time
from collections.abc import Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from random import Random

from kingyo.core.types import Evaluation, Item, ItemScore, Lesson, Outcome, Split, Trial
from kingyo.merging.recipe import Hop, Recipe, Source
from kingyo.search.evolution import BASELINES, MAIN
from kingyo.search.evolution.trial_recipes import new_trial
from kingyo.search.space import path_recipe
from kingyo.store import RunStore, StoredTrial

SOURCES = ("ja", "math-en", "math-sym", "poems", "weather")
TARGET = {"ja": (0.9, 1.1, 1.3), "math-en": (1.2, 1.0, 0.1), "math-sym": (0.5, 0.6, 0.0)}
ONCE, TWICE = 0.8, 1.5
"""A layer is passed where its gene is above the first, and once more above the second."""
ATTACK = "<script>document.title='broken'</script><img src=x onerror=alert(1)>&\"'"


@dataclass(frozen=True, kw_only=True)
class Shape:
    """What the made-up run is like.

    ``reach`` is how good a perfect genome is, ``stop`` how far the run goes: search, picked or finished.
    ``objectives``: the score, and then measures of the recipe, as many as there are names. ``asked``: so many
    items of fit of each candidate and each model to compare with, where not all. ``lessons``: trials that
    were learned from the best before; until the first, the genes of a source are equal. ``paths``: genes say
    which layers are passed and how scaled, of sources with as many layers as there are groups.
    """

    strategy: str = "ga"
    groups: tuple[str, ...] = ("embedding", "block.0", "block.1", "block.2", "block.3", "head")
    trials: int = 120
    items: int = 200
    reach: float = 0.8
    stop: str = "finished"
    controls: bool = True
    seed: int = 0
    objectives: tuple[str, ...] = ()
    asked: int | None = None
    lessons: tuple[int, ...] = ()
    sources: tuple[str, ...] = SOURCES
    paths: bool = False
    batch: int = 20


def write(folder: Path, shape: Shape) -> Path:
    """Write a run; return its folder."""
    Writer(folder, shape).write()
    return folder


class Writer:
    """Fills a store as a run would."""

    def __init__(self, folder: Path, shape: Shape) -> None:
        self.shape = shape
        self.rng = Random(shape.seed)
        self.store = RunStore.create(folder)
        self.splits = {
            split: tuple(_item(self.rng, split, i) for i in range(n))
            for split, n in {"fit": 100, "validation": 80, "test": shape.items}.items()
        }
        # One difficulty per item for everybody, so that paired scores are correlated as real ones are.
        self.luck = {i.id: self.rng.random() for items in self.splits.values() for i in items}

    def write(self) -> None:
        shape = self.shape
        self.store.begin(_facts(shape), self.splits)
        self.baselines()
        self.search(MAIN, shape.strategy, shape.groups)
        if shape.controls and shape.stop != "search":
            self.search("random", "random", shape.groups)
            if not shape.paths:
                self.search("grid", "grid of 3 per axis", ("all",))
        if shape.stop != "search":
            winners = [self.pick(name) for name in self.store.searches() if name != BASELINES]
            self.score(self.store.trials(BASELINES), "validation")
            if shape.stop == "finished":
                self.score(winners, "test")
                self.score(self.store.trials(BASELINES), "test")
                self.store.set_fact("status", "finished")
        self.store.close()

    def baselines(self) -> None:
        self.store.add_search(BASELINES, {"what": "models to compare with"})
        names = ("base", *self.shape.sources, "uniform", *(["frankenmerge"] if self.shape.paths else []))
        new = [
            new_trial(Trial(number=i, genome=()), self.to_compare(name), name) for i, name in enumerate(names)
        ]
        self.score(self.store.add_trials(BASELINES, 0, new), "fit")

    def to_compare(self, name: str) -> Recipe:
        sources = self.shape.sources
        if not self.shape.paths or name not in (*sources, "frankenmerge"):
            return _recipe(name)
        layers = len(self.shape.groups)
        layer_paths = {source: [(f"zoo/{source}", k) for k in range(layers)] for source in sources}
        first, last = layer_paths[sources[0]][: layers * 3 // 4], layer_paths[sources[1]][layers // 4 :]
        path = [*first, *last] if name == "frankenmerge" else layer_paths[name]
        return path_recipe(path, path[0][0], None)

    def recipe(self, trial: Trial) -> Recipe:
        if not self.shape.paths:
            return _recipe(*trial.genome, number=trial.number)
        places = [(source, k) for source in self.shape.sources for k in range(len(self.shape.groups))]
        hops = [
            Hop(model=f"zoo/{source}", layer=k, scale=float(f"{2 ** (gene - 1.2):.4g}"))
            for border in (ONCE, TWICE)
            for (source, k), gene in zip(places, trial.genome, strict=True)
            if gene > border
        ]
        frame = f"zoo/{self.shape.sources[0]}"
        return Recipe(
            merge_method="passthrough", path=tuple(hops) or (Hop(model=frame, layer=0),), base_model=frame
        )

    def search(self, name: str, strategy: str, groups: Sequence[str]) -> None:
        axes = [f"weight/{source}/{group}" for source in self.shape.sources for group in groups]
        if self.shape.paths:
            axes = [f"pass 1/{source}.{k}" for source in self.shape.sources for k in range(len(groups))]
        self.store.add_search(
            name,
            {
                "strategy": strategy,
                "method": "task_arithmetic",
                "groups": "one" if len(groups) == 1 else "block",
                **({"space": "dataflow"} if self.shape.paths else {}),
                "axes": [{"name": axis, "low": -0.5, "high": 2.0} for axis in axes],
            },
        )
        outcomes: list[Outcome] = []
        batch = 0
        while len(outcomes) < self.shape.trials:
            count = min(self.shape.batch, self.shape.trials - len(outcomes))
            proposals = [self.ask(len(outcomes) + i, outcomes, strategy, len(axes)) for i in range(count)]
            new = [new_trial(trial, self.recipe(trial)) for trial in proposals]
            stored = self.store.add_trials(name, batch, new)
            scored = self.score(stored, "fit")
            outcomes += [_outcome(each, evaluation) for each, evaluation in scored]
            if self.shape.objectives or self.shape.asked:
                self.store.add_outcomes(
                    {each.id: self.objectives(each, evaluation) for each, evaluation in scored}
                )
            batch += 1

    def ask(self, number: int, outcomes: Sequence[Outcome], strategy: str, axes: int) -> Trial:
        rng = self.rng
        scored = sorted((o for o in outcomes if o.score is not None), key=lambda o: -(o.score or 0))[:12]
        if self.shape.lessons and strategy == self.shape.strategy:
            return self.memetic(number, scored, axes // len(self.shape.sources))
        if strategy.startswith(("random", "grid")) or not scored:
            return Trial(number=number, genome=tuple(rng.uniform(-0.5, 2.0) for _ in range(axes)))
        a, b = rng.choice(scored).trial, rng.choice(scored).trial
        genes = [x if rng.random() < 0.5 else y for x, y in zip(a.genome, b.genome, strict=True)]
        mutated = [min(2.0, max(-0.5, g + rng.gauss(0, 0.3))) if rng.random() < 0.15 else g for g in genes]
        parents = tuple(dict.fromkeys((a.number, b.number))) if strategy == "ga" else ()
        return Trial(number=number, genome=tuple(mutated), parents=parents)

    def memetic(self, number: int, scored: Sequence[Outcome], groups: int) -> Trial:
        rng, lessons = self.rng, self.shape.lessons
        means = [rng.uniform(0.3, 1.3) for _ in self.shape.sources]
        if number < lessons[0]:
            return Trial(number=number, genome=tuple(mean for mean in means for _ in range(groups)))
        genome = tuple(mean * rng.uniform(0.5, 1.5) for mean in means for _ in range(groups))
        if number not in lessons:
            return Trial(number=number, genome=genome)
        lesson = Lesson(steps=30, targets=24, items=720, seconds=12.0, loss=(1.8, 0.9))
        return Trial(number=number, genome=genome, parents=(scored[0].trial.number,), lesson=lesson)

    def score(self, trials: Sequence[StoredTrial], split: Split) -> list[tuple[StoredTrial, Evaluation]]:
        scored: list[tuple[StoredTrial, Evaluation]] = []
        for trial in trials:
            evaluation = self.evaluate(trial, split)
            self.store.record(trial.id, split, evaluation)
            scored.append((trial, evaluation))
        return scored

    def objectives(self, trial: StoredTrial, evaluation: Evaluation) -> Outcome:
        if evaluation.mean is None:
            return Outcome(trial=trial.asked, failure=evaluation.failure)
        if self.shape.asked:
            estimate = 0.1 + 0.8 * evaluation.mean
            return Outcome(trial=trial.asked, value=estimate, is_partial=True)
        sizes = [abs(gene) for gene in trial.asked.genome]
        measures = (
            1 / (1 + sum(sizes) / len(self.shape.sources)),
            sum(size < 0.5 for size in sizes) / len(sizes),
        )
        objectives = (evaluation.mean, *measures)[: len(self.shape.objectives)]
        return Outcome(trial=trial.asked, value=evaluation.mean, objectives=objectives)

    def pick(self, name: str) -> StoredTrial:
        fits = {line.trial: line.mean for line in self.store.summaries("fit") if line.mean is not None}
        ranked = sorted((t for t in self.store.trials(name) if t.id in fits), key=lambda t: -fits[t.id])
        judged = self.score(ranked[:8], "validation")
        winner = max(judged, key=lambda each: each[1].mean or 0.0)[0]
        self.store.set_winner(name, winner.id)
        return winner

    def evaluate(self, trial: StoredTrial, split: Split) -> Evaluation:
        if trial.name is None and split == "fit" and self.rng.random() < 0.03:
            reason = self.rng.choice(("weights are not finite", f"RuntimeError: {ATTACK}"))
            return Evaluation(failure=reason, build_seconds=0.01)
        ability = self.ability(trial)
        items = self.splits[split][: self.shape.asked if split == "fit" else None]
        scores = tuple(self.answer(trial, item, ability) for item in items)
        return Evaluation(scores=scores, build_seconds=0.011, score_seconds=0.31)

    def ability(self, trial: StoredTrial) -> float:
        if trial.name is not None:
            known = {
                "base": 0.04,
                "ja": 0.08,
                "math-en": 0.22,
                "math-sym": 0.02,
                "uniform": 0.41,
                "frankenmerge": 0.3,
            }
            return known.get(trial.name, 0.0)
        groups = len(trial.asked.genome) // len(self.shape.sources)
        miss = 0.0
        for s, source in enumerate(self.shape.sources):
            for third, expected in enumerate(TARGET.get(source, (0.0, 0.0, 0.0))):
                gene = trial.asked.genome[s * groups + third * groups // 3]
                miss += (gene - expected) ** 2 / 3
        return self.shape.reach * max(0.0, 1 - miss / (len(self.shape.sources) * 0.9))

    def answer(self, trial: StoredTrial, item: Item, ability: float) -> ItemScore:
        ability_ = 0.6 * self.luck[item.id] + 0.4 * self.rng.random()
        right = ability_ < ability
        return ItemScore(item=item.id, score=float(right), answer=self.text(trial, item, right))

    def text(self, trial: StoredTrial, item: Item, right: bool) -> str:
        number = int(item.answer) if right else int(item.answer) + self.rng.choice((-3, -1, 1, 2, 10))
        if trial.name == "math-en":
            return f"{number + 4} - 4 = {number}. The answer is {item.answer if not right else number}."
        if trial.name == "weather":
            return self.rng.choice((f"rain then sun {ATTACK}", "the wind is from the north " * 30, ""))
        if trial.name == "poems":
            return "古池や\n蛙飛びこむ\n水の音"
        return f"{number + 4}-4={number}。答えは{number}個です。"


def _item(rng: Random, split: str, i: int) -> Item:
    a, b, c = rng.randint(2, 60), rng.randint(1, 30), rng.randint(1, 20)
    who = rng.choice(("花子さん", "太郎くん", "金魚屋さん"))
    prompt = f"{who}はりんごを{a}個持っています。{b}個もらい、{c}個食べました。今、りんごは何個ありますか。"
    return Item(id=f"{split}-{i}", prompt=f"問題: {prompt}\n答え:", answer=str(a + b - c))


def _facts(shape: Shape) -> dict[str, object]:
    task = {"data": "items.jsonl", "grader": ["number", "language: ja"]}
    return {
        "name": "demo",
        "version": "0.1.0",
        "created": time.time(),
        "status": "running",
        "folder": "/somewhere",
        "duplicates_dropped": 3,
        **({"aims": {"tasks": {"": 1.0}, "objectives": list(shape.objectives)}} if shape.objectives else {}),
        "config": {
            "name": "demo",
            "seed": shape.seed,
            "base": "/home/somebody/zoo/base",
            "sources": {name: f"zoo/{name}" for name in shape.sources},
            "task": task,
            "merge": {"method": "task_arithmetic", "groups": "block"},
            "search": {"preset": "quick"},
            "budget": {"candidates": shape.trials},
        },
    }


def _recipe(*genes: float | str, number: int = 0) -> Recipe:
    """A recipe like no other trial's, even where crossover gave the same genes again."""
    weights = [float(len(gene)) if isinstance(gene, str) else gene + number * 1e-9 for gene in genes]
    sources = tuple(Source(model=f"zoo/{i}", parameters={"weight": w}) for i, w in enumerate(weights))
    return Recipe(merge_method="linear", sources=sources)


def _outcome(trial: StoredTrial, evaluation: Evaluation) -> Outcome:
    if evaluation.failure is not None:
        return Outcome(trial=trial.asked, failure=evaluation.failure)
    return Outcome(trial=trial.asked, items=evaluation.items)


if __name__ == "__main__":
    from kingyo.views.page import write_report

    run = write(Path(sys.argv[1]), replace(Shape(), **json.loads(sys.argv[2] if sys.argv[2:] else "{}")))
    with RunStore.read(run) as opened:
        print(write_report(opened))  # noqa: T201

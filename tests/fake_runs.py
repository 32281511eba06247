"""Runs of fake models that answer at once."""

import random
from collections import Counter
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path

from kingyo.core.types import Axis, Evaluation, Genome, Item, ItemScore, Split
from kingyo.merging.recipe import Recipe, Source
from kingyo.search.evolution import BASELINES, MAIN, Event, Journey, Limits, Search, fixed
from kingyo.search.evolution.screens import ScreenSettings
from kingyo.search.runners import Job, LocalRunner, Runner
from kingyo.search.runners.runner import Evaluate, JobProgress, ignore_jobs
from kingyo.search.strategies import build
from kingyo.store import RunStore

AXES = (Axis(name="weight/a", low=0, high=1), Axis(name="weight/b", low=0, high=1))
N_ITEMS: dict[Split, int] = {"fit": 8, "validation": 5, "test": 6}


def made_splits(sizes: Mapping[Split, int]) -> dict[Split, tuple[Item, ...]]:
    return {
        split: tuple(Item(id=f"{split}{n}", prompt=f"{split} {n}", answer="") for n in range(size))
        for split, size in sizes.items()
    }


SPLITS = made_splits(N_ITEMS)
THIRTY = Limits(candidates=30)
ALL = ScreenSettings()


class Plane:
    axes = AXES

    def decode(self, genome: Genome) -> Recipe:
        return weights(*genome)


class Corners(Plane):
    """Few recipes, so that a generation has several of one."""

    def decode(self, genome: Genome) -> Recipe:
        return weights(round(genome[0]), round(genome[1]))


def weights(a: float, b: float) -> Recipe:
    return Recipe(
        merge_method="linear",
        sources=(Source(model="a", parameters={"weight": a}), Source(model="b", parameters={"weight": b})),
    )


class Model:
    """Item n is right when the weights are near enough to (0.7, 0.2). Counts what it is asked."""

    def __init__(
        self, fails: Callable[[Recipe], bool] = lambda _: False, stop_after: int | None = None
    ) -> None:
        self.asked: Counter[tuple[str, Split]] = Counter()
        self._fails = fails
        self._stop_after = stop_after

    def __call__(self, recipe: Recipe, split: Split, items: Sequence[str]) -> Evaluation:
        if self._stop_after is not None and self.asked.total() >= self._stop_after:
            raise KeyboardInterrupt
        self.asked[recipe.hash, split] += 1
        if self._fails(recipe):
            return Evaluation(failure="it crashed")
        a, b = (float(source.parameters["weight"]) for source in recipe.sources)  # type: ignore[arg-type]
        distance = abs(a - 0.7) + abs(b - 0.2)
        scores = tuple(
            ItemScore(item=item.id, score=float(distance < (n + 1) / 8), answer=f"{distance:.3f}")
            for n, item in enumerate(SPLITS[split])
            if item.id in set(items)
        )
        return Evaluation(scores=scores, build_seconds=0.001, score_seconds=0.01)


def journey(
    store: RunStore,
    model: Model | Runner,
    *,
    strategy: str = "ga",
    limits: Limits = THIRTY,
    screen: ScreenSettings = ALL,
    rounded: bool = False,
    reuse: bool = True,
    is_asynchronous: bool = False,
    notify: Callable[[Event], None] = lambda _: None,
) -> Journey:
    options: dict[str, object] = {"population": 6} if strategy in {"ga", "cma-es"} else {}
    main = Search(
        name=MAIN,
        space=Corners() if rounded else Plane(),
        strategy=build(strategy, AXES, 3, options),
        limits=limits,
        screen=screen,
        is_asynchronous=is_asynchronous,
        description={"strategy": strategy},
    )
    control = Search(
        name="random", space=Plane(), strategy=build("random", AXES, 3, {}), limits=Limits(), like=(MAIN,)
    )
    return Journey(
        store=store,
        runner=LocalRunner(model) if isinstance(model, Model) else model,
        baselines={"a": weights(1, 0), "b": weights(0, 1), "uniform": weights(0.5, 0.5)},
        stages=[fixed(main, control)],
        finalists=4,
        reuse=reuse,
        notify=notify,
    )


def begun(folder: Path, splits: Mapping[Split, Sequence[Item]] = SPLITS) -> RunStore:
    store = RunStore.create(folder)
    store.begin({"status": "running"}, splits)
    return store


def facts(store: RunStore) -> tuple[object, ...]:
    """All that must not depend on how often a run was interrupted."""
    names = list(store.searches())
    return (
        [(each.search, each.asked, each.batch, each.recipe_hash) for each in store.trials()],
        [
            [
                (e.trial, e.n, e.mean, e.value, e.failure, e.is_partial, e.copied_from)
                for e in store.summaries(split)
            ]
            for split in N_ITEMS
        ],
        [store.outcomes(name) for name in names],
        [store.scores(name, "fit") for name in names],
        [{trial: items for trial, (items, _) in store.costs(name, "fit").items()} for name in names],
        [store.winner(name) for name in names if name != BASELINES],
        store.fact("status"),
    )


class Shuffled:
    """A runner with several workers that finish in any order."""

    def __init__(self, model: Evaluate, seed: int, n_workers: int = 3) -> None:
        self.n_workers = n_workers
        self._model = model
        self._dice = random.Random(seed)
        self._jobs: list[Job] = []
        self.most = 0

    def submit(self, job: Job) -> None:
        self._jobs.append(job)
        self.most = max(self.most, len(self._jobs))

    def next(self, progress: JobProgress = ignore_jobs) -> tuple[int, Evaluation]:
        job = self._jobs.pop(self._dice.randrange(min(self.n_workers, len(self._jobs))))
        return job.id, self._model(job.recipe, job.split, job.items)

    def close(self) -> None:
        self._jobs.clear()

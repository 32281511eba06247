"""All that the page of a run shows, as numbers, read from its store once; without absolute paths."""

from __future__ import annotations

import math
from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from functools import cached_property
from itertools import pairwise
from typing import Any

from kingyo.core.io.units import counted
from kingyo.core.types import Item, Split
from kingyo.errors import report_errors
from kingyo.search.evolution import BASELINES, MAIN, stored_objectives
from kingyo.search.evolution.objectives import has_item_scores
from kingyo.search.evolution.trial_recipes import read_recipe
from kingyo.stats import Interval
from kingyo.store import CONFIG, EvaluationRow, RunStore, StoredTrial
from kingyo.views.advice import Advice, advise
from kingyo.views.cards import AnswerContrast, ContactSheet, contact_sheet, contrast
from kingyo.views.rating.results import SplitRating, read_ratings
from kingyo.views.results.genes import (
    Gene,
    Matrix,
    NamedPath,
    read_genes,
    read_matrices,
    read_run_layers,
    with_passed_layers,
)
from kingyo.views.results.model_result import ModelResult, raw_means, read_model_result
from kingyo.views.results.summary import BRED, RunSummary, summarize
from kingyo.views.results.trials import SHARES, Unit, describe_search, percent, unit_of
from kingyo.views.results.tuning import describe_lesson
from kingyo.views.view import command_without_places, shown_folder, without_places

MAX_GROUPS = 30  # columns of the chart of a search
MIN_TRIALS = 8  # of a group: the share of fewer says little


@dataclass(frozen=True, kw_only=True)
class Point:
    """One trial that was evaluated on fit.

    ``score`` is what its strategy received: its mean, or an estimate where ``is_partial``. ``raw`` is the
    mean over the items that were scored. Both are None for a failure. ``lesson``: how its genome was learned.
    """

    trial: StoredTrial
    score: float | None
    n: int
    failure: str | None
    is_partial: bool = False
    raw: float | None = None
    lesson: str | None = None

    @property
    def number(self) -> int:
        return self.trial.asked.number

    @property
    def name(self) -> str:
        return f"{self.number}{'' if self.lesson is None else f', {self.lesson}'}"


@dataclass(frozen=True, kw_only=True)
class Record:
    """A trial that was better than all before it."""

    point: Point
    score: float
    fit: Interval | None


@dataclass(frozen=True, kw_only=True)
class SearchHistory:
    """One search on the fit split."""

    name: str
    description: Mapping[str, object]
    points: tuple[Point, ...]
    records: tuple[Record, ...]
    unit: Unit = SHARES

    @property
    def strategy(self) -> str:
        return str(self.description.get("strategy", self.name))

    def text(self, record: Record) -> str:
        """Return a score with its interval, or as an estimate; most measures have no interval on fit."""
        if record.fit is not None:
            return self.unit.bounded(record.fit)
        if self.unit.measure or record.point.raw is None:
            return self.unit.text(record.score)
        items = counted(record.point.n, "item")
        return f"≈ {percent(record.score)} ({percent(record.point.raw)} on {items})"

    @property
    def failures(self) -> Counter[str]:
        return Counter(point.failure for point in self.points if point.failure is not None)

    @cached_property
    def by_number(self) -> dict[int, Point]:
        return {point.number: point for point in self.points}

    @property
    def scored(self) -> list[tuple[Point, float]]:
        return [(point, point.score) for point in self.points if point.score is not None]

    @property
    def learned(self) -> list[Point]:
        return [point for point in self.points if point.lesson is not None]

    @property
    def measured_records(self) -> tuple[Interval, ...]:
        """The intervals of the records, where all of them were scored on all items; else none."""
        fits = tuple(record.fit for record in self.records if record.fit is not None)
        return fits if len(fits) == len(self.records) else ()


def read_histories(store: RunStore) -> dict[str, SearchHistory]:
    """Read all searches but the baselines, in the order of their declaration."""
    rows = {row.trial: row for row in store.summaries("fit")}
    searches = {name: each for name, each in store.searches().items() if name != BASELINES}
    return {name: _read_history(store, name, description, rows) for name, description in searches.items()}


def _read_history(
    store: RunStore, name: str, description: Mapping[str, object], rows: Mapping[int, EvaluationRow]
) -> SearchHistory:
    raw, lessons, points = raw_means(store, name), store.lessons(name), list[Point]()
    for trial in store.trials(name):
        row = rows.get(trial.id)
        if row is not None:
            point = Point(
                trial=trial,
                score=row.value,
                n=row.n,
                failure=without_places(row.failure or "", store.folder) or None,
                is_partial=row.is_partial,
                raw=None if row.failure is not None else raw.get(trial.id),
                lesson=describe_lesson(trial, lessons[trial.id]) if trial.id in lessons else None,
            )
            points.append(point)
    return SearchHistory(
        name=name,
        description=description,
        points=tuple(points),
        records=tuple(_records(store, points)),
        unit=unit_of(stored_objectives(store)),
    )


def _records(store: RunStore, points: Sequence[Point]) -> Iterator[Record]:
    best = -math.inf
    for point in points:
        if point.score is not None and point.score > best:
            best = point.score
            fit = None if point.is_partial else read_model_result(store, "", point.trial).counts_on("fit")
            yield Record(point=point, score=best, fit=fit)


@dataclass(frozen=True, kw_only=True)
class Family:
    """The numbers of a trial and all its ancestors, pairs of parent and child, and the longest descent."""

    child: int
    members: tuple[int, ...]
    edges: tuple[tuple[int, int], ...]
    depth: int


def trace(child: int, points: Mapping[int, Point]) -> Family | None:
    """Follow a trial's parents back to trials that have none; None when it has none itself."""
    if child not in points or not points[child].trial.asked.parents:
        return None
    depths: dict[int, int] = {child: 0}
    edges: list[tuple[int, int]] = []
    for number in range(child, -1, -1):  # parents are earlier trials, so each comes after all its children
        parents = points[number].trial.asked.parents if number in depths else ()
        for parent in (each for each in parents if each in points and each < number):
            edges.append((parent, number))
            depths[parent] = max(depths.get(parent, 0), depths[number] + 1)
    return Family(
        child=child,
        members=tuple(sorted(depths)),
        edges=tuple(dict.fromkeys(edges)),
        depth=max(depths.values()),
    )


@dataclass(frozen=True, kw_only=True)
class TrialGroup:
    """Trials that follow one another; ``passing``: source and layer -> how many of their paths pass it."""

    first: int
    last: int
    n: int
    passing: Mapping[tuple[str, int], int]


@dataclass(frozen=True, kw_only=True)
class Routes:
    """The paths of a run."""

    path: NamedPath | None
    layers: Mapping[str, int]
    groups: tuple[TrialGroup, ...]


def read_routes(store: RunStore, main: SearchHistory | None, path: NamedPath | None) -> Routes | None:
    """Read the paths of a run's main search; None where no recipe has one. ``path`` is the child's."""
    atlas = read_run_layers(store)
    points = [point for point in (main.points if main else ()) if '"path"' in point.trial.recipe]  # cheap
    pairs = [(point, atlas.read(read_recipe(point.trial))) for point in points]
    paths = [(point, each.steps) for point, each in pairs if each is not None]
    steps = [step for _, own in paths for step in own] + [*(path.steps if path else ())]
    if not steps:
        return None
    n = max(1, min(MAX_GROUPS, len(paths) // MIN_TRIALS))
    borders = [round(i * len(paths) / n) for i in range(n + 1)]
    groups: list[TrialGroup] = []
    for own in (paths[first:end] for first, end in pairwise(borders) if end > first):
        passing = Counter(place for _, each in own for place in {(step.source, step.layer) for step in each})
        groups.append(TrialGroup(first=own[0][0].number, last=own[-1][0].number, n=len(own), passing=passing))
    return Routes(path=path, layers=with_passed_layers(atlas.layers, steps), groups=tuple(groups))


@dataclass(frozen=True, kw_only=True)
class Bar:
    """One model's score on one split; ``role`` is bred, baseline or control."""

    name: str
    role: str
    score: Interval
    is_estimate: bool = False


@dataclass(frozen=True, kw_only=True)
class RunData:
    """A run as its page shows it.

    Attributes:
        recipe: recipe of the child as YAML, with its paths as in the run.yaml; empty without a child.
        split: the last split on which the child was scored.
        main: the search that bred it; None before the search began.
        genes: genes of the main search, the most important first.
        routes: paths through layers, of the child and of the search; None where there are none.
        front: id of a trial on the front -> all its scores; empty where there is one objective.
        rivals: name of a baseline or winner of a control -> its objectives, to compare with the front; None
            for one that is computed from recipes.
    """

    summary: RunSummary
    recipe: str
    split: Split
    main: SearchHistory | None
    controls: Mapping[str, SearchHistory]
    genes: tuple[Gene, ...]
    matrices: tuple[Matrix, ...]
    family: Family | None
    routes: Routes | None
    front: Mapping[int, ModelResult]
    rivals: Mapping[str, tuple[float | None, ...]]
    contrast: AnswerContrast | None
    sheet: ContactSheet | None
    advice: tuple[Advice, ...]
    people: tuple[SplitRating, ...]
    example: Item | None
    config: Mapping[str, Any]
    version: str

    @property
    def models(self) -> dict[str, ModelResult]:
        """Return all models that are compared: the child, the baselines, the winners of the controls."""
        summary = self.summary
        child = {} if summary.child is None else {summary.child_name: summary.child}
        controls = {describe_search(name): entry for name, entry in summary.controls.items()}
        return {**child, **summary.baselines, **controls}

    def on_fit(self, name: str) -> Interval | None:
        """Return what counts of a model on fit, for all items: an estimate where it was scored on some."""
        model = self.models[name]
        return model.counts_on("fit") if model.estimate is None else model.estimate.score

    def bars(self) -> list[Bar]:
        """Return all models that were scored on ``split``: the child first, then the best first."""
        bars: list[Bar] = []
        for name, model in self.models.items():
            role = "baseline" if name in self.summary.baselines else "control"
            role = "bred" if model is self.summary.child else role
            score = model.on_all(self.split)
            if score is not None:
                is_estimate = model.is_estimated(self.split)
                bars.append(Bar(name=name, role=role, score=score, is_estimate=is_estimate))
        return [*bars[:1], *sorted(bars[1:], key=lambda bar: -bar.score.score)]


def read_run_data(store: RunStore) -> RunData:
    """Read a run: finished, under way or interrupted."""
    summary, histories, folder = summarize(store), read_histories(store), store.folder
    main = histories.pop(MAIN, None)
    leader = summary.leader if summary.leader and summary.leader.trial.search == MAIN else None
    child = summary.winner or leader
    split: Split = "fit"
    if child is not None and child.validation is not None:
        split = "validation"
    if child is not None and child.test is not None:
        split = "test"
    # a path where nothing is merged has no matrices
    is_merge = child is not None and ("path" not in child.recipe or "merges" in child.recipe)
    genomes = [(point.trial.asked.genome, score) for point, score in main.scored] if main else []
    shared = replace(
        summary,
        leader=leader,
        folder=str(shown_folder(folder)),
        controls_to_run={
            name: without_places(each, folder) for name, each in summary.controls_to_run.items()
        },
        notes=tuple(without_places(each, folder) for each in summary.notes),
    )
    return RunData(
        summary=shared,
        recipe="" if child is None else without_places(read_recipe(child.trial).to_yaml(), folder),
        split=split,
        main=main,
        controls=histories,
        genes=() if main is None else read_genes(main.description, genomes),
        matrices=read_matrices(main.description, child.genome) if main and child and is_merge else (),
        family=None if child is None or main is None else trace(child.trial.asked.number, main.by_number),
        routes=read_routes(store, main, summary.path),
        front={point.trial.id: read_model_result(store, MAIN, point.trial) for point in summary.front.points},
        rivals=dict(_rivals(store, summary)) if summary.objectives else {},
        contrast=contrast(store, summary, BRED),
        sheet=contact_sheet(store, summary, BRED),
        advice=tuple(
            replace(
                each,
                what=without_places(each.what, folder),
                why=without_places(each.why, folder),
                remedy=command_without_places(each.remedy, folder),
            )
            for each in advise(store, summary)
        ),
        people=report_errors(lambda: read_ratings(store, summary), lambda _: None, ()),
        example=next(iter(store.items()["fit"]), None),
        config=store.fact(CONFIG),
        version=str(store.fact("version")),
    )


def _rivals(store: RunStore, summary: RunSummary) -> Iterator[tuple[str, tuple[float | None, ...]]]:
    for name, entry in summary.baselines.items():
        yield name, tuple(_task_score(entry, objective) for objective in summary.objectives)
    for search, entry in summary.controls.items():
        outcome = store.outcomes(search).get(entry.trial.id)
        if outcome is not None and outcome.objectives:
            yield describe_search(search), outcome.objectives


def _task_score(entry: ModelResult, objective: str) -> float | None:
    if not has_item_scores(objective):
        return None
    found = entry.tasks[objective].get("fit") if entry.tasks else entry.fit
    return None if found is None else found.score

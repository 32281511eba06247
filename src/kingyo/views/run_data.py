"""All that the page of a run shows, as numbers, read from its store once; without absolute paths."""

import math
from collections import Counter
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

from kingyo.core.types import Item, Split
from kingyo.errors import KingyoError, report_errors
from kingyo.runs.choice import CHOICE
from kingyo.runs.config import TRAININGS, WEIGHT_SEARCH
from kingyo.search.evolution import BASELINES, MAIN, stored_objectives
from kingyo.search.evolution.objectives import has_item_scores
from kingyo.search.evolution.trial_recipes import read_recipe
from kingyo.stats import Interval
from kingyo.store import CONFIG, EvaluationRow, RunStore, StoredTrial
from kingyo.views.advice import Advice, advise
from kingyo.views.cards import AnswerContrast, ContactSheet, contact_sheet, contrast
from kingyo.views.rating.results import SplitRating, read_ratings
from kingyo.views.results.genes import Gene, Matrix, read_genes, read_matrices
from kingyo.views.results.model_result import ModelResult, read_model_result
from kingyo.views.results.summary import RunSummary, summarize
from kingyo.views.results.trials import SHARES, Unit, describe_search, row_title, unit_of
from kingyo.views.results.tuning import describe_lesson
from kingyo.views.view import shown_folder, without_places


@dataclass(frozen=True, kw_only=True)
class Point:
    """One trial that was evaluated on fit.

    ``score`` is what its strategy received: its mean, or an estimate where ``is_partial``. ``mean`` is that
    of the items that were scored. Both are None for a failure. ``lesson``: how its genome was learned.
    """

    trial: StoredTrial
    score: float | None
    n: int
    failure: str | None
    is_partial: bool = False
    mean: float | None = None
    lesson: str | None = None

    @property
    def number(self) -> int:
        return self.trial.asked.number


@dataclass(frozen=True, kw_only=True)
class SearchHistory:
    """One search on the fit split; ``records`` are trials that were better than all before them."""

    name: str
    description: Mapping[str, object]
    points: tuple[Point, ...]
    unit: Unit = SHARES

    @property
    def strategy(self) -> str:
        return str(self.description.get("strategy", self.name))

    def text(self, point: Point) -> str:
        """Return what the strategy received for a trial; an estimate has the mark ≈."""
        if point.score is None:
            return ""
        return f"{'≈ ' if point.is_partial else ''}{self.unit.text(point.score)}"

    @property
    def best_text(self) -> str:
        return self.text(self.records[-1][0])

    @property
    def failures(self) -> Counter[str]:
        return Counter(point.failure for point in self.points if point.failure is not None)

    @property
    def scored(self) -> list[tuple[Point, float]]:
        return [(point, point.score) for point in self.points if point.score is not None]

    @property
    def records(self) -> list[tuple[Point, float]]:
        best, records = -math.inf, list[tuple[Point, float]]()
        for point, score in self.scored:
            if score > best:
                best = score
                records.append((point, score))
        return records

    @property
    def learned(self) -> list[Point]:
        return [point for point in self.points if point.lesson is not None]


def read_histories(store: RunStore) -> dict[str, SearchHistory]:
    """Read all searches but the baselines, in the order of their declaration."""
    rows = {row.trial: row for row in store.summaries("fit")}
    searches = {name: each for name, each in store.searches().items() if name != BASELINES}
    unit = unit_of(stored_objectives(store))
    return {
        name: SearchHistory(
            name=name, description=description, points=tuple(_points(store, name, rows)), unit=unit
        )
        for name, description in searches.items()
    }


def _points(store: RunStore, search: str, rows: Mapping[int, EvaluationRow]) -> Iterator[Point]:
    lessons = store.lessons(search)
    for trial in store.trials(search):
        row = rows.get(trial.id)
        if row is not None:
            yield Point(
                trial=trial,
                score=row.value,
                n=row.n,
                failure=without_places(row.failure or "", store.folder) or None,
                is_partial=row.is_partial,
                mean=row.mean,
                lesson=describe_lesson(trial, lessons[trial.id]) if trial.id in lessons else None,
            )


@dataclass(frozen=True, kw_only=True)
class Bar:
    """One model's score on one split; ``role`` is bred, baseline or control."""

    name: str
    role: str
    score: Interval


@dataclass(frozen=True, kw_only=True)
class RunData:
    """A run as its page shows it.

    Attributes:
        recipe: recipe of the child as YAML, with its paths as in the run.yaml; empty without a child.
        split: the last split on which the child was scored.
        controls: searches of equal cost.
        others: choice of sources, weight search before paths, and trainings.
        genes: genes of the main search, the most important first.
        front: id of a trial on the front -> all its scores.
        unread: why people's choices cannot be read.
        rivals: baseline or control -> its objectives; None for one that is computed from recipes.
    """

    summary: RunSummary
    folder: Path
    recipe: str
    split: Split
    main: SearchHistory | None
    controls: Mapping[str, SearchHistory]
    others: Mapping[str, SearchHistory]
    genes: tuple[Gene, ...]
    matrices: tuple[Matrix, ...]
    front: Mapping[int, ModelResult]
    rivals: Mapping[str, tuple[float | None, ...]]
    contrast: AnswerContrast | None
    sheet: ContactSheet | None
    advice: tuple[Advice, ...]
    people: tuple[SplitRating, ...]
    unread: tuple[KingyoError, ...]
    example: Item | None
    config: Mapping[str, Any]
    version: str

    @property
    def rivals_on_fit(self) -> dict[str, SearchHistory]:
        """Return what the main search is compared with on fit, which cannot judge models trained on it."""
        searches, unlike = {**self.others, **self.controls}, (CHOICE, *TRAININGS)
        return {describe_search(name): each for name, each in searches.items() if name not in unlike}

    def bars(self) -> list[Bar]:
        """Return all models that were scored on ``split``: the child first, then the best first."""
        bars: list[Bar] = []
        for name, model in self.summary.named_models.items():
            role = "baseline" if name in self.summary.baselines else "control"
            role = "bred" if model is self.summary.child else role
            score = model.on(self.split)
            if score is not None:
                bars.append(Bar(name=name, role=role, score=score))
        return [*bars[:1], *sorted(bars[1:], key=lambda bar: -bar.score.score)]


def read_run_data(store: RunStore) -> RunData:
    """Read a run: finished, under way or interrupted."""
    summary, histories, folder = summarize(store), read_histories(store), store.folder
    main = histories.pop(MAIN, None)
    others = {name: histories.pop(name) for name in (CHOICE, WEIGHT_SEARCH, *TRAININGS) if name in histories}
    leader = summary.leader if summary.leader and summary.leader.trial.search == MAIN else None
    child = summary.winner or leader
    split: Split = "fit"
    if child is not None and child.validation is not None:
        split = "validation"
    if child is not None and child.test is not None:
        split = "test"
    # a path where nothing is merged has no matrices
    is_merge = child is not None and ("path" not in child.recipe or "merges" in child.recipe)
    unread = list[KingyoError]()
    genomes = [(point.trial.asked.genome, score) for point, score in main.scored] if main else []
    return RunData(
        summary=replace(summary, leader=leader, folder=str(shown_folder(folder))),
        folder=folder,
        recipe="" if child is None else read_recipe(child.trial).to_yaml(),
        split=split,
        main=main,
        controls=histories,
        others=others,
        genes=() if main is None else read_genes(main.description, genomes),
        matrices=read_matrices(main.description, child.trial.asked.genome)
        if main and child and is_merge
        else (),
        front={point.trial.id: read_model_result(store, MAIN, point.trial) for point in summary.front.points},
        rivals=dict(_rivals(store, summary)) if summary.objectives else {},
        contrast=contrast(store, summary),
        sheet=contact_sheet(store, summary),
        advice=advise(store, summary),
        people=report_errors(lambda: read_ratings(store, summary), unread.append, ()),
        unread=tuple(unread),
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
            yield row_title(search), outcome.objectives


def _task_score(entry: ModelResult, objective: str) -> float | None:
    if not has_item_scores(objective):
        return None
    found = entry.tasks[objective].get("fit") if entry.tasks else entry.fit
    return None if found is None else found.score

"""All that the page of a run shows, as numbers, read from its store once; without absolute paths."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

from kingyo.core.types import Item, Split
from kingyo.errors import report_errors
from kingyo.search.evolution import MAIN
from kingyo.search.evolution.objectives import has_item_scores
from kingyo.search.evolution.trial_recipes import read_recipe
from kingyo.stats import Interval
from kingyo.store import CONFIG, RunStore
from kingyo.views.advice import Advice, advise
from kingyo.views.cards import AnswerContrast, ContactSheet, contact_sheet, contrast
from kingyo.views.history import Family, SearchHistory, read_histories, trace
from kingyo.views.path_charts import Routes, read_routes
from kingyo.views.rating.results import SplitRating, read_ratings
from kingyo.views.results.genes import Gene, Matrix, read_genes, read_matrices
from kingyo.views.results.model_result import ModelResult, read_model_result
from kingyo.views.results.summary import BRED, RunSummary, summarize
from kingyo.views.results.trials import describe_search
from kingyo.views.view import command_without_places, shown_folder, without_places


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
        summary: the run in numbers; its child is the winner, or the best of the main search so far.
        recipe: recipe of the child as YAML, with its paths as in the run.yaml; empty without a child.
        split: the last split on which the child was scored.
        main: the search that bred it; None before the search began.
        controls: the other searches.
        genes: genes of the main search, the most important first.
        matrices, family: those of the child.
        routes: paths through layers, of the child and of the search; None where there are none.
        front: id of a trial on the front -> all its scores; empty where there is one objective.
        rivals: name of a baseline or winner of a control -> its objectives, to compare with the front; None
            for one that is computed from recipes.
        contrast: answers on the test split, once it was read.
        sheet: images of the test split, of a run that draws.
        advice: what to know of the run, and what to do about it.
        people: what people chose between images, by split.
        example: the first item of fit, to show what is asked.
        config, version: the run.yaml and the version of kingyo that the run stores.
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
    summary, histories = summarize(store), read_histories(store)
    main = histories.pop(MAIN, None)
    leader = summary.leader if summary.leader and summary.leader.trial.search == MAIN else None
    child = summary.winner or leader
    genes = () if main is None else read_genes(main.description, main.genomes)
    return RunData(
        summary=_shareable(replace(summary, leader=leader), store.folder),
        recipe="" if child is None else without_places(read_recipe(child.trial).to_yaml(), store.folder),
        split=_last_split(child),
        main=main,
        controls=histories,
        genes=genes,
        matrices=_matrices(child, main),
        family=None if child is None or main is None else trace(child.trial.asked.number, main.by_number),
        routes=read_routes(store, main, summary.path),
        front={point.trial.id: read_model_result(store, MAIN, point.trial) for point in summary.front.points},
        rivals=dict(_rivals(store, summary)) if summary.objectives else {},
        contrast=contrast(store, summary, BRED),
        sheet=contact_sheet(store, summary, BRED),
        advice=tuple(_without_places(each, store.folder) for each in advise(store, summary)),
        people=report_errors(lambda: read_ratings(store, summary), lambda _: None, ()),
        example=next(iter(store.items()["fit"]), None),
        config=store.fact(CONFIG),
        version=str(store.fact("version")),
    )


def _shareable(summary: RunSummary, folder: Path) -> RunSummary:
    commands = {name: without_places(each, folder) for name, each in summary.controls_to_run.items()}
    return replace(
        summary,
        folder=str(shown_folder(folder)),
        controls_to_run=commands,
        notes=tuple(without_places(each, folder) for each in summary.notes),
    )


def _without_places(advice: Advice, folder: Path) -> Advice:
    what, why = without_places(advice.what, folder), without_places(advice.why, folder)
    return replace(advice, what=what, why=why, remedy=command_without_places(advice.remedy, folder))


def _matrices(child: ModelResult | None, main: SearchHistory | None) -> tuple[Matrix, ...]:
    if child is None or main is None or ("path" in child.recipe and "merges" not in child.recipe):
        return ()
    return read_matrices(main.description, child.genome)


def _last_split(child: ModelResult | None) -> Split:
    if child is not None and child.test is not None:
        return "test"
    return "validation" if child is not None and child.validation is not None else "fit"


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

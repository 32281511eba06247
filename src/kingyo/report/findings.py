"""Everything that the report shows, read from the store once. It writes nothing and draws nothing."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass, replace
from pathlib import Path

from kingyo.advice import Advice, advise
from kingyo.errors import report_errors
from kingyo.evolution import MAIN, FrontPoint
from kingyo.evolution.objectives import has_item_scores
from kingyo.evolution.trial_recipes import read_recipe
from kingyo.rating.results import SplitRating, read_ratings
from kingyo.report import wording
from kingyo.report.answers import AnswerContrast, contrast
from kingyo.report.genes import Gene, Matrix, read_genes, read_matrices
from kingyo.report.path_charts import Routes, read_routes
from kingyo.report.places import command_without_places, shown_folder, without_places
from kingyo.report.search_history import Family, SearchHistory, read_histories, trace
from kingyo.results.comparisons import PairedComparison
from kingyo.results.estimates import FitEstimate
from kingyo.results.model_result import ModelResult, read_model_result
from kingyo.results.side_by_side import ContactSheet, contact_sheet
from kingyo.results.summarize import summarize
from kingyo.results.summary import RunSummary
from kingyo.stats import Interval
from kingyo.store import RunStore
from kingyo.types import Item, Split

BRED = "bred"


@dataclass(frozen=True, kw_only=True)
class Bar:
    """One model's score on one split.

    Attributes:
        name: name of the model.
        role: bred, baseline or control.
        score: with its interval.
        is_estimate: it is for all items, estimated from some of them.
    """

    name: str
    role: str
    score: Interval
    is_estimate: bool = False


@dataclass(frozen=True, kw_only=True)
class Findings:
    """A run as the report sees it.

    Attributes:
        summary: the run in numbers.
        child: the winner; before one is picked, the trial that is best on fit so far.
        recipe: recipe of the child as YAML, with its paths as in the run.yaml; empty without a child.
        split: the last split on which the child was scored.
        main: the search that bred it; None before the search began.
        controls: the other searches.
        genes: genes of the main search, the most important first.
        matrices, family: those of the child.
        routes: paths through layers, of the child and of the search; None where there are none.
        front: the points of the front with all their scores; empty where there is one objective.
        rivals: name of a baseline or winner of a control -> its objectives, to compare with the front; None
            for one that is computed from recipes.
        contrast: answers on the test split, once it was read.
        sheet: pictures of the test split, of a run that draws.
        advice: what to know of the run, and what to do about it.
        people: what people chose between pictures, by split.
        example: the first item of fit, to show what is asked.
        facts: what the run stores of itself.
    """

    summary: RunSummary
    child: ModelResult | None
    recipe: str
    split: Split
    main: SearchHistory | None
    controls: Mapping[str, SearchHistory]
    genes: tuple[Gene, ...]
    matrices: tuple[Matrix, ...]
    family: Family | None
    routes: Routes | None
    front: tuple[tuple[FrontPoint, ModelResult], ...]
    rivals: Mapping[str, tuple[float | None, ...]]
    contrast: AnswerContrast | None
    sheet: ContactSheet | None
    advice: tuple[Advice, ...]
    people: tuple[SplitRating, ...]
    example: Item | None
    facts: Mapping[str, object]

    @property
    def is_tested(self) -> bool:
        """Whether the winner was scored on the test split."""
        return self.summary.winner is not None and self.summary.winner.test is not None

    @property
    def unit(self) -> wording.Unit:
        """The unit of the numbers that the run chose by."""
        return wording.Unit(measure=self.summary.decided_by)

    @property
    def child_name(self) -> str:
        """What the child is called: it is bred once it is picked."""
        return BRED if self.summary.winner is not None else "best so far"

    @property
    def estimates(self) -> dict[str, FitEstimate]:
        """Name of a model -> its score for all of fit, where it was scored on some items."""
        estimates = {name: self.summary.estimate(model) for name, model in self.models.items()}
        return {name: each for name, each in estimates.items() if each is not None}

    @property
    def models(self) -> dict[str, ModelResult]:
        """All models that are compared: the child, the baselines, the winners of the controls."""
        child = {} if self.child is None else {self.child_name: self.child}
        controls = {wording.search(name): entry for name, entry in self.summary.controls.items()}
        return {**child, **self.summary.baselines, **controls}

    def comparison(self, name: str) -> PairedComparison | None:
        """Return the winner against a baseline or a control, on test."""
        return next((each for each in self.summary.comparisons if each.other == name), None)

    def on_fit(self, name: str) -> Interval | None:
        """Return what counts of a model on fit, for all items: an estimate where it was scored on some."""
        found = self.estimates.get(name)
        return self.models[name].counts_on("fit") if found is None else found.score

    def bars(self) -> list[Bar]:
        """Return all models that were scored on ``split``: the child first, then the best first."""
        bars = [self._bar(name, entry) for name, entry in self.models.items() if entry.on(self.split)]
        return [*bars[:1], *sorted(bars[1:], key=lambda bar: -bar.score.score)]

    def _bar(self, name: str, entry: ModelResult) -> Bar:
        guess, score = self.estimates.get(name) if self.split == "fit" else None, entry.on(self.split)
        role = "baseline" if name in self.summary.baselines else "control"
        role = "bred" if entry is self.child else role
        assert score is not None, "it was scored"
        return Bar(name=name, role=role, score=guess.score if guess else score, is_estimate=guess is not None)


def read_findings(store: RunStore) -> Findings:
    """Read a run: finished, under way or interrupted."""
    summary = summarize(store)
    histories = read_histories(store)
    main = histories.pop(MAIN, None)
    leader = summary.leader if summary.leader and summary.leader.trial.search == MAIN else None
    child = summary.winner or leader
    return Findings(
        summary=_shareable(summary, store.folder),
        child=child,
        recipe="" if child is None else _yaml(store, child),
        split=_last_split(child),
        main=main,
        controls=histories,
        genes=read_genes(main),
        matrices=_matrices(child, main),
        family=None if child is None or main is None else trace(child.trial.asked.number, main.by_number),
        routes=read_routes(store, main, summary.path),
        front=tuple((point, read_model_result(store, MAIN, point.trial)) for point in summary.front.points),
        rivals=dict(_rivals(store, summary)) if summary.objectives else {},
        contrast=contrast(store, summary, BRED),
        sheet=contact_sheet(store, summary, BRED),
        advice=tuple(_without_places(each, store.folder) for each in advise(store, summary)),
        people=report_errors(lambda: read_ratings(store, summary), lambda _: None, ()),
        example=next(iter(store.items()["fit"]), None),
        facts={key: store.fact(key) for key in ("version", "config")},
    )


def _yaml(store: RunStore, child: ModelResult) -> str:
    return without_places(read_recipe(child.trial).to_yaml(), store.folder)


def _shareable(summary: RunSummary, folder: Path) -> RunSummary:
    """Return a summary without absolute paths."""
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
    """Return the genes of a merge; nothing for a path where nothing is merged."""
    if child is None or main is None or ("path" in child.recipe and "merges" not in child.recipe):
        return ()
    return read_matrices(main.description, child.genome)


def _last_split(child: ModelResult | None) -> Split:
    if child is not None and child.test is not None:
        return "test"
    return "validation" if child is not None and child.validation is not None else "fit"


def _rivals(store: RunStore, summary: RunSummary) -> Iterator[tuple[str, tuple[float | None, ...]]]:
    """Return the baselines, with what their scores say, and the controls, with what their search stored."""
    for name, entry in summary.baselines.items():
        yield name, tuple(_task_score(entry, objective) for objective in summary.objectives)
    for search, entry in summary.controls.items():
        for outcome in store.outcomes(search):
            if outcome.trial == entry.trial.id and outcome.objectives:
                yield wording.search(search), outcome.objectives


def _task_score(entry: ModelResult, objective: str) -> float | None:
    if not has_item_scores(objective):
        return None
    found = entry.tasks[objective].get("fit") if entry.tasks else entry.fit
    return None if found is None else found.score

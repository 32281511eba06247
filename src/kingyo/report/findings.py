"""Everything that the report shows, read from the store once. It writes nothing and draws nothing."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import cast

from kingyo.advice import Advice, advise
from kingyo.engine import rooted
from kingyo.evolution import MAIN, FrontPoint, stored_objectives
from kingyo.evolution.trial_recipes import read_recipe
from kingyo.report import wording
from kingyo.report.answers import AnswerContrast, contrast
from kingyo.report.genes import Gene, Matrix, read_genes, read_matrices
from kingyo.report.path_charts import Routes, read_routes
from kingyo.report.search_history import Family, SearchHistory, read_histories, trace
from kingyo.results.comparisons import PairedComparison
from kingyo.results.estimates import FitEstimate, estimate
from kingyo.results.model_result import STATISTICS_SEED, ModelResult, read_model_result
from kingyo.results.summarize import summarize
from kingyo.results.summary import RunSummary
from kingyo.space.recipe_objectives import MEASURES
from kingyo.stats import Interval, selection_bias
from kingyo.store import RunStore
from kingyo.types import Split

BRED = "bred"
BIAS_SPLITS = 200


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
class Rival:
    """A parent, a mixture or the winner of a control, among the points of a front.

    Attributes:
        name: name of the model.
        objectives: objectives in the order of the run's; None for a number computed from recipes.
    """

    name: str
    objectives: tuple[float | None, ...]


@dataclass(frozen=True, kw_only=True)
class Findings:
    """A run as the report sees it.

    Attributes:
        summary: the run in numbers.
        child: the winner; before one is picked, the trial that is best on fit so far.
        recipe: recipe of the child as YAML, with full paths; empty without a child.
        split: the last split on which the child was scored.
        main: the search that bred it; None before the search began.
        controls: the other searches.
        estimates: name of a model -> its score for all of fit, where it was scored on some items.
        genes: genes of the main search, the most important first.
        matrices, family: those of the child.
        routes: paths through layers, of the child and of the search; None where there are none.
        front: the points of the front with all their scores; empty where there is one objective.
        rivals: models that are compared with the front.
        contrast: answers on the test split, once it was read.
        advice: what to know of the run, and what to do about it.
        expected_bias: by how much picking the best trial on fit overrates it, estimated on fit alone.
        facts: what the run stores of itself.
    """

    summary: RunSummary
    child: ModelResult | None
    recipe: str
    split: Split
    main: SearchHistory | None
    controls: Mapping[str, SearchHistory]
    estimates: Mapping[str, FitEstimate]
    genes: tuple[Gene, ...]
    matrices: tuple[Matrix, ...]
    family: Family | None
    routes: Routes | None
    front: tuple[tuple[FrontPoint, ModelResult], ...]
    rivals: tuple[Rival, ...]
    contrast: AnswerContrast | None
    advice: tuple[Advice, ...]
    expected_bias: float | None
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
    def config(self) -> Mapping[str, object]:
        """The run.yaml, as stored."""
        return cast(Mapping[str, object], self.facts.get("config") or {})

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
        first, *others = [*self._bars()] or [None]
        return [] if first is None else [first, *sorted(filter(None, others), key=lambda b: -b.score.score)]

    def _bars(self) -> Iterator[Bar]:
        baselines = self.summary.baselines
        for name, entry in self.models.items():
            score = entry.on(self.split)
            guess = self.estimates.get(name) if self.split == "fit" else None
            role = "bred" if entry is self.child else "baseline" if name in baselines else "control"
            if score is not None:
                own = score if guess is None else guess.score
                yield Bar(name=name, role=role, score=own, is_estimate=guess is not None)


def read_findings(store: RunStore) -> Findings:
    """Read a run: finished, under way or interrupted."""
    summary = summarize(store)
    histories = read_histories(store)
    main = histories.pop(MAIN, None)
    leader = summary.leader if summary.leader and summary.leader.trial.search == MAIN else None
    child = summary.winner or leader
    return Findings(
        summary=summary,
        child=child,
        recipe="" if child is None else _yaml(store, child),
        split=_last_split(child),
        main=main,
        controls=histories,
        estimates=_estimates(store, summary, child),
        genes=read_genes(main),
        matrices=_matrices(child, main),
        family=None if child is None or main is None else trace(child.trial.asked.number, main.by_number),
        routes=read_routes(store, main, summary.path),
        front=tuple((point, read_model_result(store, MAIN, point.trial)) for point in summary.front.points),
        rivals=tuple(_rivals(store, summary)) if summary.objectives else (),
        contrast=contrast(store, summary, BRED),
        advice=advise(store, summary),
        expected_bias=None if main is None else _expected_bias(store, main),
        facts={
            key: store.fact(key)
            for key in ("name", "version", "created", "folder", "config", "duplicates_dropped")
        },
    )


def _yaml(store: RunStore, child: ModelResult) -> str:
    return rooted(read_recipe(child.trial), Path(str(store.fact("folder")))).to_yaml()


def _estimates(store: RunStore, summary: RunSummary, child: ModelResult | None) -> dict[str, FitEstimate]:
    name = "best so far" if summary.winner is None else BRED
    models = {**({} if child is None else {name: child}), **summary.baselines}
    models |= {wording.search(search): entry for search, entry in summary.controls.items()}
    estimates = {name: estimate(store, entry.trial) for name, entry in models.items() if entry.fit}
    return {name: each for name, each in estimates.items() if each is not None}


def _matrices(child: ModelResult | None, main: SearchHistory | None) -> tuple[Matrix, ...]:
    """Return the genes of a merge; nothing for a path where nothing is merged."""
    if child is None or main is None or ("path" in child.recipe and "merges" not in child.recipe):
        return ()
    return read_matrices(main.description, child.genome)


def _last_split(child: ModelResult | None) -> Split:
    if child is not None and child.test is not None:
        return "test"
    return "validation" if child is not None and child.validation is not None else "fit"


def _rivals(store: RunStore, summary: RunSummary) -> Iterator[Rival]:
    """Return the baselines, with what their scores say, and the controls, with what their search stored."""
    for name, entry in summary.baselines.items():
        scores = (_task_score(entry, objective) for objective in summary.objectives)
        yield Rival(name=name, objectives=tuple(scores))
    for search, entry in summary.controls.items():
        for outcome in store.outcomes(search):
            if outcome.trial == entry.trial.id and outcome.objectives:
                yield Rival(name=wording.search(search), objectives=outcome.objectives)


def _task_score(entry: ModelResult, objective: str) -> float | None:
    if objective in MEASURES:
        return None
    found = entry.tasks[objective].get("fit") if entry.tasks else entry.fit
    return None if found is None else found.score


def _expected_bias(store: RunStore, main: SearchHistory) -> float | None:
    """Estimate by how much the best trial on fit is overrated; trials with one recipe are one candidate.

    None where the search used some of the items, since scores on different items cannot be compared, and for
    the mean of several tasks, which counts items unequally.
    """
    objectives = stored_objectives(store)
    if len(objectives.tasks) > 1 or objectives.by_set or any(point.is_partial for point in main.points):
        return None
    recipes = {point.trial.recipe_hash: point for point, _ in main.scored}
    evaluations = [store.evaluation(point.trial.id, "fit") for point in recipes.values()]
    scores = [[each.score for each in found.scores] for found in evaluations if found is not None]
    lengths = {len(row) for row in scores}
    if len(scores) < 2 or len(lengths) != 1 or min(lengths) < 2:
        return None
    return selection_bias(scores, seed=STATISTICS_SEED, splits=BIAS_SPLITS)

"""The first stage of a run that chooses its sources: trial merges of all candidates, see ``stepwise``.

Until the choice is made, the run's config names all candidates as sources. ``make_choice`` then replaces it
by the run.yaml that the user wrote, with the chosen sources.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from functools import cached_property

import numpy as np

from kingyo.core.io.schema import parse_settings
from kingyo.core.types import Genome, ItemScore
from kingyo.errors import KingyoError
from kingyo.merging.checkpoints.layout import Layout
from kingyo.runs.chosen import (
    CHOICE,
    CHOSEN,
    REQUEST,
    TRIAL_DTYPE,
    Changes,
    ChoiceRequest,
    ChosenSources,
    decides_merge,
    mean_score,
    spans_of,
)
from kingyo.runs.run import Run
from kingyo.runs.searches import completed
from kingyo.runs.spaces import merged_layout, shared_keys
from kingyo.runs.worker import runner_of
from kingyo.search.evolution import Event, Limits, Search
from kingyo.search.evolution.screens import ScreenSettings
from kingyo.search.evolution.search import run_search
from kingyo.search.evolution.search_log import SearchLog
from kingyo.search.evolution.trial_evaluation import KnownScores, TrialEvaluator
from kingyo.search.space import WithDefaults
from kingyo.search.space.parameter import SubsetSpace
from kingyo.search.strategies.stepwise import Step, Stepwise
from kingyo.stats.paired import Correlation, rank_correlation
from kingyo.store import RunStore

ITEMS = 24
"""Items of a heat; half of fit if that is less, since gains are measured on others than the first ones."""
MOST_SPANS = 4
"""Most spans of layers in trial merges."""
NO_CHANGES: Changes = {}


@dataclass(frozen=True, kw_only=True)
class ChoiceStage:
    """A choice among the sources of an opened run."""

    run: Run
    request: ChoiceRequest

    @cached_property
    def layout(self) -> Layout:
        return merged_layout(self.run)

    @property
    def groups(self) -> str:
        """Spans of layers in which sources have a weight each."""
        return spans_of(self.layout, MOST_SPANS)

    @cached_property
    def space(self) -> WithDefaults:
        models = self.run.models
        assert models.base is not None, "a choice needs a base"
        space = SubsetSpace(
            sources=models.references,
            base=models.base.reference,
            layout=self.layout,
            groups=self.groups,
            dtype=TRIAL_DTYPE,
        )
        return WithDefaults(space=space, keys=shared_keys(self.run))

    @cached_property
    def strategy(self) -> Stepwise:
        """The strategy; its state is the choice.

        Raises:
            KingyoError: a limit makes no sense.
        """
        request, n = self.request, len(self.run.config.sources)
        options = {
            "min_gain": request.min_gain,
            "most": request.most,
            "costs": request.costs if request.capacity is not None else (),
            "capacity": request.capacity,
            "features": request.features,
            "similarity": request.similarity,
            "norms": [self._norms(changes) for changes in request.changes or (NO_CHANGES,) * n],
            "item_groups": {item.id: item.group for item in self.run.items["fit"] if item.group},
        }
        settings = parse_settings(Stepwise.Settings, options, "choice of sources")
        return Stepwise(self.space.axes, self.run.config.seed, settings)

    def _norms(self, changes: Changes) -> tuple[float, ...]:
        """Return the root mean square of a task vector in each span, over the blocks that it changes."""
        groups = self.layout.groups(self.groups)
        span_of = {name: span for span, names in groups.items() for name in names}
        squares, numbers = dict.fromkeys(groups, 0.0), dict.fromkeys(groups, 0)
        for block, names in self.layout.groups("block").items():
            square, n = changes.get(block, (0.0, 0))
            if square > 0:
                squares[span_of[names[0]]] += square
                numbers[span_of[names[0]]] += n
        return tuple(math.sqrt(squares[span] / numbers[span]) if numbers[span] else 0.0 for span in groups)

    @property
    def search(self) -> Search:
        request = self.request
        minutes = None if request.seconds is None else request.seconds / 60
        search = Search(
            name=CHOICE,
            space=self.space,
            strategy=self.strategy,
            limits=Limits(item_evaluations=request.item_evaluations, minutes=minutes),
            screen=ScreenSettings(items=items_of_a_heat(len(self.run.items["fit"])), choose="in turn"),
            seed=self.run.config.seed,
            description={
                "strategy": "stepwise selection",
                "method": "task_arithmetic",
                "groups": self.groups,
            },
        )
        return replace(completed(search, self.run, self.run.settings.controls), space=search.space)

    def make(self, notify: Callable[[Event], None]) -> ChosenSources:
        """Score trial merges, or go on with them, until the choice is made.

        Raises:
            KingyoError: the base cannot be scored.
        """
        store, strategy, search = self.run.begun, self.strategy, self.search
        names, said = list(self.run.config.sources), 0

        def say(event: Event | None) -> None:
            nonlocal said
            if event is not None:
                notify(event)
            for step in strategy.steps[said:]:
                notify(Event(kind="said", search=CHOICE, split="fit", text=step_text(step, names)))
            said = len(strategy.steps)

        items = [item.id for item in store.items()["fit"]]
        runner = runner_of(self.run)
        try:
            evaluator = TrialEvaluator(store, runner, {"fit": items})
            evaluator.notify = notify
            run_search(SearchLog(search, store, items, say), evaluator)
        finally:
            runner.close()
        _ = strategy.batch  # takes the last outcomes
        say(None)
        _require_scored_base(store)
        return self._chosen()

    def _chosen(self) -> ChosenSources:
        store, strategy, models = self.run.begun, self.strategy, self.run.models
        names, item_groups = tuple(models.sources), store.groups()
        failed: dict[str, str] = {}
        for trial in store.trials(CHOICE):
            evaluation = store.evaluation(trial.id, "fit")
            merged = _weights_by_source(names, trial.asked.genome)
            if evaluation is not None and evaluation.failure is not None and len(merged) == 1:
                failed |= dict.fromkeys(merged, evaluation.failure)
        alone = {name: strategy.scores_of([i]) for i, name in enumerate(names)}
        scores = strategy.scores_of(strategy.chosen)
        return ChosenSources(
            sources=names,
            chosen=tuple(names[i] for i in strategy.chosen),
            groups=self.groups,
            weights={names[i]: strategy.weights.of(i) for i in strategy.chosen},
            steps=tuple(strategy.steps),
            contributions={names[i]: gain for i, gain in strategy.contributions.items()},
            verdict=strategy.verdict,
            score=mean_score(scores, item_groups) if scores else None,
            item_groups=item_groups,
            frame=models.frame if models.frame in names else None,
            alone={name: mean_score(own, item_groups) for name, own in alone.items() if own},
            failed=failed,
            correlation=_correlation(strategy.steps),
            item_evaluations=store.item_evaluations(CHOICE, "fit"),
            minutes=sum(seconds for _, seconds in store.costs(CHOICE, "fit").values()) / 60,
        )


def _require_scored_base(store: RunStore) -> None:
    """Check that the base alone, the first trial, did not fail; nothing can be compared without it."""
    first = store.trials(CHOICE)[:1]
    evaluation = store.evaluation(first[0].id, "fit") if first else None
    if evaluation is not None and evaluation.failure is not None:
        expected = "a model that can be scored, because sources are compared with it"
        remedy = "Fix the model or the task, and start a new run."
        raise KingyoError("base", expected, evaluation.failure, remedy)


def step_text(step: Step, names: Sequence[str]) -> str:
    if step.added is None:
        left_out = "; now each is left out in turn" if len(step.chosen) > 1 else ""
        return f"{len(step.chosen)} of {len(names)} sources; no further one is added{left_out}"
    gain = step.gains[step.added]
    is_pair = step.gains[step.added].mean <= 0
    text = "best in pairs" if is_pair else f"{100 * gain.mean:+.0f} points ({gain.interval.items})"
    return f"{len(step.chosen) + 1}. {names[step.added]}: {text}"


def answers_alone(n_sources: int, n_fit: int) -> int:
    """Return the answers that the base and each source alone give before anything is compared."""
    return (n_sources + 1) * items_of_a_heat(n_fit)


def items_of_a_heat(n_fit: int) -> int:
    return max(1, min(ITEMS, n_fit // 2))


def _correlation(steps: Sequence[Step]) -> Correlation | None:
    """Return the rank correlation of predicted and measured gains within steps, all steps but the first."""
    predicted: list[float] = []
    measured: list[float] = []
    for step in steps[1:]:
        pairs = [(step.predicted[i].mean, gain.mean) for i, gain in step.gains.items() if i in step.predicted]
        if len(pairs) > 1:
            centres = np.mean(pairs, axis=0)
            predicted += [each[0] - centres[0] for each in pairs]
            measured += [each[1] - centres[1] for each in pairs]
    return rank_correlation(predicted, measured)


def scores_of_plain_merge(run: Run) -> KnownScores:
    """Return the scores of the chosen sources' plain merge, by the recipe with which the main search begins.

    Models alone have the same recipe in all stages, so their scores are copied in any case.
    """
    store = run.begun
    request, choice = store.fact(REQUEST), store.fact(CHOSEN)
    if request is None or choice is None or not decides_merge(request.asked):
        return {}
    scores: dict[str, ItemScore] = {}
    for trial in store.trials(CHOICE):
        evaluation = store.evaluation(trial.id, "fit")
        weights = _weights_by_source(choice.sources, trial.asked.genome)
        if evaluation is not None and weights == choice.weights:
            scores.update({score.item: score for score in evaluation.scores})
    return {(run.first.hash, "fit"): scores} if scores else {}


def _weights_by_source(names: Sequence[str], genome: Genome) -> dict[str, tuple[float, ...]]:
    """Return the weights of each source that is merged, in each span of layers."""
    n_spans = len(genome) // len(names)
    rows = {name: genome[i * n_spans : (i + 1) * n_spans] for i, name in enumerate(names)}
    return {name: tuple(row) for name, row in rows.items() if any(row)}

"""The scores and set measures of one model of a run on each split."""

from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass, field
from typing import Literal, cast

from kingyo.core.types import SPLITS, Evaluation, ItemScore, Split
from kingyo.runs.config import FRANKENMERGE
from kingyo.search.evolution import MAIN, stored_objectives
from kingyo.search.evolution.set_measures import VERDICT, SetValue, read_set_values
from kingyo.search.evolution.trial_recipes import read_recipe
from kingyo.stats import (
    Groups,
    Interval,
    interval,
    interval_json,
    paired_difference,
    weighted_mean,
    with_groups,
)
from kingyo.stats.prediction import SplitGroups, predict_winner
from kingyo.store import CONFIG, RunStore, StoredTrial
from kingyo.tasks import TextSettings

STATISTICS_SEED = 0
MIXTURES = ("uniform", FRANKENMERGE)
"""Baselines that are merges of the parents without a search."""


@dataclass(frozen=True, kw_only=True)
class ModelResult:
    """A model of a run: the winner, a baseline, or the winner of a control.

    Scores are means over the items that were scored, of several tasks (``tasks``) weighted ones. ``cut``:
    number of answers that did not end within ``max_new_tokens``. ``decided``: the values that the run decides
    by; None if scores decide.
    """

    name: str
    trial: StoredTrial
    recipe: Mapping[str, object]
    fit: Interval | None
    validation: Interval | None
    test: Interval | None
    tasks: Mapping[str, Mapping[Split, Interval]] = field(default_factory=dict[str, Mapping[Split, Interval]])
    cut: Mapping[Split, int] = field(default_factory=dict[Split, int])
    sets: tuple[SetValue, ...] = ()
    decided: Mapping[Split, Interval] | None = None

    def on(self, split: Split) -> Interval | None:
        return {"fit": self.fit, "validation": self.validation, "test": self.test}[split]

    def counts_on(self, split: Split) -> Interval | None:
        """Return the value that the run decides by on a split: its score, or a set measure."""
        return self.on(split) if self.decided is None else self.decided.get(split)

    def scores_json(self) -> dict[str, object]:
        """Return the scores in ``kingyo show --json``."""
        tasks = {
            name: {split: interval_json(own.get(split)) for split in SPLITS}
            for name, own in self.tasks.items()
        }
        return {
            **{split: interval_json(self.on(split)) for split in SPLITS},
            **({"tasks": tasks} if tasks else {}),
            **({"set_measures": [asdict(value) for value in self.sets]} if self.sets else {}),
        }

    def to_json(self) -> dict[str, object]:
        return {
            "trial": self.trial.asked.number,
            "search": self.trial.search,
            "genome": list(self.trial.asked.genome),
            "recipe": dict(self.recipe),
            **self.scores_json(),
        }


def read_model_result(store: RunStore, name: str, trial: StoredTrial) -> ModelResult:
    """Read the scores of a trial on all splits, under a given name."""
    objectives, sets = stored_objectives(store), read_set_values(store, trial)
    weights = objectives.tasks
    cut: dict[Split, int] = {}
    by_task: dict[Split, dict[str, Interval]] = {}
    means: dict[Split, Interval | None] = {}
    for split in SPLITS:
        evaluation = store.evaluation(trial.id, split)
        if evaluation is not None:
            cut[split] = sum(score.is_cut for score in evaluation.scores)
        own = by_task[split] = {
            task: interval(scores, groups, seed=STATISTICS_SEED)
            for task, (scores, groups) in scores_by_task(store, evaluation).items()
            if scores
        }
        is_known = len(own) == len(weights)  # else some task has no score
        means[split] = weighted_mean(list(own.values()), list(weights.values())) if is_known else None
    return ModelResult(
        name=name,
        trial=trial,
        recipe=read_recipe(trial).to_dict(),
        fit=means["fit"],
        validation=means["validation"],
        test=means["test"],
        tasks={
            task: {split: own[task] for split, own in by_task.items() if task in own}
            for task in (weights if len(weights) > 1 else ())
        },
        cut=cut,
        sets=sets,
        decided=_deciding_intervals(sets, objectives.title) if objectives.by_set else None,
    )


def _deciding_intervals(sets: Sequence[SetValue], title: str) -> dict[Split, Interval]:
    """Return split -> the set measure that decides the run, if it is known; ``title`` is its name."""
    intervals: dict[Split, Interval] = {}
    for each in sets:
        if (each.task, each.measure) == ("", title) and each.value is not None:
            assert each.low is not None and each.high is not None, "a value has bounds"
            bounds = Interval(score=each.value, n=each.n, low=each.low, high=each.high)
            intervals[each.split] = with_groups(bounds, each)
    return intervals


def scores_by_task(
    store: RunStore, evaluation: Evaluation | None
) -> dict[str, tuple[list[float], Groups | None]]:
    """Return task -> its scores in the order of the items, and the groups of these items."""
    tasks, labels = stored_objectives(store).tasks, store.groups()
    scores = () if evaluation is None or evaluation.failure is not None else evaluation.scores
    by_task: dict[str, list[ItemScore]] = {task: [] for task in tasks}
    for score in scores:
        by_task[next(iter(tasks)) if len(tasks) == 1 else score.item.partition("/")[0]].append(score)
    return {
        task: ([each.score for each in own], Groups.of(labels.get(each.item, "") for each in own))
        for task, own in by_task.items()
    }


def token_limits(store: RunStore) -> dict[str, int]:
    """Return task -> ``max_new_tokens``; the name of a single task is empty."""
    config = store.fact(CONFIG)
    tasks = cast("Mapping[str, Mapping[str, int]]", config.get("tasks") or {"": config.get("task") or {}})
    limits = {name: own.get("max_new_tokens", TextSettings.max_new_tokens) for name, own in tasks.items()}
    return limits if len(limits) > 1 else {"": next(iter(limits.values()))}


@dataclass(frozen=True, kw_only=True)
class PairedComparison:
    """A model minus another model, over the same test items.

    Attributes:
        p: two-sided p-value that the two are equally good.
        test: McNemar's exact test for one task scored 0 or 1, or Student's if its items are in groups; the
            level at which Gaffke's interval excludes 0 otherwise; half-samples if set measures count, whose
            difference this is then; bootstrap in runs of an older checkout.
        is_alike: whether both gave the same answer to every item, so that they may be the same model.
    """

    other: str
    difference: Interval
    p: float
    test: Literal["mcnemar", "gaffke", "half-samples", "student", "bootstrap"]
    is_alike: bool = False

    @property
    def verdict(self) -> Literal["better", "worse", "open"]:
        """Say what it shows: nothing unless the interval leaves out 0, as it does where p <= 0.05."""
        if self.difference.low > 0:
            return "better"
        return "worse" if self.difference.high < 0 else "open"

    def to_json(self) -> dict[str, object]:
        numbers = interval_json(self.difference) or {}
        return {**numbers, "p": self.p, "test": self.test, "alike": self.is_alike}


def compare_on_test(
    store: RunStore, model: ModelResult, others: Sequence[ModelResult]
) -> tuple[PairedComparison, ...]:
    """Compare a model with others on the test items, by scores or by the stored set measures.

    Models without a test score are left out; the result is empty if the model has none.
    """
    own = None if model.test is None else store.evaluation(model.trial.id, "test")
    if own is None:
        return ()
    objectives = stored_objectives(store)
    weights, verdict = objectives.tasks, store.fact(VERDICT) if objectives.by_set else None
    comparisons: list[PairedComparison] = []
    for other in others:
        evaluation = store.evaluation(other.trial.id, "test") if other.test else None
        if evaluation is None:
            continue
        if objectives.by_set:
            difference = verdict.difference(model.trial.id, other.trial.id) if verdict else None
        else:
            one, two = (scores_by_task(store, each) for each in (own, evaluation))
            pairs = [(one[task][0], two[task][0]) for task in weights]
            groups = [one[task][1] for task in weights]
            difference = paired_difference(pairs, list(weights.values()), STATISTICS_SEED, groups=groups)
        if difference is not None:
            comparisons.append(
                PairedComparison(
                    other=other.name,
                    difference=difference.interval,
                    p=difference.p,
                    test=difference.test,
                    is_alike=_answers(own) == _answers(evaluation),
                )
            )
    return tuple(comparisons)


def _answers(evaluation: Evaluation) -> dict[str, tuple[object, ...]]:
    return {score.item: score[1:] for score in evaluation.scores}


def predicted_test(store: RunStore, winner: ModelResult) -> Interval | None:
    """Predict the winner's test score from the finalists that were scored on all of validation.

    With several tasks it is the weighted mean of one prediction per task, whose items are independent.
    """
    weights, splits = stored_objectives(store).tasks, store.items()
    items, n_validation = splits["test"], len(splits["validation"])
    n_test = {name: sum(len(weights) == 1 or item.task == name for item in items) for name in weights}
    trials = [row.trial for row in store.summaries("validation") if row.search == MAIN]
    evaluations = {trial: store.evaluation(trial, "validation") for trial in trials}
    complete = {
        trial: each for trial, each in evaluations.items() if each and len(each.scores) == n_validation
    }
    if winner.trial.id not in complete or not all(n_test.values()):
        return None
    rows = {trial: scores_by_task(store, evaluation) for trial, evaluation in complete.items()}
    scores = [[row[name][0] for row in rows.values()] for name in weights]
    tested = {
        name: Groups.of(item.group for item in items if len(weights) == 1 or item.task == name)
        for name in weights
    }
    own = rows[winner.trial.id]
    groups = [SplitGroups(validation=own[name][1], test=tested[name]) for name in weights]
    place = list(rows).index(winner.trial.id)
    shares = list(weights.values())
    return predict_winner(scores, place, list(n_test.values()), shares, groups)

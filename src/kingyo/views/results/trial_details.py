"""One trial of a run with its scores, and the answers that it gave."""

import shlex
from collections.abc import Sequence
from dataclasses import asdict, dataclass
from typing import NamedTuple

from kingyo.core.types import SPLITS, Item, ItemScore, Lesson
from kingyo.errors import KingyoError
from kingyo.search.evolution.trial_recipes import read_recipe
from kingyo.stats import interval_json
from kingyo.store import RunStore, StoredTrial
from kingyo.views.results.genes import NamedPath, read_path
from kingyo.views.results.model_result import ModelResult, read_model_result, token_limits
from kingyo.views.results.trials import failure_of, find_trial


class ItemAnswer(NamedTuple):
    """An item with a model's answer. ``limit`` is the ``max_new_tokens`` of its task."""

    item: Item
    answer: ItemScore
    limit: int


def answer_record(item: Item, answer: ItemScore) -> dict[str, object]:
    """Return an item with a model's answer as data."""
    return {
        "id": item.id,
        **({"task": item.task} if item.task else {}),
        "prompt": item.prompt,
        **({"images": item.images} if item.media else {}),
        **({"choices": list(item.choices)} if item.choices else {}),
        **({} if item.seed is None else {"seed": item.seed}),
        "reference": item.answer,
        "answer": answer.answer,
        **({} if answer.media is None else {"picture": answer.media.place}),
        "score": answer.score,
        "cut": answer.is_cut,
    }


def worst_answers(store: RunStore, trial: StoredTrial, n: int) -> list[ItemAnswer]:
    """Return up to n answers of a trial on fit with the lowest scores; ties keep their order.

    Answers on test are not shown: a choice based on them would make the test score too good.
    """
    evaluation = store.evaluation(trial.id, "fit")
    if evaluation is None or not evaluation.scores:
        received = "a trial without answers so far" if evaluation is None else "a failed trial"
        remedy = f"See its scores with `kingyo show {shlex.quote(str(store.folder))} --trial N`."
        raise KingyoError("--answers", "a trial that was scored on fit", received, remedy)
    items = {item.id: item for item in store.items()["fit"]}
    limits = token_limits(store)
    worst = sorted(evaluation.scores, key=lambda each: each.score)[:n]
    return [ItemAnswer(items[each.item], each, limits[items[each.item].task]) for each in worst]


@dataclass(frozen=True, kw_only=True)
class TrialDetails:
    """One trial of a run; ``answers`` are its worst ones, or None if they were not requested."""

    store: RunStore
    trial: StoredTrial
    result: ModelResult
    path: NamedPath | None
    failure: str | None
    lesson: Lesson | None
    answers: Sequence[ItemAnswer] | None

    def to_json(self) -> dict[str, object]:
        trial, result, answers = self.trial, self.result, self.answers
        return {
            "run": str(self.store.folder),
            "search": trial.search,
            "trial": trial.asked.number,
            "name": trial.name,
            "batch": trial.batch,
            "parents": list(trial.asked.parents),
            "lesson": None if self.lesson is None else asdict(self.lesson),
            "genome": list(trial.asked.genome),
            "recipe": dict(result.recipe),
            **({} if self.path is None else {"path": self.path.to_json()}),
            "failure": self.failure,
            **{split: interval_json(result.on(split)) for split in SPLITS},
            "cut": dict(result.cut),
            **({} if answers is None else {"answers": [answer_record(*each[:2]) for each in answers]}),
        }


def read_trial(store: RunStore, reference: str, n_answers: int | None = None) -> TrialDetails:
    """Read a trial such as "12", "random:12" or the name of a baseline, with some of its worst answers."""
    trial = find_trial(store, reference)
    return TrialDetails(
        store=store,
        trial=trial,
        result=read_model_result(store, trial.search, trial),
        path=read_path(store, read_recipe(trial)),
        failure=failure_of(store, trial),
        lesson=store.lessons(trial.search).get(trial.id),
        answers=None if n_answers is None else worst_answers(store, trial, n_answers),
    )

"""Evaluate trials: read stored scores, copy scores of the same recipe, and run the rest.

New scores are committed at once. Stored scores are never computed again.
"""

from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import replace

from kingyo.core.types import Answered, Evaluation, ItemScore, Split
from kingyo.errors import KingyoError
from kingyo.search.evolution.scorer import Scorer
from kingyo.search.evolution.trial_recipes import read_recipe
from kingyo.search.evolution.types import BASELINES, Event, ignore_events
from kingyo.search.runners import Job, Runner
from kingyo.store import RunStore, StoredTrial

KnownScores = Mapping[tuple[str, Split], Mapping[str, ItemScore]]
"""Hash of a recipe and split -> item -> its score in another run with the same items and models.

Only baselines copy them: the cost of a search must not depend on other runs.
"""


class TrialEvaluator:
    """Evaluates trials, each item once, and calls ``notify`` when running trials have more answers.

    With ``scorers`` a trial without a value fails, and images of candidates on fit are kept for measures.
    """

    def __init__(
        self,
        store: RunStore,
        runner: Runner,
        items: Mapping[Split, Sequence[str]],
        *,
        reuse: bool = True,
        known: KnownScores | None = None,
        scorers: Mapping[Split, Scorer] | None = None,
    ) -> None:
        self._store = store
        self._runner = runner
        self._running: dict[int, tuple[StoredTrial, Job, Evaluation | None]] = {}  # what is stored
        self._waiting: list[tuple[StoredTrial, Split, Sequence[str]]] = []
        self._n_jobs = 0
        self._reuse = reuse
        self._known = known or {}
        self._scorers = scorers or {}
        self.notify: Callable[[Event], None] = ignore_events
        self.items = items
        self._places = {split: {item: k for k, item in enumerate(own)} for split, own in items.items()}

    @property
    def n_workers(self) -> int:
        return self._runner.n_workers

    def evaluate_all(
        self, trials: Iterable[StoredTrial], split: Split, items: Sequence[str] | None = None
    ) -> Iterator[tuple[StoredTrial, Evaluation]]:
        """Yield evaluations in order of finishing.

        Trials of the same recipe wait for each other and copy, so what is stored depends on no order.
        """
        # A queue keeps workers busy while results are stored. With one worker there is no queue: each result
        # is stored before the next job begins.
        most = self.n_workers if self.n_workers == 1 else 2 * self.n_workers
        for trial in trials:
            known = self.begin(trial, split, items or self.items[split])
            if known is not None:
                yield trial, known
            while len(self._running) >= most:
                yield from self.finish()
        while self._running:
            yield from self.finish()

    def begin(self, trial: StoredTrial, split: Split, items: Sequence[str]) -> Evaluation | None:
        running = (other.recipe_hash for other, *_ in self._running.values())
        if self._reuse and trial.recipe_hash in running:
            self._waiting.append((trial, split, items))
            return None
        known = self._store.evaluation(trial.id, split)
        missing = _without(items, known)
        if known is not None and (known.failure is not None or not missing):
            return replace(known, replayed=True)
        if self._reuse:
            for copied in self._copies(trial, split, missing):
                known = self._joined(split, known, self._store.record(trial.id, split, copied))
                missing = _without(missing, known)
        if known is not None and not missing:
            return known
        self._n_jobs += 1
        job = Job(id=self._n_jobs, recipe=read_recipe(trial), split=split, items=tuple(missing))
        self._running[job.id] = trial, job, known
        self._runner.submit(job)
        return None

    def finish(self) -> Iterator[tuple[StoredTrial, Evaluation]]:
        job, new = self._runner.next(self._report)
        trial, done, known = self._running.pop(job)
        yield trial, self._record(trial, done, known, new)
        recipe = trial.recipe_hash
        twins = [waiting for waiting in self._waiting if waiting[0].recipe_hash == recipe]
        self._waiting = [waiting for waiting in self._waiting if waiting[0].recipe_hash != recipe]
        for twin in twins:
            known = self.begin(*twin)  # it may have to run after all; then the others wait again
            if known is not None:
                yield twin[0], known

    def _report(self, number: int, answered: Answered) -> None:
        trial, job, _ = self._running[number]
        self.notify(
            Event(kind="answered", search=trial.search, split=job.split, trial=trial, answered=answered)
        )

    def _copies(self, trial: StoredTrial, split: Split, missing: Sequence[str]) -> Iterator[Evaluation]:
        """Yield the scores of missing items that trials of the same recipe have, here or in other runs."""
        needed = set(missing)
        for twin in self._store.same_recipe(trial.recipe_hash, split, but=trial.id):
            stored = self._store.evaluation(twin, split)
            shared = tuple(score for score in stored.scores if score.item in needed) if stored else ()
            needed -= {score.item for score in shared}
            if shared:
                yield Evaluation(scores=shared, copied_from=twin)
        known = self._known.get((trial.recipe_hash, split))
        if known is None or trial.search != BASELINES:
            return
        elsewhere = tuple(known[item] for item in missing if item in needed and item in known)
        if elsewhere:
            yield Evaluation(scores=elsewhere, copied_from=trial.id)

    def _record(self, trial: StoredTrial, job: Job, known: Evaluation | None, new: Evaluation) -> Evaluation:
        failure = new.failure or self._missing_value(job.split, self._joined(job.split, known, new))
        if failure is not None:
            new = replace(new, scores=(), failure=failure)
        if trial.name is not None and failure is not None:
            remedy = (
                "Fix the cause, then continue with `kingyo resume`. If the cause is a setting in run.yaml, "
            )
            remedy += "start a new run with `kingyo evolve`: `resume` uses the settings that the run stores."
            raise KingyoError(f"baseline '{trial.name}'", "a model that can be scored", failure, remedy)
        if job.split == "fit" and trial.search != BASELINES and not self._scorers:
            new = _without_media(new)
        new = self._store.record(trial.id, job.split, replace(new, copied_from=None), n_items=len(job.items))
        return self._joined(job.split, known, new)

    def _missing_value(self, split: Split, evaluation: Evaluation) -> str | None:
        if split not in self._scorers or len(evaluation.scores) < len(self.items[split]):
            return None
        return self._scorers[split].missing_value_reason(evaluation.scores)

    def _joined(self, split: Split, known: Evaluation | None, new: Evaluation) -> Evaluation:
        if known is None:
            return replace(new, scores=self._ordered(split, new.scores), files=())
        return Evaluation(
            scores=() if new.failure is not None else self._ordered(split, (*known.scores, *new.scores)),
            failure=new.failure,
            build_seconds=known.build_seconds + new.build_seconds,
            score_seconds=known.score_seconds + new.score_seconds,
            copied_from=known.copied_from if known.copied_from == new.copied_from else None,
        )

    def _ordered(self, split: Split, scores: tuple[ItemScore, ...]) -> tuple[ItemScore, ...]:
        return tuple(sorted(scores, key=lambda score: self._places[split][score.item]))


def _without(items: Sequence[str], known: Evaluation | None) -> list[str]:
    have = {score.item for score in known.scores} if known is not None else set[str]()
    return [item for item in items if item not in have]


def _without_media(evaluation: Evaluation) -> Evaluation:
    """Drop images from an evaluation; those of thousands of candidates would fill the disk."""
    if all(score.media is None for score in evaluation.scores):
        return evaluation
    return replace(evaluation, scores=tuple(score._replace(media=None) for score in evaluation.scores))

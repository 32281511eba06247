"""Scores of trials on items: stored ones, copies of the same recipe's, and the rest from the runner.

Whatever is new is committed at once; what is in the store is never run again.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, replace

from kingyo.errors import KingyoError
from kingyo.evolution.objectives import Scorer
from kingyo.evolution.trial_recipes import read_recipe
from kingyo.evolution.types import BASELINES
from kingyo.runners import Job, Runner
from kingyo.store import RunStore, StoredTrial
from kingyo.types import Evaluation, ItemScore, Split

KnownScores = Mapping[tuple[str, Split], Mapping[str, ItemScore]]
"""Hash of a recipe and split -> item -> its score in another run, whose items and models are the same."""


@dataclass(frozen=True, kw_only=True)
class ScoringRequest:
    """A trial to measure on a split: on these items, or on all."""

    trial: StoredTrial
    split: Split
    items: Sequence[str] | None = None


@dataclass(frozen=True, kw_only=True)
class TrialEvaluation:
    """How a trial did on what was asked; ``replayed``: all was in the store, nothing was run or copied."""

    evaluation: Evaluation
    replayed: bool = False


@dataclass(frozen=True, kw_only=True)
class _Running:
    """A request that a runner has, with what it was asked for."""

    request: ScoringRequest
    missing: Sequence[str]


class TrialEvaluator:
    """Evaluates trials, each item once.

    Args:
        store: the run's database, open for writing.
        runner: evaluates recipes.
        items: names of the items of each split, in their order.
        reuse: whether trials of one recipe copy from one another; else each is scored itself.
        known: scores that baselines may copy too.
        scorers: of each split, where a measure of all answers counts: a trial of which it has no value fails,
            and images that candidates answer with on fit are kept, since the measure reads them.
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
        self._running: dict[int, _Running] = {}
        self._waiting: list[ScoringRequest] = []
        self._jobs = 0
        self._reuse = reuse
        self._known = known or {}
        self._judges = scorers or {}
        self.items = items

    @property
    def n_workers(self) -> int:
        """How many trials are measured at a time."""
        return self._runner.n_workers

    def measure_all(
        self, requests: Iterable[ScoringRequest]
    ) -> Iterator[tuple[StoredTrial, TrialEvaluation]]:
        """Yield each trial with how it did, once it has scores on its items, in order of finishing.

        Trials of one recipe wait for one another and copy, so what is run and stored of each does not depend
        on who finishes first.

        Raises:
            KingyoError: a baseline fails; nothing is stored of that.
        """
        # A queue of the runner's own keeps workers busy while results are stored. One worker has none: then
        # each result is stored before the next is begun.
        most = self.n_workers if self.n_workers == 1 else 2 * self.n_workers
        for request in requests:
            known = self.begin(request)
            if known is not None:
                yield request.trial, known
            while len(self._running) >= most:
                yield from self.finish()
        while self._running:
            yield from self.finish()

    def begin(self, request: ScoringRequest) -> TrialEvaluation | None:
        """Return how a trial did, if that is known without running it; else let it be run."""
        if self._must_wait(request):
            self._waiting.append(request)
            return None
        trial, split = request.trial, request.split
        known = self._store.evaluation(trial.id, split)
        if known is not None and known.failure is not None:
            return TrialEvaluation(evaluation=known, replayed=True)
        missing = _without(request.items or self.items[split], known)
        if not missing:
            assert known is not None, "a split has items"
            return TrialEvaluation(evaluation=known, replayed=True)
        if self._reuse:
            missing = self._copy(trial, split, missing)
        if not missing:
            return TrialEvaluation(evaluation=self._stored(request))
        recipe = read_recipe(trial)
        self._jobs += 1
        self._running[self._jobs] = _Running(request=request, missing=missing)
        self._runner.submit(Job(id=self._jobs, recipe=recipe, split=split, items=tuple(missing)))
        return None

    def finish(self) -> Iterator[tuple[StoredTrial, TrialEvaluation]]:
        """Wait for one that runs; yield it, and those that can copy from it now."""
        job, new = self._runner.next()
        done = self._running.pop(job)
        yield done.request.trial, self._record(done, new)
        recipe = done.request.trial.recipe_hash
        twins = [each for each in self._waiting if each.trial.recipe_hash == recipe]
        self._waiting = [each for each in self._waiting if each.trial.recipe_hash != recipe]
        for request in twins:
            known = self.begin(request)  # it may have to be run after all: then the others wait again
            if known is not None:
                yield request.trial, known

    def _must_wait(self, request: ScoringRequest) -> bool:
        """Whether a trial of the same recipe is being run, so that there will be something to copy."""
        recipe = request.trial.recipe_hash
        running = (each.request.trial.recipe_hash for each in self._running.values())
        return self._reuse and any(each == recipe for each in running)

    def _copy(self, trial: StoredTrial, split: Split, missing: list[str]) -> list[str]:
        """Take over what trials of the same recipe scored; return what is still missing."""
        for twin in self._store.same_recipe(trial.recipe_hash, split, but=trial.id):
            stored = self._store.evaluation(twin, split)
            wanted = set(missing)
            shared = tuple(each for each in stored.scores if each.item in wanted) if stored else ()
            missing = self._shared(trial, split, missing, Evaluation(scores=shared, copied_from=twin))
        if trial.search != BASELINES:  # what a search pays must not depend on other runs
            return missing
        known = self._known.get((trial.recipe_hash, split), {})
        elsewhere = tuple(known[item] for item in missing if item in known)
        return self._shared(trial, split, missing, Evaluation(scores=elsewhere, copied_from=trial.id))

    def _shared(self, trial: StoredTrial, split: Split, missing: list[str], shared: Evaluation) -> list[str]:
        """Store what was copied, if anything was; return what is still missing."""
        if not shared.scores:
            return missing
        self._store.record(trial.id, split, shared)
        copied = {each.item for each in shared.scores}
        return [item for item in missing if item not in copied]

    def _record(self, done: _Running, new: Evaluation) -> TrialEvaluation:
        trial, split = done.request.trial, done.request.split
        new = self._with_a_value(trial, split, new)
        if trial.name is not None and new.failure is not None:
            raise _baseline_failed(trial.name, new.failure)
        if split == "fit" and trial.search != BASELINES and not self._judges:
            new = _without_media(new)
        self._store.record(trial.id, split, replace(new, copied_from=None), n_items=len(done.missing))
        return TrialEvaluation(evaluation=self._stored(done.request))

    def _with_a_value(self, trial: StoredTrial, split: Split, new: Evaluation) -> Evaluation:
        """Return an evaluation as it is, or as a failure where it completes a set without a value."""
        if split not in self._judges or new.failure is not None:
            return new
        known = self._store.evaluation(trial.id, split)
        scores = (*(() if known is None else known.scores), *new.scores)
        is_whole = len(scores) == len(self.items[split])
        failure = self._judges[split].no_value(scores) if is_whole else None
        return new if failure is None else replace(new, scores=(), failure=failure)

    def _stored(self, request: ScoringRequest) -> Evaluation:
        evaluation = self._store.evaluation(request.trial.id, request.split)
        assert evaluation is not None, "it was recorded just now"
        return evaluation


def _without(items: Sequence[str], known: Evaluation | None) -> list[str]:
    scores: Sequence[ItemScore] = () if known is None else known.scores
    have = {each.item for each in scores}
    return [item for item in items if item not in have]


def _without_media(evaluation: Evaluation) -> Evaluation:
    """Return an evaluation without images: of thousands of candidates they would fill the disk."""
    if all(each.media is None for each in evaluation.scores):
        return evaluation
    return replace(evaluation, scores=tuple(each._replace(media=None) for each in evaluation.scores))


def _baseline_failed(name: str, reason: str) -> KingyoError:
    """Without its baselines a run can compare nothing, so it ends here; nothing is stored of the failure."""
    return KingyoError(
        f"baseline '{name}'",
        expected="a model that can be scored",
        received=reason,
        remedy="Fix the cause, then go on with `kingyo resume`.",
    )

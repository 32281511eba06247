"""Everything that the report shows, read from the store once. It writes nothing and draws nothing."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import cast

from kingyo.advice import Advice, advise
from kingyo.evolution import MAIN, FrontPoint, stored_aims
from kingyo.report import wording
from kingyo.report.ancestry import Family, trace
from kingyo.report.answers import Contrast, contrast
from kingyo.report.composition import Matrix, read_matrices
from kingyo.report.history import History, read_histories
from kingyo.report.routes import Routes, read_routes
from kingyo.results.summary import (
    MIXTURES,
    STATISTICS_SEED,
    Comparison,
    Entry,
    RunSummary,
    read_entry,
    summarize,
)
from kingyo.stats import Interval, selection_bias
from kingyo.store import RunStore
from kingyo.types import Split

BRED = "bred"
BIAS_SPLITS = 200


@dataclass(frozen=True, kw_only=True)
class Bar:
    """One model's score on one split. ``role`` says what it is: bred, parent, mixture or control."""

    name: str
    role: str
    score: Interval


@dataclass(frozen=True, kw_only=True)
class Findings:
    """A run as the report sees it.

    Attributes:
        summary: in numbers.
        child: the winner; before one is picked, the trial that is best on fit so far.
        split: the farthest split on which the child was scored.
        main: the search that bred it; None before the search began.
        controls: the other searches.
        matrices, family: of the child.
        routes: paths through layers, of the child and of the search; None where there are none.
        front: the points of the front with all their scores; empty where there is one objective.
        contrast: answers on the test split, once it was read.
        advice: what to know of the run, and what to do about it.
        expected_bias: what picking the best of all trials on fit overrates it by, estimated on fit alone.
        facts: what the run stores of itself.
        items: number of items of each split.
    """

    summary: RunSummary
    child: Entry | None
    split: Split
    main: History | None
    controls: Mapping[str, History]
    matrices: tuple[Matrix, ...]
    family: Family | None
    routes: Routes | None
    front: tuple[tuple[FrontPoint, Entry], ...]
    contrast: Contrast | None
    advice: tuple[Advice, ...]
    expected_bias: float | None
    facts: Mapping[str, object]
    items: Mapping[Split, int]

    @property
    def is_tested(self) -> bool:
        """Whether the winner was scored on the test split."""
        return self.summary.winner is not None and self.summary.winner.test is not None

    @property
    def unit(self) -> wording.Unit:
        """In what the numbers are written that the run chose by."""
        return wording.Unit(measure=self.summary.decided_by)

    @property
    def child_name(self) -> str:
        """What the child may be called: it is bred once it is picked."""
        return BRED if self.summary.winner is not None else "best so far"

    @property
    def config(self) -> Mapping[str, object]:
        """The run.yaml, as stored."""
        return cast(Mapping[str, object], self.facts.get("config") or {})

    def comparison(self, name: str) -> Comparison | None:
        """The winner against a baseline or a control, on test."""
        return next((each for each in self.summary.comparisons if each.other == name), None)

    def bars(self) -> list[Bar]:
        """All models that were scored on ``split``: the child first, then the best first."""
        entries = [(name, entry) for name, entry in self.summary.baselines.items()]
        others = [(name, "mixture" if name in MIXTURES else "parent", entry) for name, entry in entries]
        others += [(wording.search(name), "control", entry) for name, entry in self.summary.controls.items()]
        found = [
            Bar(name=name, role=role, score=score)
            for name, role, entry in others
            if (score := entry.on(self.split)) is not None
        ]
        found.sort(key=lambda bar: -bar.score.score)
        mine = None if self.child is None else self.child.on(self.split)
        return [*([Bar(name=self.child_name, role="bred", score=mine)] if mine else []), *found]


def gather(store: RunStore) -> Findings:
    """Read a run: finished, under way or interrupted."""
    summary = summarize(store)
    histories = read_histories(store)
    main = histories.pop(MAIN, None)
    child = summary.winner or _leader(store, main)
    known = None if child is None or main is None else (child.trial.asked, main)
    return Findings(
        summary=summary,
        child=child,
        split=_farthest(child),
        main=main,
        controls=histories,
        matrices=_matrices(child, main),
        family=trace(known[0].number, known[1].by_number) if known else None,
        routes=read_routes(store, main, summary.path),
        front=tuple((point, read_entry(store, MAIN, point.trial)) for point in summary.front.points),
        contrast=contrast(store, summary, BRED),
        advice=advise(store, summary),
        expected_bias=None if main is None else _expected_bias(store, main),
        facts={
            key: store.fact(key)
            for key in ("name", "version", "created", "folder", "config", "duplicates_dropped")
        },
        items=summary.items,
    )


def _matrices(child: Entry | None, main: History | None) -> tuple[Matrix, ...]:
    """The genes of a merge; none of a path where nothing is merged, or through no layer of the merge."""
    if child is None or main is None or ("path" in child.recipe and "merges" not in child.recipe):
        return ()
    return tuple(read_matrices(main.description, child.genome))


def _leader(store: RunStore, main: History | None) -> Entry | None:
    if main is None or not main.records:
        return None
    return read_entry(store, MAIN, main.by_number[main.records[-1].number].trial)


def _farthest(child: Entry | None) -> Split:
    if child is not None and child.test is not None:
        return "test"
    return "validation" if child is not None and child.validation is not None else "fit"


def _expected_bias(store: RunStore, main: History) -> float | None:
    """Trials with one recipe are one candidate: their copies would be drawn as if they were independent.

    Only what was scored on the same items can be compared: nothing where the search used some of them. Nor
    is anything known of the mean of several tasks, which counts items unequally.
    """
    aims = stored_aims(store)
    if len(aims.tasks) > 1 or aims.by_set or any(point.is_partial for point in main.points):
        return None
    recipes = {point.trial.recipe_hash: point for point in main.points if point.score is not None}
    evaluations = [store.evaluation(point.trial.id, "fit") for point in recipes.values()]
    scores = [[each.score for each in found.scores] for found in evaluations if found is not None]
    lengths = {len(row) for row in scores}
    if len(scores) < 2 or len(lengths) != 1 or min(lengths) < 2:
        return None
    return selection_bias(scores, seed=STATISTICS_SEED, splits=BIAS_SPLITS)

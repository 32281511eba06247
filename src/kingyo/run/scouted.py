"""The trial merges of a scout, as points of a run of sources that it chose."""

from __future__ import annotations

import os
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import cast

from kingyo.errors import KingyoError
from kingyo.io.units import counted
from kingyo.run.config import RunConfig
from kingyo.run.setup import stored_config
from kingyo.space import ParameterSpace, SourceSpace
from kingyo.store import DATABASE, RunStore
from kingyo.types import Axis, Genome, ItemScore

SCOUT = "scout"
"""Name of the search of a scout."""
Weights = Mapping[str, tuple[float, ...]]
"""Source -> its weight in each span of layers, or in all of them; without sources whose weights are all 0."""


@dataclass(frozen=True, kw_only=True)
class TrialMerge:
    """A trial merge of a scout, and its scores on fit items."""

    weights: Weights
    scores: Mapping[str, ItemScore] = field(default_factory=dict[str, ItemScore])


@dataclass(frozen=True, kw_only=True)
class ScoutRecord:
    """How a scout chose the sources of a run.

    Attributes:
        chosen, candidates: numbers of models.
        answers: number of graded answers.
        page: the scout's report; None if there is none.
    """

    chosen: int
    candidates: int
    answers: int
    page: Path | None

    def in_words(self) -> str:
        """Return sentences on the choice; an absolute path is shown from the current folder."""
        page = self.page if self.page is None or not self.page.is_absolute() else os.path.relpath(self.page)
        page = "" if page is None else f" Its report: {page}"
        return (
            f"A scout chose {self.chosen} of {counted(self.candidates, 'candidate')} as sources, by "
            f"{counted(self.answers, 'answer')}.{page}"
        )

    def to_json(self) -> dict[str, object]:
        """Return the record in ``kingyo show --json``."""
        return {**asdict(self), "page": None if self.page is None else os.path.relpath(self.page)}


def read_scout(store: RunStore) -> ScoutRecord | None:
    """Return how a scout chose the sources of a run; None if none did, or its folder is gone."""
    stored = cast("Mapping[str, object]", store.fact("config") or {})
    if not stored.get("scout"):
        return None
    config, folder = stored_config(store)
    trials = folder / str(config.scout)
    if not (trials / DATABASE).exists():
        return None
    with RunStore.read(trials) as scout:
        candidates = cast("Mapping[str, Mapping[str, str]]", scout.fact("config"))["sources"]
        answers = sum(items for items, _ in scout.costs(SCOUT, "fit").values())
    page = trials.parent.resolve() / "report.html"
    return ScoutRecord(
        chosen=len(config.sources),
        candidates=len(candidates),
        answers=answers,
        page=page if page.is_file() else None,
    )


def open_scout(folder: Path) -> RunStore:
    """Open the database of a scout to read it.

    Raises:
        KingyoError: the folder has none.
    """
    if not (folder / DATABASE).exists():
        raise unusable(folder, "a folder of `kingyo scout`", "none")
    store = RunStore.read(folder)
    if SCOUT not in store.searches():
        store.close()
        raise unusable(folder, "a folder of `kingyo scout`", "a run of another kind")
    return store


def trial_merges(store: RunStore, config: RunConfig) -> list[TrialMerge]:
    """Return the merges of sources of a run, with the scores of all trials of each."""
    names = list(cast("Mapping[str, Mapping[str, str]]", store.fact("config"))["sources"])
    joined: dict[tuple[tuple[str, tuple[float, ...]], ...], dict[str, ItemScore]] = {}
    for trial in store.trials(SCOUT):
        weights = weights_by_source(names, trial.asked.genome)
        evaluation = store.evaluation(trial.id, "fit")
        if evaluation is not None and evaluation.scores and weights.keys() <= config.sources.keys():
            scores = joined.setdefault(tuple(weights.items()), {})
            scores.update({score.item: score for score in evaluation.scores})
    return [TrialMerge(weights=dict(key), scores=scores) for key, scores in joined.items()]


def weights_by_source(names: Sequence[str], genome: Genome) -> dict[str, tuple[float, ...]]:
    """Return the weights of each source that is merged: one if it is the same in all spans of layers."""
    n_spans = len(genome) // len(names)
    rows = {name: genome[i * n_spans : (i + 1) * n_spans] for i, name in enumerate(names)}
    return {name: row if len(set(row)) > 1 else row[:1] for name, row in rows.items() if any(row)}


def genome_of(space: SourceSpace, weights: Weights) -> Genome | None:
    """Return the genome with these weights.

    None if the space has other axes than weights of sources, groups that are not within these spans, or fixes
    a weight at another value.
    """
    if not isinstance(space, ParameterSpace) or not weights.keys() <= space.sources.keys():
        return None
    axes: dict[str, list[Axis]] = {}
    for axis in space.axes:
        axes.setdefault(axis.family, []).append(axis)
    genes: list[float] = []
    searched: set[str] = set()
    for family, own in axes.items():
        parameter, _, owner = family.partition("/")
        row = weights.get(owner, (0.0,))
        if parameter != "weight" or not owner or not (len(row) == 1 or _are_within(own, family, len(row))):
            return None
        row = [gene for gene in row for _ in range(len(own) // len(row))]
        if not all(axis.low <= gene <= axis.high for axis, gene in zip(own, row, strict=True)):
            return None
        genes += row
        searched.add(owner)
    is_other = any(
        (space.fixed(parameter, source),) != weights.get(source, (0.0,))
        for parameter in space.method.params
        for source in space.sources
        if parameter.name == "weight" and source not in searched
    )
    return None if is_other else tuple(genes)


def _are_within(axes: Sequence[Axis], family: str, n_spans: int) -> bool:
    """Return whether axes are of spans of layers, each within one of fewer spans."""
    names = [f"{family}/layers.{i}" for i in range(len(axes))]
    return [axis.name for axis in axes] == names and len(axes) % n_spans == 0


def unusable(folder: Path, expected: str, received: str) -> KingyoError:
    """Return the error about a scout whose measurements a run cannot use."""
    return KingyoError(
        f"scout: {folder}",
        expected=expected,
        received=received,
        remedy="Run `kingyo scout` again, or delete the key `scout` from the run.yaml.",
    )

"""Find a trial by its name, and describe trials in words.

``12`` is a trial of the main search, ``random:12`` one of another search, and ``uniform`` (or
``baselines:uniform``) a baseline.
"""

import shlex
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass

from kingyo.core.io import units
from kingyo.core.types import SPLITS
from kingyo.errors import KingyoError, suggest
from kingyo.runs.choice import CHOICE
from kingyo.runs.config import (
    FRANKENMERGE,
    RANDOM_SOURCES,
    TRAINED,
    TRAININGS,
    TUNED,
    TUNED_PARENT,
    WEIGHT_SEARCH,
    WEIGHT_SEARCH_LABEL,
)
from kingyo.search.evolution import BASELINES, MAIN, Objectives
from kingyo.stats import Interval
from kingyo.store import RunStore, StoredTrial

_BASELINES = {"base": "the base", "uniform": "the uniform merge", FRANKENMERGE: "the frankenmerge"}
_TRAINED = {TRAINED: "trained LoRA", TUNED: "tuned model", TUNED_PARENT: "tuned parent"}
_SEARCHES = {
    MAIN: "the main search",
    CHOICE: "the choice of sources",
    WEIGHT_SEARCH: WEIGHT_SEARCH_LABEL,
    RANDOM_SOURCES: "the search with random sources",
    **{name: f"the {title}" for name, title in _TRAINED.items()},
}
BRED = ("bred", "winner")
"""Names of the winner of the main search."""


def find_trial(store: RunStore, reference: str) -> StoredTrial:
    """Return the trial with the given name."""
    name, known, searches = reference.strip(), dict[str, StoredTrial](), dict[str, list[str]]()
    for each in store.trials():
        own = str(each.asked.number) if each.name is None else each.name
        searches.setdefault(each.search, []).append(own)
        known[f"{each.search}:{own}"] = each
        if each.search == MAIN or (each.search == BASELINES and not own.isdecimal()):
            known[own] = each
    folder = shlex.quote(str(store.folder))
    if name.casefold() in BRED and name not in known:
        winner = store.winner(MAIN)
        if winner is None:
            received = f"'bred', but the run has no winner yet (status: {store.status()})"
            remedy = f"Continue with `kingyo resume {folder}`, or name a trial."
            raise KingyoError("trial", "a run with a winner", received, remedy)
        return winner
    if name not in known:
        remedy = f"`kingyo show {folder}` shows the state of the run."
        words = [each for each in known if not each.isdecimal()]
        is_number = name.partition(":")[2].isdecimal() or name.isdecimal()
        expected = " or ".join(_ranges(searches)) or "a run with trials"
        remedy = remedy if is_number else suggest(name, words)
        raise KingyoError("trial", expected, f"'{reference}'", remedy)
    return known[name]


def reference_to(trial: StoredTrial) -> str:
    """Return the name of a trial for ``find_trial``."""
    if trial.search == MAIN:
        return str(trial.asked.number)
    return f"{trial.search}:{trial.asked.number if trial.name is None else trial.name}"


def describe_trial(trial: StoredTrial) -> str:
    """Describe a trial: "the parent ja", "the uniform merge", "trial 12 of random search".

    For models that the run trained: "the trained LoRA (trained:2)".
    """
    if trial.name is not None:
        return _BASELINES.get(trial.name, f"the parent {trial.name}")
    if trial.search in TRAININGS:
        return f"{describe_search(trial.search)} ({reference_to(trial)})"
    return f"trial {trial.asked.number} of {describe_search(trial.search)}"


def describe_search(name: str) -> str:
    """Describe a search: "the main search", "random search", "weights alone", "the tuned model"."""
    return _SEARCHES.get(name, f"{name} search")


def row_title(search: str) -> str:
    """Name the winner of a search in a table: "random, same cost", "weights alone", "trained LoRA"."""
    named = {WEIGHT_SEARCH: WEIGHT_SEARCH_LABEL, **_TRAINED, TUNED: TUNED}
    return named.get(search, f"{search.replace('_', ' ')}, same cost")


def failure_of(store: RunStore, trial: StoredTrial) -> str | None:
    """Return why a trial could not be scored on some split; None if it could, or was not tried."""
    evaluations = (store.evaluation(trial.id, split) for split in SPLITS)
    return next((each.failure for each in evaluations if each is not None and each.failure is not None), None)


def _ranges(searches: Mapping[str, Sequence[str]]) -> Iterator[str]:
    for search, own in searches.items():
        if search == MAIN:
            yield f"a number from 0 to {len(own) - 1}"
        elif search != BASELINES:
            yield f"{search}:0 to {search}:{len(own) - 1}" if len(own) > 1 else f"{search}:0"
    if BASELINES in searches:
        yield f"one of {', '.join(searches[BASELINES])}"


NONE = "–"
MINUS = "−"


@dataclass(frozen=True, kw_only=True)
class Unit:
    """The unit of the numbers that decide a run: scores in percent, or a set measure as it is."""

    measure: str | None = None

    @property
    def title(self) -> str:
        return self.measure or "score"

    @property
    def axis(self) -> str:
        return f"{self.measure} on fit" if self.measure else "score on fit in %"

    @property
    def by(self) -> str:
        return f"by {self.measure}, " if self.measure else ""

    @property
    def factor(self) -> float:
        return 1.0 if self.measure else 100.0

    @property
    def verb(self) -> str:
        return "has" if self.measure else "scores"

    def text(self, value: float) -> str:
        """Write a number: ``73.5%``, or ``0.8124``."""
        return f"{value:.4g}".replace("-", MINUS) if self.measure else percent(value)

    def bounds(self, value: Interval) -> str:
        """Write an interval: ``[67.0, 79.2]``."""
        return f"[{self.text(value.low)}, {self.text(value.high)}]".replace("%", "")

    def bounded(self, value: Interval | None) -> str:
        """Write a number with its interval; a dash if there is none."""
        return NONE if value is None else f"{self.text(value.score)} {self.bounds(value)}"

    def difference(self, value: float) -> str:
        """Write a difference: ``+48.0 points``."""
        return f"{self.signed(value)}{'' if self.measure else ' points'}"

    def bounded_difference(self, value: Interval) -> str:
        """Write a difference with its interval: ``+48.0 points [+41.2, +54.9]``."""
        return f"{self.difference(value.score)} {self.signed_bounds(value)}"

    def signed_bounds(self, value: Interval) -> str:
        return f"[{self.signed(value.low)}, {self.signed(value.high)}]"

    def signed(self, value: float) -> str:
        text = f"{value:+.4g}" if self.measure else f"{100 * value:+.1f}"
        return text.replace("-", MINUS) if float(text) else text.replace("-", "+")


SHARES = Unit()


def unit_of(objectives: Objectives) -> Unit:
    """Return the unit of a run with these objectives."""
    return Unit(measure=objectives.title if objectives.by_set else None)


def percent(value: float) -> str:
    """Write a score: ``73.5%``."""
    return units.percent(value).replace("-", MINUS)


def p_text(p: float) -> str:
    """Write a p-value."""
    return "p < 0.001" if p < 0.001 else f"p = {p:.3f}"


def sizes(ns: Iterable[int], total: int, of_groups: str = "") -> str:
    """Write how many of all items scores rest on: ``n = 120``, ``n = 16 of 120``, ``n = 4 to 16 of 120``."""
    numbers = [*ns] or [total]
    low, high = min(numbers), max(numbers)
    if low == total:
        return f"n = {total:,}{of_groups}"
    few = f"{low:,}" if low == high else f"{low:,} to {high:,}"
    if of_groups and high < total:
        return f"n = {few}{of_groups} (of {total:,} items)"
    return f"n = {few} of {total:,}{of_groups}"


def sizes_of(scores: Iterable[Interval | None], total: int) -> str:
    """Write how many items scores rest on, and of how many groups if items belong together."""
    known = [each for each in scores if each is not None]
    of_groups = max(known, key=lambda each: each.n).of_groups if known else ""
    return sizes((each.n for each in known), total, of_groups)

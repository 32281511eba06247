"""Report how much the results of different seeds vary."""

from __future__ import annotations

import shlex
from collections.abc import Iterator, Sequence

from kingyo.advice.message import Advice, seeds_command
from kingyo.evolution import MAIN, stored_objectives
from kingyo.results.seed_spread import read_seed_summary
from kingyo.results.summary import RunSummary
from kingyo.run.seed_runs import PREFIX
from kingyo.stats import percent
from kingyo.store import RunStore


def seed_variation(store: RunStore, summary: RunSummary) -> Iterator[Advice]:
    """Report how much the winners of several seeds differ; for one run, how to measure it."""
    if summary.winner is None:
        return
    several = _several(store, summary)
    if several is None:
        what = f"Another seed may end elsewhere.{_finalists(store)}"
        remedy = f"`{seeds_command(store)}` measures it."
    else:
        what = several
        remedy = f"`kingyo show {shlex.quote(str(store.folder.parent))}` compares them."
    yield Advice(kind="seeds", level="note", what=what, remedy=remedy)


def _several(store: RunStore, summary: RunSummary) -> str | None:
    """Compare the finished runs of other seeds; return None if there are none."""
    folder = store.folder.resolve()
    if not folder.name.startswith(PREFIX) or summary.status != "finished":
        return None
    seeds = read_seed_summary(folder.parent)
    if len(seeds.seeds) < 2:
        return None
    return f"The winners of {len(seeds.seeds)} seeds, this one among them, {_scoring(seeds.bred)} on test."


def _finalists(store: RunStore) -> str:
    """Return the range of the finalists' validation scores; empty for several tasks and set measures."""
    rows = [row for row in store.summaries("validation") if row.search == MAIN and row.mean is not None]
    n = max((row.n for row in rows), default=0)
    means = [row.mean for row in rows if row.n == n and row.mean is not None]
    objectives = stored_objectives(store)
    if len(means) < 2 or len(objectives.tasks) > 1 or objectives.by_set:
        return ""
    return (
        f" The {len(means)} finalists of this run {_scoring(means)} on validation (n={n}), "
        "but seeds can differ by more."
    )


def _scoring(means: Sequence[float]) -> str:
    low, high = f"{100 * min(means):.1f}", percent(max(means))
    return f"all score {high}" if percent(min(means)) == high else f"score {low} to {high}"

"""Settings of a run that look like mistakes, as sentences."""

from __future__ import annotations

from collections.abc import Iterator, Mapping

from kingyo.checkpoints.fingerprint import deciding_files
from kingyo.io.units import counted
from kingyo.run.layer_paths import dataflow_space
from kingyo.run.run import Run
from kingyo.run.run_models import same_sources
from kingyo.run.spaces import space_of
from kingyo.stats import mean_name, wilson
from kingyo.strategies import SINGLE_OBJECTIVE

FEW = 30
"""Fewer items of validation or test than this get a note."""


def notes(run: Run, identity: Mapping[str, object] | None = None) -> tuple[str, ...]:
    """Return the notes on a run.

    Args:
        run: not begun.
        identity: reference -> a value that is equal for equal models, such as their fingerprint; by default
            their files: copies of a model are not found then.
    """
    if identity is None:
        models = run.models.by_reference
        identity = {reference: deciding_files(each) for reference, each in models.items()}
    found = (*_by_set(run), *_unbred(run), *_short(run), *_blind(run), *_beyond(run), *_trains(run))
    return (*run.plan.warnings, *run.data.notes, *_few(run), *_same(run, identity), *found)


def _few(run: Run) -> Iterator[str]:
    """Note splits that are too small to tell models apart."""
    sizes = {split: len(items) for split, items in run.items.items() if split != "fit"}
    small = {split: n for split, n in sizes.items() if n < FEW}
    if small:
        fewest = min(small.values())
        likely = wilson(fewest // 2, fewest)
        parts = " and ".join(f"{counted(n, 'item')} of {split}" for split, n in small.items())
        yield (
            f"with {parts}, models are hard to tell apart: half of {fewest} right has a 95 % interval of "
            f"{100 * likely.low:.0f} to {100 * likely.high:.0f} %. Add rows if you can"
        )


def _same(run: Run, identity: Mapping[str, object]) -> Iterator[str]:
    """Note sources that are the same model, or the base itself, which merges begin from."""
    models, bases = run.models, set[str]()
    if models.base is not None and run.plan.method.needs_base:
        base = identity[models.base.reference]
        bases = {name for name, reference in models.references.items() if identity[reference] == base}
    for name in sorted(bases):
        yield f"source {name} is the base itself, which adds nothing to a merge. Delete it"
    why = "the search has more weights and no more choice"
    if run.plan.recipe.path:
        why = "paths may pass each of its layers under any of these names"
    for names in same_sources(models, identity):
        if not bases.intersection(names):
            rest = "one of them" if len(names) == 2 else "all but one of them"
            yield f"sources {' and '.join(names)} are the same model: {why}. Delete {rest}"


def _by_set(run: Run) -> Iterator[str]:
    """Of tasks that count by a measure of all their answers."""
    for task, measure in run.foreseen[0].objectives.by_set.items():
        yield (
            f"task {task or run.task.name} counts by {measure} of all its answers, in place of the mean of "
            "its item scores: each candidate answers all items of fit, without a screen, and the strategy is "
            "told one number of each"
        )


def _trains(run: Run) -> Iterator[str]:
    """Note a control that does more than score."""
    if any(search.prepare is not None for search in run.foreseen):
        yield "the control trained also trains as long as the main search takes, which no part counts"


def _unbred(run: Run) -> Iterator[str]:
    """Note searches whose budget ends before they propose anything of their own."""
    for search in run.foreseen:
        given, most = search.given, search.limits.candidates  # by items, copies of baselines cost nothing
        if given and most is not None and most <= given:
            yield (
                f"the search of paths has {most} of the budget's candidates, and begins with "
                f"{counted(given, 'given path')}: none is bred. "
                "Raise budget.candidates, or see dataflow.seeds and dataflow.known"
            )


def _short(run: Run) -> Iterator[str]:
    """Note paths that are too short for the layers of their frame."""
    if run.settings.paths is None:
        return
    paths = dataflow_space(run)
    longest, own = paths.most_hops, paths.n_layers[paths.frame]
    if longest < own:
        yield (
            f"paths have at most {counted(longest, 'layer')}, and {paths.frame} alone has "
            f"{own}: the search does not begin with its path. See dataflow.max_hops and max_size"
        )


def _blind(run: Run) -> Iterator[str]:
    """Note a search that knows nothing of the objectives."""
    objectives, strategy = run.foreseen[0].objectives, str(run.foreseen[0].description.get("strategy"))
    if objectives.names and strategy in SINGLE_OBJECTIVE:
        mean = mean_name(objectives.tasks.values())
        yield (
            f"{strategy} searches for the {mean} of the tasks, and the front is what it finds by the "
            "way. Say search.preset: pareto to search for the objectives"
        )


def _beyond(run: Run) -> Iterator[str]:
    """Note bounds of the first search within which no model lies that is known before it."""
    bounds = space_of(run, run.settings.first).bounds_without_known()
    if bounds is not None:
        yield (
            f"the bounds of weight, {bounds.low:g} to {bounds.high:g}, leave out every model that is "
            "known before the search: the uniform merge (1 / n for each of n sources) and the parents "
            "(1, and 0 for the others). "
            "Widen merge.parameters.weight unless you mean that"
        )

"""Notes on settings of a run that look like mistakes."""

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

FEW_ITEMS = 30
"""Number of validation or test items below which a run gets a note."""


def notes(run: Run, identity: Mapping[str, object] | None = None) -> tuple[str, ...]:
    """Return the notes on a run.

    Args:
        run: not begun.
        identity: reference -> a value that is equal for equal models, such as a fingerprint. The default,
            their files, does not detect copies.
    """
    if identity is None:
        models = run.models.by_reference
        identity = {reference: deciding_files(model) for reference, model in models.items()}
    return (
        *run.plan.warnings,
        *run.data.notes,
        *_few_items(run),
        *_same_sources(run, identity),
        *_set_measures(run),
        *_no_bred_paths(run),
        *_short_paths(run),
        *_unused_objectives(run),
        *_narrow_bounds(run),
        *_training_time(run),
    )


def _few_items(run: Run) -> Iterator[str]:
    """Note splits that are too small to tell models apart."""
    sizes = {split: len(items) for split, items in run.items.items() if split != "fit"}
    small = {split: n for split, n in sizes.items() if n < FEW_ITEMS}
    if small:
        fewest = min(small.values())
        interval = wilson(fewest // 2, fewest)
        parts = " and ".join(f"{counted(n, 'item')} of {split}" for split, n in small.items())
        yield (
            f"with {parts}, models are hard to tell apart: half of {fewest} right has a 95 % interval of "
            f"{100 * interval.low:.0f} to {100 * interval.high:.0f} %. Add rows if you can"
        )


def _same_sources(run: Run, identity: Mapping[str, object]) -> Iterator[str]:
    """Note sources that are the same model, or the base."""
    models, bases = run.models, set[str]()
    if models.base is not None and run.plan.method.needs_base:
        base = identity[models.base.reference]
        bases = {name for name, reference in models.references.items() if identity[reference] == base}
    for name in sorted(bases):
        yield f"source {name} is the base itself, which adds nothing to a merge. Delete it"
    reason = "the search has more weights and no more choice"
    if run.plan.recipe.path:
        reason = "paths may pass each of its layers under any of these names"
    for names in same_sources(models, identity):
        if not bases.intersection(names):
            rest = "one of them" if len(names) == 2 else "all but one of them"
            yield f"sources {' and '.join(names)} are the same model: {reason}. Delete {rest}"


def _set_measures(run: Run) -> Iterator[str]:
    """Note tasks with a set measure."""
    for task, measure in run.all_searches[0].objectives.by_set.items():
        yield (
            f"task {task or run.task.name} counts by {measure} of all its answers, in place of the mean of "
            "its item scores: each candidate answers all items of fit, without a screen, and the strategy "
            "gets one number per candidate"
        )


def _training_time(run: Run) -> Iterator[str]:
    """Note the time of a training."""
    if any(search.prepare is not None for search in run.all_searches):
        yield "the control trained also trains for as long as the main search takes, which no part counts"


def _no_bred_paths(run: Run) -> Iterator[str]:
    """Note path searches whose budget ends before they breed one."""
    for search in run.all_searches:
        given, limit = search.given, search.limits.candidates
        if given and limit is not None and limit <= given:
            yield (
                f"the path search has {limit} of the budget's candidates, and begins with "
                f"{counted(given, 'given path')}: none is bred. "
                "Raise budget.candidates, or see dataflow.seeds and dataflow.known"
            )


def _short_paths(run: Run) -> Iterator[str]:
    """Note paths that are shorter than their frame."""
    if run.settings.paths is None:
        return
    paths = dataflow_space(run)
    longest, own = paths.most_hops, paths.n_layers[paths.frame]
    if longest < own:
        yield (
            f"paths have at most {counted(longest, 'layer')}, and {paths.frame} alone has "
            f"{own}, so the search does not begin with its path. See dataflow.max_hops and max_size"
        )


def _unused_objectives(run: Run) -> Iterator[str]:
    """Note a strategy that does not use the objectives."""
    objectives, strategy = (
        run.all_searches[0].objectives,
        str(run.all_searches[0].description.get("strategy")),
    )
    if objectives.names and strategy in SINGLE_OBJECTIVE:
        mean = mean_name(objectives.tasks.values())
        yield (
            f"{strategy} maximises the {mean} of the tasks, and the front is a by-product. "
            "Use search.preset: pareto to search for the objectives"
        )


def _narrow_bounds(run: Run) -> Iterator[str]:
    """Note bounds of the first search that exclude all models known before it."""
    bounds = space_of(run, run.settings.first).bounds_without_known()
    if bounds is not None:
        yield (
            f"the bounds of weight, {bounds.low:g} to {bounds.high:g}, exclude every model that is "
            "known before the search: the uniform merge (1 / n for each of n sources) and the parents "
            "(1, and 0 for the others). "
            "Widen merge.parameters.weight unless this is intended"
        )

"""Sources of weight 0 that a recipe can do without.

A source is left out only if the plans prove that no bit changes: both have the same template, tokenizer and
models, and each of their jobs differs at most by an input that its method skips.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from typing import TypeVar

from kingyo.errors import KingyoError
from kingyo.merging.engine.jobs import TensorJob
from kingyo.merging.engine.plan import Plan, plan
from kingyo.merging.engine.sources import Sources
from kingyo.merging.methods import skips
from kingyo.merging.recipe import Recipe
from kingyo.merging.recipe.contents import SliceSource, Source, references
from kingyo.merging.vocabulary import all_references

Entry = TypeVar("Entry", Source, SliceSource)


def without_idle_sources(recipe: Recipe, sources: Sources) -> tuple[Recipe, tuple[str, ...]]:
    """Return a recipe for the same weights, bit for bit, without sources of weight 0.

    Args:
        recipe: a recipe that can be planned.
        sources: its opened models.

    Returns:
        The recipe, and the references of sources whose weights have no effect but that it has to keep: random
        draws go by the position of a source, and the first model may give config and tokenizer.
    """
    if recipe.path:
        inner = {name: without_idle_sources(each, sources) for name, each in recipe.merges.items()}
        kept = dict.fromkeys(reference for _, idle in inner.values() for reference in idle)
        return replace(recipe, merges={name: each for name, (each, _) in inner.items()}), tuple(kept)
    planned, idle = plan(recipe, sources), list[str]()
    merged = dict.fromkeys(references(recipe.sources, recipe.slices, recipe.modules))
    for reference in reversed(merged):  # from the last, since random draws go by position
        if not any(_uses(job, reference) for job in planned.jobs):
            smaller = _planned_without(planned, reference, sources)
            planned = smaller or planned
            idle += [] if smaller else [reference]
    return planned.recipe, tuple(reversed(idle))


def _uses(job: TensorJob, reference: str) -> bool:
    if job.base is not None and job.base.reference == reference:
        return True
    if job.method is None:  # a copy of the first input, which all others are equal to
        return all(each == reference for each in job.sources)
    method, values = job.method, job.values
    return any(not skips(method, values, place) for place in _places(job, reference))


def _places(job: TensorJob, reference: str) -> list[int]:
    return [place for place, each in enumerate(job.sources) if each == reference]


def _planned_without(planned: Plan, reference: str, sources: Sources) -> Plan | None:
    try:
        smaller = plan(_without(planned.recipe, reference), sources)
    except KingyoError:  # it was the only source, or what all others are fitted to
        return None
    is_same = (
        reference not in all_references(smaller.recipe)
        and smaller.like == planned.like
        and smaller.vocabulary == planned.vocabulary
        and smaller.tokenizer_files == planned.tokenizer_files
        and all(smaller.sources[each] is planned.sources[each] for each in smaller.weights_of)
        and [_job_without(job, reference) for job in planned.jobs] == list(smaller.jobs)
    )
    return smaller if is_same else None


def _without(recipe: Recipe, reference: str) -> Recipe:
    def others(entries: Sequence[Entry]) -> tuple[Entry, ...]:
        return tuple(each for each in entries if each.model != reference)

    return replace(
        recipe,
        sources=others(recipe.sources),
        slices=tuple(replace(each, sources=others(each.sources)) for each in recipe.slices),
        modules={
            name: replace(
                module,
                sources=others(module.sources),
                slices=tuple(replace(each, sources=others(each.sources)) for each in module.slices),
            )
            for name, module in recipe.modules.items()
        },
    )


def _job_without(job: TensorJob, reference: str) -> TensorJob | None:
    """Return a job without the inputs of a model; None if later sources would draw other random numbers."""
    places = _places(job, reference)
    if not places:
        return job
    left = [place for place in range(len(job.inputs)) if place not in places]
    if job.method is not None and job.method.stochastic and left != list(range(len(left))):
        return None
    numbers = {name: tuple(values[place] for place in left) for name, values in job.values.per_source.items()}
    return replace(
        job,
        inputs=tuple(job.inputs[place] for place in left),
        values=replace(job.values, per_source=numbers),
    )

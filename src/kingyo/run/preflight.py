"""Check that models, data and settings of a run fit together; quick checks come first."""

from __future__ import annotations

from collections.abc import Sequence

from kingyo.checkpoints import Checkpoint
from kingyo.engine import Plan, plan
from kingyo.errors import KingyoError
from kingyo.evolution import MAIN, Search
from kingyo.models.kinds import PassesLayers, require_ability
from kingyo.run.config import RunConfig
from kingyo.run.layer_paths import dataflow_space, frame_of, models_of_paths
from kingyo.run.model_kind import check_items, require_answers
from kingyo.run.run import Run
from kingyo.run.settings import deciding_measures
from kingyo.run.spaces import first_merge
from kingyo.screens import Screen
from kingyo.space import probes
from kingyo.tasks import require_measures, require_teaching
from kingyo.vocabulary import check_tokens

_WIDTHS = {"float64": 3, "float32": 2, "float16": 1, "bfloat16": 1}


def check(run: Run) -> None:
    """Check models, data and settings without reading weights.

    Raises:
        KingyoError: one of them is invalid.
    """
    config, sources, kind = run.config, run.open_sources(), run.kind
    if run.settings.paths is not None:
        remedy = "Write space: parameters, or name models of another kind."
        require_ability(f"space: {config.space}", PassesLayers, kind, remedy)
        check_paths(run)
    task = run.task
    require_answers(task, kind)
    require_measures(task, deciding_measures(config))
    if config.controls.trained:
        require_teaching(task)
    for search in run.all_searches:
        _check_budget(search, run)
    for space in (search.space for search in run.all_searches):
        for genome in probes(space.axes):
            plan(space.decode(genome), sources)
    _check_baselines([plan(recipe, sources) for recipe in run.baselines.values()], run)
    if config.merge.dtype is None:
        _check_dtypes(run)


def check_prompts(run: Run) -> None:
    """Check that candidates can read all items; no weights are read.

    Raises:
        KingyoError: an item cannot be answered.
    """
    like = run.models.skeleton if run.settings.paths is None else frame_of(run)
    check_items(run.task, run.kind, like.path)


def fits_into(planned: Plan, model: Checkpoint) -> bool:
    """Return whether a model can be filled with a merge: same tensors, same tokenizer."""
    shapes = {job.name: job.shape for job in planned.jobs}
    return planned.tokenizer_files is None and all(
        shapes.get(name) == info.shape for name, info in model.tensors.items()
    )


def _check_baselines(baselines: Sequence[Plan], run: Run) -> None:
    """Check that baselines fit the live model of merges of weights."""
    for baseline in baselines if run.settings.paths is None else ():
        _require_same_shapes(run.plan, baseline)


def _check_budget(search: Search, run: Run) -> None:
    """Refuse a search whose budget allows no candidate; controls have the budget of other searches."""
    n_items = Screen(search.screen, search.seed).most_items(len(run.items["fit"]))
    limit = None if search.like else search.limits.item_evaluations
    if limit is not None and limit < n_items:
        fewer = (
            "." if search.objectives.by_set else ", or score candidates on fewer items: search.screen.items."
        )
        raise KingyoError(
            "budget.item_evaluations",
            expected=f"at least {n_items}, the items that one candidate is scored on; better {100 * n_items}",
            received=str(limit)
            if run.settings.then is None
            else f"{limit}, {_share_text(search, run.config)}",
            remedy=f"Give a larger budget{fewer}",
        )


def _share_text(search: Search, config: RunConfig) -> str:
    """Return the share of the budget that one of two searches has, in words."""
    share, name = config.hybrid.share, "weight"
    if search.name == MAIN:
        share, name = 1 - share, "path"
    return f"the {share:.3g} of {config.budget.item_evaluations} that the {name} search gets"


def _require_same_shapes(first: Plan, other: Plan) -> None:
    """Check that two plans can fill the same live model."""
    shapes = {job.name: job.shape for job in first.jobs}
    for job in other.jobs:
        if shapes.get(job.name) != job.shape:
            raise KingyoError(
                f"{other.recipe.references[0]}: {job.name}",
                expected=f"the shape that candidates have: {list(shapes.get(job.name, ()))}",
                received=str(list(job.shape)),
                remedy="Name the models' common ancestor as base:, or write merge.resize: base.",
            )


def check_paths(run: Run) -> None:
    """Check that paths through layers of the sources can be exported, and that tokens are equal.

    Raises:
        KingyoError: layers do not fit each other, weights of the architecture cannot hold scales, or tokens
            differ.
    """
    merge = None if run.config.space == "dataflow" else first_merge(run)
    plan(dataflow_space(run, merge).probe(), run.open_sources())
    check_tokens({model.reference: model.path for model in models_of_paths(run).values()})


def _check_dtypes(run: Run) -> None:
    """Check that the live model can hold the weights of all parents without rounding."""
    like = run.models.skeleton if run.settings.paths is None else frame_of(run)
    for name, checkpoint in run.models.sources.items():
        for info in checkpoint.tensors.values():
            live = like.tensors.get(info.name)
            if live is not None and info.is_floating and not _holds(live.dtype, info.dtype):
                raise KingyoError(
                    f"sources.{name}: {info.name}",
                    expected=f"weights that fit into {live.dtype}, as {like.reference} has them",
                    received=info.dtype,
                    remedy="Set the dtype of all candidates with merge.dtype, such as float32.",
                )


def _holds(live: str, stored: str) -> bool:
    """Return whether a dtype can represent every number of another."""
    return live == stored or _WIDTHS.get(live, 0) > _WIDTHS.get(stored, 0)

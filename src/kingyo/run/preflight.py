"""Whether all that a run names fits together, before anything is run: what takes no time comes first."""

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
    """Check models, data and settings, without a weight.

    Raises:
        KingyoError: whatever is wrong with them.
    """
    config, sources, kind = run.config, run.open_sources(), run.kind
    if run.settings.paths is not None:
        remedy = "Say space: parameters, or name models of another kind."
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
    """Read all items as a model like the candidates would; its weights are not read.

    Raises:
        KingyoError: an item that it could not answer.
    """
    like = run.models.skeleton if run.settings.paths is None else frame_of(run)
    check_items(run.task, run.kind, like.path)


def fits_into(planned: Plan, model: Checkpoint) -> bool:
    """Whether a merge has the tensors and the tokenizer of a model, which then can be filled with it."""
    shapes = {job.name: job.shape for job in planned.jobs}
    return planned.tokenizer_files is None and all(
        shapes.get(name) == info.shape for name, info in model.tensors.items()
    )


def _check_baselines(baselines: Sequence[Plan], run: Run) -> None:
    """Where weights are merged, baselines run in the model that candidates are filled into."""
    for each in baselines if run.settings.paths is None else ():
        _require_alike(run.plan, each)


def _check_budget(search: Search, run: Run) -> None:
    """Refuse a search that cannot try a single candidate; a control spends what others did."""
    most = Screen(search.screen, search.seed).most_items(len(run.items["fit"]))
    given = None if search.like else search.limits.item_evaluations
    if given is not None and given < most:
        fewer = (
            "." if search.objectives.by_set else ", or score candidates on fewer items: search.screen.items."
        )
        raise KingyoError(
            "budget.item_evaluations",
            expected=f"at least {most}, the items that one candidate is scored on; better {100 * most}",
            received=str(given) if run.settings.then is None else f"{given}, {_whose(search, run.config)}",
            remedy=f"Give a larger budget{fewer}",
        )


def _whose(search: Search, config: RunConfig) -> str:
    """How much of the budget of a run of both spaces, in turn, one of its searches has."""
    share, what = config.hybrid.share, "weights"
    if search.name == MAIN:
        share, what = 1 - share, "paths"
    return f"the {share:.3g} of {config.budget.item_evaluations} that the search of {what} gets"


def _require_alike(first: Plan, other: Plan) -> None:
    """All that is scored is filled into one live model."""
    shapes = {job.name: job.shape for job in first.jobs}
    for job in other.jobs:
        if shapes.get(job.name) != job.shape:
            raise KingyoError(
                f"{other.recipe.references[0]}: {job.name}",
                expected=f"the shape that candidates have: {list(shapes.get(job.name, ()))}",
                received=str(list(job.shape)),
                remedy="Name the models' common ancestor as base:, or say merge.resize: base.",
            )


def check_paths(run: Run) -> None:
    """Check that a path through layers of the sources can be exported, and that their tokens are the same.

    Raises:
        KingyoError: layers that cannot follow one another, scales in an architecture whose weights cannot
            hold them, or other tokens.
    """
    merge = None if run.config.space == "dataflow" else first_merge(run)
    plan(dataflow_space(run, merge).probe(), run.open_sources())
    check_tokens({each.reference: each.path for each in models_of_paths(run).values()})


def _check_dtypes(run: Run) -> None:
    """The live model is as wide as the frame or the skeleton: it cannot hold a parent that is wider."""
    like = run.models.skeleton if run.settings.paths is None else frame_of(run)
    for name, checkpoint in run.models.sources.items():
        for info in checkpoint.tensors.values():
            live = like.tensors.get(info.name)
            if live is not None and info.is_floating and not _holds(live.dtype, info.dtype):
                raise KingyoError(
                    f"sources.{name}: {info.name}",
                    expected=f"weights that fit into {live.dtype}, as {like.reference} has them",
                    received=info.dtype,
                    remedy="Say the dtype of all candidates: merge.dtype, such as float32.",
                )


def _holds(live: str, stored: str) -> bool:
    """Whether a dtype has every number of another; those of eight bits have none but their own."""
    return live == stored or _WIDTHS.get(live, 0) > _WIDTHS.get(stored, 0)

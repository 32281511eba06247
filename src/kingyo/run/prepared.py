"""A run.yaml whose models, data and settings were found to fit together, as far as headers and data tell."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

from kingyo.checkpoints import Checkpoint, deciding_files
from kingyo.errors import KingyoError
from kingyo.evolve import MAIN, Search
from kingyo.merge import Plan, Sources, plan
from kingyo.merge.shared import can_share
from kingyo.methods import METHODS
from kingyo.recipe import Recipe
from kingyo.run.config import RunConfig
from kingyo.run.layer_paths import dataflow_space, frame_of, models_of_paths
from kingyo.run.models import Models, open_models, same_sources
from kingyo.run.searches import (
    baseline_recipes,
    first_merge,
    searches,
    searches_after,
)
from kingyo.run.settings import is_in_turn, search_plan
from kingyo.screens import Screen
from kingyo.sizes import counted
from kingyo.space import DataflowSpace, HybridSpace, RoundedSpace, bounds_without_known, probes
from kingyo.stats import mean_name
from kingyo.strategies import MEAN_ALONE
from kingyo.strategies.seeded import Seeded
from kingyo.tasks import NearDuplicates, build_tasks, load_splits, require_teaching
from kingyo.types import Axis, Item, Split
from kingyo.vocabulary import check_tokens

_WIDTHS = {"float64": 3, "float32": 2, "float16": 1, "bfloat16": 1}


@dataclass(frozen=True, kw_only=True)
class Prepared:
    """A run that can begin.

    Attributes:
        models: opened; without their weights where these were not to be fetched.
        splits: the items.
        duplicates: rows that were dropped.
        near: near-duplicates among the items.
        data_notes: on near-duplicates that stand in more than one split.
        searches: all of them, in the order of a run; of those that follow a winner, as they would follow the
            merge at the start of every axis.
        baselines: recipes of the models to compare with.
        first: the recipe at the start of every axis.
        plan: of it.
    """

    models: Models
    splits: Mapping[Split, tuple[Item, ...]]
    duplicates: int
    near: NearDuplicates
    data_notes: tuple[str, ...]
    searches: tuple[Search, ...]
    baselines: Mapping[str, Recipe]
    first: Recipe
    plan: Plan

    @property
    def notes(self) -> tuple[str, ...]:
        """Settings that look like mistakes. Copies of a model are not found: that takes their weights."""
        models = self.models.by_reference
        return self.notes_knowing({reference: deciding_files(each) for reference, each in models.items()})

    def notes_knowing(self, identity: Mapping[str, object]) -> tuple[str, ...]:
        """Return the notes, with models compared by ``identity``.

        Args:
            identity: reference -> a value that is equal for equal models, such as their fingerprint.
        """
        found = (*self._unbred(), *self._short(), *self._blind(), *self._beyond(), *self._trains())
        return (*self.plan.warnings, *self.data_notes, *self._same(identity), *found)

    def _same(self, identity: Mapping[str, object]) -> Iterator[str]:
        """Of sources that are the same model, and of those that are the base, which merges begin from."""
        models, bases = self.models, set[str]()
        if models.base is not None and self.plan.method.needs_base:
            base = identity[models.base.reference]
            bases = {name for name, reference in models.references.items() if identity[reference] == base}
        for name in sorted(bases):
            yield f"source {name} is the base itself, which adds nothing to a merge. Delete it"
        why = "the search has more weights and no more choice"
        if self.plan.recipe.path:
            why = "paths may pass each of its layers under any of these names"
        for names in same_sources(models, identity):
            if not bases.intersection(names):
                rest = "one of them" if len(names) == 2 else "all but one of them"
                yield f"sources {' and '.join(names)} are the same model: {why}. Delete {rest}"

    def _trains(self) -> Iterator[str]:
        """Of a control that does more than score."""
        if any(search.prepare is not None for search in self.searches):
            yield "the control trained also trains as long as the main search takes, which no part counts"

    def _unbred(self) -> Iterator[str]:
        """Of searches whose budget ends before they propose anything of their own."""
        for search in self.searches:
            if not isinstance(search.strategy, Seeded) or search.like:
                continue
            given, candidates = search.strategy.n_points, search.limits.candidates
            if candidates is not None and candidates <= given:  # by items, copies of baselines cost nothing
                yield (
                    f"the search of paths has {candidates} of the budget's candidates, and begins with "
                    f"{counted(given, 'given path')}: none is bred. "
                    "Raise budget.candidates, or see dataflow.seeds and dataflow.known"
                )

    def _short(self) -> Iterator[str]:
        """Of paths that are too short for the models that they begin with."""
        for search in self.searches:
            space = search.space.space if isinstance(search.space, RoundedSpace) else search.space
            paths = space.paths if isinstance(space, HybridSpace) else space
            if isinstance(paths, DataflowSpace) and not search.like:
                longest, own = paths.most_hops, paths.n_layers[paths.frame]
                if longest < own:
                    yield (
                        f"paths have at most {counted(longest, 'layer')}, and {paths.frame} alone has "
                        f"{own}: the search does not begin with its path. See dataflow.max_hops and max_size"
                    )

    def _blind(self) -> Iterator[str]:
        """Of a search that knows nothing of the objectives."""
        aims, strategy = self.searches[0].aims, str(self.searches[0].description.get("strategy"))
        if aims.names and strategy in MEAN_ALONE:
            mean = mean_name(aims.tasks.values())
            yield (
                f"{strategy} searches for the {mean} of the tasks, and the front is what it finds by the "
                "way. Say search.preset: pareto to search for the objectives"
            )

    def _beyond(self) -> Iterator[str]:
        """Of bounds within which no model lies that is known before the search."""
        bounds = bounds_without_known(self.searches[0].space)
        if bounds is not None:
            yield (
                f"the bounds of weight, {bounds.low:g} to {bounds.high:g}, leave out every model that is "
                "known before the search: the uniform merge (1 / n for each of n sources) and the parents "
                "(1, and 0 for the others). "
                "Widen merge.parameters.weight unless you mean that"
            )

    @property
    def axes(self) -> tuple[Axis, ...]:
        """The genes of the first search."""
        return tuple(self.searches[0].space.axes)


def is_like(planned: Plan, model: Checkpoint) -> bool:
    """Whether a merge has the tensors and the tokenizer of a model, which then can be filled with it."""
    shapes = {job.name: job.shape for job in planned.jobs}
    return planned.tokenizer_files is None and all(
        shapes.get(name) == info.shape for name, info in model.tensors.items()
    )


def prepare(config: RunConfig, folder: Path, *, fetch: bool = True) -> Prepared:
    """Check models, data and settings, without a weight: what takes no time to find out comes first.

    Args:
        config: the run.yaml.
        folder: where its relative paths start.
        fetch: whether weights are fetched from the Hub; else only what says what they are.

    Raises:
        KingyoError: whatever is wrong with models, data or settings.
    """
    for name in search_plan(config).methods:
        METHODS.get(name, folder)
    models = open_models(config, folder, fetch=fetch)
    sources = Sources(models.by_reference, folder)
    if config.space != "parameters":
        _check_paths(config, folder, models, sources)
    loaded = load_splits(config.specs, folder)
    task = build_tasks(config.specs, loaded.splits, folder)
    if config.controls.trained:
        require_teaching(task)
    planned, baselines = searches(config, folder, models), baseline_recipes(config, models)
    if is_in_turn(config):
        planned += searches_after(first_merge(config, folder, models), config, folder, models)
    for search in planned:
        _check_budget(search, len(loaded.splits["fit"]), config)
    tried = [search.space.decode(genome) for search in planned for genome in probes(search.space.axes)]
    plans = [plan(recipe, sources) for recipe in tried]
    _check_baselines([plan(recipe, sources) for recipe in baselines.values()], plans[0], config)
    if config.merge.dtype is None:
        _check_dtypes(models, models.skeleton if config.space == "parameters" else frame_of(config, models))
    return Prepared(
        models=models,
        splits=loaded.splits,
        duplicates=loaded.duplicates,
        near=loaded.near,
        data_notes=loaded.notes,
        searches=tuple(planned),
        baselines=baselines,
        first=tried[0],
        plan=plans[0],
    )


def _check_baselines(baselines: Sequence[Plan], first: Plan, config: RunConfig) -> None:
    """Where weights are merged, baselines run in the model that candidates are filled into."""
    for each in baselines if config.space == "parameters" else ():
        _require_alike(first, each)


def _check_budget(search: Search, n_items: int, config: RunConfig) -> None:
    """A search that cannot try a single candidate has no winner; a control spends what others did."""
    if search.like:
        return
    most, given = Screen(search.screen, search.seed).most_items(n_items), search.limits.item_evaluations
    if given is not None and given < most:
        raise KingyoError(
            "budget.item_evaluations",
            expected=f"at least {most}, the items that one candidate is scored on; better {100 * most}",
            received=f"{given}, {_whose(search, config)}" if is_in_turn(config) else str(given),
            remedy="Give a larger budget, or score candidates on fewer items: search.screen.items.",
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


def _check_paths(config: RunConfig, folder: Path, models: Models, sources: Sources) -> None:
    """Whether layers of all sources can follow one another, and speak of the same tokens."""
    merge = None if config.space == "dataflow" else first_merge(config, folder, models)
    space = dataflow_space(config, models, merge)
    is_live = space.scales != "none" and can_share(models.skeleton)  # what cannot be folded
    plan(space.probe(), sources, share_layers=is_live)
    check_tokens({each.reference: each.path for each in models_of_paths(config, models).values()})


def _check_dtypes(models: Models, like: Checkpoint) -> None:
    """The live model is as wide as the frame or the skeleton: it cannot hold a parent that is wider."""
    for name, checkpoint in models.sources.items():
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

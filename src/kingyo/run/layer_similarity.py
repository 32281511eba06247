"""How alike the layers of a run's sources are on its fit items, as an errand: open, check, load, measure.

It reads run.yaml or a task, and models; it searches nothing and writes nothing.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import TYPE_CHECKING

from kingyo.checkpoints import Checkpoint
from kingyo.engine import Sources, plan
from kingyo.errors import KingyoError
from kingyo.io.lazy_torch import torch
from kingyo.models.kinds import AllRead, Live, LoadOptions, ModelKind, ShowsStreams, require_ability
from kingyo.run.config import RunConfig
from kingyo.run.model_kind import kind_of_models, load_checkpoint, load_options, require_answers
from kingyo.run.run_models import open_models
from kingyo.run.settings import settings_of
from kingyo.space import path_recipe
from kingyo.tasks import build_tasks, load_splits, single_tasks
from kingyo.types import Task
from kingyo.vocabulary import check_tokens

if TYPE_CHECKING:
    from kingyo.compare.similarity import LayerSimilarity


@dataclass(frozen=True, kw_only=True)
class SimilaritySettings:
    """How models are loaded and asked.

    Attributes:
        frame: name of the model that tokenizes, and gives all but the layers.
        folder: where relative paths start.
        options: for loading.
        most: how many items at most; None for all.
        kind: of the models; as their configs say when None.
    """

    frame: str
    folder: Path
    options: LoadOptions = field(default_factory=LoadOptions)
    most: int | None = None
    kind: str | None = None


@dataclass(frozen=True, kw_only=True)
class SimilarityResult:
    """What was measured, and on what.

    Attributes:
        models: name -> reference.
        n_prompts: different prompts of fit items.
        likeness: of their streams.
    """

    models: Mapping[str, str]
    n_prompts: int
    likeness: LayerSimilarity


def sources_alike(config: RunConfig, folder: Path, most: int | None = None) -> SimilarityResult:
    """Measure the sources of a run.yaml on its fit items.

    Args:
        config: the run.yaml.
        folder: where its relative paths start.
        most: how many items at most; None for all.

    Raises:
        KingyoError: whatever is wrong with models or data, or the layers of the sources cannot follow one
            another: they differ in width, architecture or tokens.
    """
    sources = open_models(config, folder).sources
    task = build_tasks(config.specs, load_splits(config.specs, folder).splits, folder)
    paths = settings_of(config).paths
    wanted = None if paths is None else paths.frame
    first = next(iter(sources))
    if config.threads is not None:
        torch.set_num_threads(config.threads)
    how = SimilaritySettings(
        frame=wanted if wanted is not None and wanted in sources else first,
        folder=folder,
        options=load_options(config),
        most=most,
        kind=config.kind,
    )
    return models_alike(sources, task, how)


def models_alike(models: Mapping[str, Checkpoint], task: Task, how: SimilaritySettings) -> SimilarityResult:
    """Measure models on the fit items of a task; raises as ``sources_alike`` does.

    Args:
        models: opened, by name.
        task: whose prompts they read.
        how: how they are loaded and asked.
    """
    found = kind_of_models(models, how.kind, how.folder)
    kind = require_ability("kingyo layers", ShowsStreams, found, "Name language models.")
    require_answers(task, kind)
    _check(models, how)
    prompts = _prompts(task, kind, models[how.frame], how.most)
    from kingyo.compare.similarity import measure_similarity  # after slips of the pen are answered

    streams = kind.streams(_live(models, kind, how), how.frame)
    return SimilarityResult(
        models={name: each.reference for name, each in models.items()},
        n_prompts=len(prompts),
        likeness=measure_similarity(streams.n_layers, lambda: streams(prompts)),
    )


def _check(models: Mapping[str, Checkpoint], how: SimilaritySettings) -> None:
    """Refuse layers that cannot follow one another, as a path through all of them is."""
    in_order = {how.frame: models[how.frame], **models}
    layers = [(each.reference, k) for each in in_order.values() for k in range(each.layout.n_blocks)]
    if not layers:
        raise KingyoError(
            "sources", expected="models with layers", received="none", remedy="Name decoder-only models."
        )
    by_reference = {each.reference: each for each in in_order.values()}
    plan(
        path_recipe(layers, models[how.frame].reference, how.options.dtype), Sources(by_reference, how.folder)
    )
    check_tokens({reference: each.path for reference, each in by_reference.items()})


def _prompts(task: Task, kind: ModelKind, frame: Checkpoint, most: int | None) -> Sequence[object]:
    """The different prompts of fit items as a model gets them, through its chat template where it would."""
    reader = kind.reader(frame.path)
    left = most
    for each in single_tasks(task):
        items = each.items("fit")[:left]
        left = None if left is None else left - len(items)
        for item in items:
            with suppress(AllRead):  # which it raises when it has read
                each.score(reader, [item])
    return list(dict.fromkeys(reader.prompts))


def _live(models: Mapping[str, Checkpoint], kind: ModelKind, how: SimilaritySettings) -> dict[str, Live]:
    """All models, in the dtype of the frame; one that is named twice lives once."""
    made: dict[str, Live] = {}
    options = how.options
    for each in (models[how.frame], *models.values()):
        if each.reference not in made:
            made[each.reference] = load_checkpoint(each, kind, options)
            options = replace(options, dtype=made[each.reference].dtype)
    return {name: made[each.reference] for name, each in models.items()}

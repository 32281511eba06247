"""Measure how similar the layers of models are on the fit items of a task: the mean cosine of their streams.

Place k of a model is the input of layer k and the output of layer k − 1; the last place is the output of the
last layer.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from kingyo.core.io.lazy_torch import Tensor, torch
from kingyo.core.types import Task
from kingyo.errors import KingyoError
from kingyo.merging.checkpoints import Checkpoint
from kingyo.merging.engine import Sources, plan
from kingyo.merging.vocabulary import check_tokens
from kingyo.models.kinds import (
    HasLanguagePart,
    Live,
    LoadOptions,
    ModelKind,
    PassesLayers,
    require_ability,
)
from kingyo.runs.config import RunConfig
from kingyo.runs.model_kind import (
    first_question,
    kind_of_models,
    layers_kind,
    load_checkpoint,
    load_options,
    preprocessor_of,
    require_answers,
)
from kingyo.runs.setup import open_models
from kingyo.search.space import path_recipe
from kingyo.tasks import build_tasks, load_splits, single_tasks


@dataclass(frozen=True, kw_only=True)
class LayerSimilarity:
    """Similarity of streams, place by place.

    Attributes:
        models: name -> reference.
        n_layers: name -> number of layers; a model has one place more.
        n_prompts, n_tokens: number of prompts and of their tokens.
        cosine: mean cosine over tokens, shape (places, places), model after model; NaN if a stream is 0.
    """

    models: Mapping[str, str]
    n_layers: Mapping[str, int]
    n_prompts: int
    n_tokens: int
    cosine: NDArray[np.float64]

    @property
    def places(self) -> tuple[tuple[str, int], ...]:
        return tuple((name, k) for name, n in self.n_layers.items() for k in range(n + 1))


def measure_sources(config: RunConfig, folder: Path, most: int | None = None) -> LayerSimilarity:
    """Measure the sources of a run.yaml; the frame of its paths comes first."""
    sources = open_models(config, folder).sources
    frame = config.dataflow.frame
    if frame is not None and frame in sources:
        sources = {frame: sources[frame], **sources}
    task = build_tasks(config.specs, load_splits(config.specs, folder).splits, folder)
    if config.threads is not None:
        torch.set_num_threads(config.threads)
    kind = kind_of_models(sources, config.kind, folder)
    return measure_models(sources, task, kind, load_options(config), most)


def measure_models(
    models: Mapping[str, Checkpoint], task: Task, kind: ModelKind, options: LoadOptions, most: int | None
) -> LayerSimilarity:
    """Measure models on up to ``most`` fit items of a task.

    The first model of the common kind gives embeddings and image features.
    """
    kind = require_ability("kingyo layers", PassesLayers, kind, "Name language models.")
    require_answers(task, kind)
    framing = (name for name, model in models.items() if layers_kind(model, kind) is kind)
    frame = next(framing, next(iter(models)))
    _check({frame: models[frame], **models}, kind, options)
    prompts = _prompts(task, kind, models[frame], most)
    streams = kind.streams(_live(models, frame, kind, options), frame)
    cosine, n_tokens = mean_cosine(streams(prompts))
    return LayerSimilarity(
        models={name: model.reference for name, model in models.items()},
        n_layers=streams.n_layers,
        n_prompts=len(prompts),
        n_tokens=n_tokens,
        cosine=cosine,
    )


def mean_cosine(batches: Iterable[Tensor]) -> tuple[NDArray[np.float64], int]:
    """Return the mean cosine of each pair of places, and the number of tokens.

    Args:
        batches: tensors [places, tokens, width].

    Raises:
        KingyoError: there are no tokens, or numbers that are not finite.
    """
    total, n_tokens = torch.zeros(1, dtype=torch.float64), 0
    for batch in batches:
        streams = batch.double()
        if not bool(torch.isfinite(streams).all()):
            remedy = "Leave this model out, or run it in float32."
            raise KingyoError("model", "finite streams", "NaN or infinity", remedy)
        directions = (streams / streams.square().sum(dim=2, keepdim=True).sqrt()).flatten(1)
        total, n_tokens = total + directions @ directions.T, n_tokens + streams.shape[1]
    if not n_tokens:
        expected = "prompts of two tokens or more, since the first of each is left out"
        raise KingyoError("items", expected, "none", "Use longer items.")
    return np.asarray((total / n_tokens).numpy()), n_tokens


def _check(models: Mapping[str, Checkpoint], kind: ModelKind, options: LoadOptions) -> None:
    """Check that a path through all layers can be built; the first model is the frame."""
    layers = [(model.reference, k) for model in models.values() for k in range(model.layout.n_blocks)]
    if not layers:
        raise KingyoError("sources", "models with layers", "none", "Name decoder-only models.")
    frame, by_reference = layers[0][0], {model.reference: model for model in models.values()}
    plan(path_recipe(layers, frame, options.dtype), Sources(by_reference, Path()))
    if not isinstance(kind, HasLanguagePart):  # else the frame gives the vocabulary
        check_tokens({reference: model.path for reference, model in by_reference.items()})


def _prompts(task: Task, kind: ModelKind, frame: Checkpoint, most: int | None) -> Sequence[object]:
    own, prompts, left = preprocessor_of(kind, frame.path), dict[object, None](), most
    for single in single_tasks(task):
        items = single.items("fit")[:left]
        left = None if left is None else left - len(items)
        question = first_question(single, kind, own, items)
        prompts |= dict.fromkeys(() if question is None else question.prompts)
    return list(prompts)


def _live(
    models: Mapping[str, Checkpoint], frame: str, kind: ModelKind, options: LoadOptions
) -> dict[str, Live]:
    """Load models, in the dtype of the frame."""
    loaded: dict[str, Live] = {}
    for model in (models[frame], *models.values()):
        if model.reference not in loaded:
            loaded[model.reference] = load_checkpoint(model, layers_kind(model, kind), options)
            options = replace(options, dtype=loaded[model.reference].dtype)
    return {name: loaded[model.reference] for name, model in models.items()}

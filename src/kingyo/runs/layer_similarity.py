"""Compare the hidden states of the layers of models on the fit items of a run."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from contextlib import ExitStack
from dataclasses import dataclass, replace
from pathlib import Path
from typing import cast

import numpy as np
from numpy.typing import NDArray

from kingyo.core.io.lazy_torch import Tensor, torch
from kingyo.errors import KingyoError
from kingyo.merging.checkpoints import Checkpoint
from kingyo.merging.recipe import Hop
from kingyo.merging.vocabulary import check_tokens
from kingyo.models.kinds import HasLanguagePart, Live, ModelKind, PassesLayers, Question, require_ability
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
from kingyo.tasks import build_tasks, load_splits, single_tasks


@dataclass(frozen=True, kw_only=True)
class LayerSimilarity:
    """Cosines of hidden states: of the input of each layer and of the output of the last, model by model.

    Attributes:
        n_layers: name -> number of layers; a model has one place more.
        n_prompts, n_tokens: number of prompts and of their tokens.
        cosine: mean over tokens, shape [places, places]; NaN if a state is 0.
    """

    n_layers: Mapping[str, int]
    n_prompts: int
    n_tokens: int
    cosine: NDArray[np.float64]

    @property
    def places(self) -> list[tuple[str, int]]:
        return [(name, k) for name, n in self.n_layers.items() for k in range(n + 1)]

    def to_json(self) -> dict[str, object]:
        cosine = [[None if np.isnan(value) else value for value in row] for row in self.cosine.tolist()]
        places = [f"{name}.{k}" for name, k in self.places]
        return {
            "layers": dict(self.n_layers),
            "prompts": self.n_prompts,
            "tokens": self.n_tokens,
            "places": places,
            "cosine": cosine,
        }


@torch.inference_mode()
def compare_layers(config: RunConfig, folder: Path, most: int | None = None) -> LayerSimilarity:
    """Compare the layers of all sources; the frame of run.yaml, or the first possible one, gives embeddings.

    The first token of each prompt is left out: in many models its values are thousands of times larger.
    """
    sources = open_models(config, folder).sources
    task = build_tasks(config.specs, load_splits(config.specs, folder).splits, folder)
    any_kind = kind_of_models(sources, config.kind, folder)
    kind = require_ability("kingyo layers", PassesLayers, any_kind, "Name language models.")
    require_answers(task, kind)
    if not isinstance(kind, HasLanguagePart):  # else the frame gives the vocabulary
        check_tokens({name: model.path for name, model in sources.items()})
    framing = [name for name, model in sources.items() if layers_kind(model, kind) is kind]
    frame = config.dataflow.frame if config.dataflow.frame in framing else framing[0]
    if config.threads is not None:
        torch.set_num_threads(config.threads)
    own = preprocessor_of(kind, sources[frame].path)
    questions = [first_question(each, kind, own, each.items("fit")) for each in single_tasks(task)]
    by_prompt = {
        prompt: each._replace(inputs=[one])
        for each in questions
        if each is not None
        for prompt, one in zip(each.prompts, each.inputs, strict=True)
    }
    asked = list(by_prompt.values())[:most]
    n_layers = {name: model.layout.n_blocks for name, model in sources.items()}
    paths = kind.path_models(_live(config, kind, {frame: sources[frame], **sources}))
    total, n_tokens = torch.zeros(1, dtype=torch.float64), 0
    for question in asked:
        states: list[Tensor] = []
        for name, n in n_layers.items():
            live = paths.follow([Hop(model=name, layer=k) for k in range(n)], frame)
            states += _states(live, question)
        rows = torch.stack(states).double()
        if not bool(torch.isfinite(rows).all()):
            remedy = "Leave this model out, or run it in float32."
            raise KingyoError("model", "finite hidden states", "NaN or infinity", remedy)
        directions = (rows / rows.square().sum(dim=2, keepdim=True).sqrt()).flatten(1)
        total, n_tokens = total + directions @ directions.T, n_tokens + rows.shape[1]
    if not n_tokens:
        raise KingyoError("items", "prompts of two tokens or more", "none", "Use longer items.")
    return LayerSimilarity(
        n_layers=n_layers,
        n_prompts=len(asked),
        n_tokens=n_tokens,
        cosine=np.asarray((total / n_tokens).numpy()),
    )


def _live(config: RunConfig, kind: ModelKind, models: Mapping[str, Checkpoint]) -> dict[str, Live]:
    options, live = load_options(config), dict[str, Live]()
    for name, model in models.items():
        live[name] = load_checkpoint(model, layers_kind(model, kind), options)
        options = replace(options, dtype=live[name].dtype)
    return live


def _states(live: object, question: Question) -> Iterator[Tensor]:
    """Return the input of each layer and the output of the last for a question: [tokens - 1, width] each."""
    from kingyo.models.layers import HasModule, layers_of

    layers, states = layers_of(cast(HasModule, live).module), list[Tensor]()

    def enter(_module: object, args: tuple[Tensor, ...], options: Mapping[str, Tensor]) -> None:
        states.append(args[0] if args else options["hidden_states"])

    def leave(_module: object, _args: object, output: Tensor | tuple[Tensor, ...]) -> None:
        states.append(output if isinstance(output, torch.Tensor) else output[0])

    with ExitStack() as hooks:
        for layer in layers:
            hooks.callback(layer.register_forward_pre_hook(enter, with_kwargs=True).remove)
        hooks.callback(layers[-1].register_forward_hook(leave).remove)
        options = {**question.options, **({} if question.has_continuations else {"max_new_tokens": 1})}
        getattr(live, question.method)(question.inputs, **options)
    return (each[0, 1:].cpu() for each in states[: len(layers) + 1])

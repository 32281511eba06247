"""The hidden states of live models: the input of each layer, and the output of the last."""

from __future__ import annotations

import inspect
from collections.abc import Generator, Iterator, Mapping, Sequence
from contextlib import contextmanager
from typing import Any, cast

import torch
from torch import Tensor, nn

from kingyo.core.types import ImagePrompt
from kingyo.merging.recipe import Hop
from kingyo.models.decoding import Forward
from kingyo.models.image_prompts import Encoded
from kingyo.models.language_model import LiveModel, PathModels
from kingyo.models.path import own_layers
from kingyo.models.tokens import by_length
from kingyo.models.vision_language import LiveVisionLanguageModel

ROOM = 1 << 28
"""Bytes for the hidden states of a batch. One prompt may take more, and comparing needs further copies."""


class LayerStates:
    """The hidden states of several models on the same tokens."""

    def __init__(self, models: Mapping[str, LiveModel], frame: str, room: int = ROOM) -> None:
        self._models = dict(models)
        self._frame = models[frame]
        self._layers = {name: own_layers(name, each.module) for name, each in models.items()}
        self._room = room

    @property
    def n_layers(self) -> dict[str, int]:
        return {name: len(layers) for name, layers in self._layers.items()}

    @torch.inference_mode()
    def __call__(self, prompts: Sequence[str]) -> Iterator[Tensor]:
        """Yield batches of hidden states, float64 [places, tokens, width].

        The places are, model by model, the input of each layer and the output of the last. The first token of
        each prompt is left out: in many models its values are thousands of times larger than all others.
        """
        rows = self._frame.tokens(prompts)
        for batch in by_length(rows, self._batch_size(rows)):
            tokens, mask = self._frame.pad([rows[position] for position in batch])
            counted = (mask.cumsum(-1) > 1).cpu()
            places = [stream for name in self._models for stream in self._pass(name, tokens, mask, counted)]
            yield torch.stack(places)

    def _pass(self, name: str, tokens: Tensor, mask: Tensor, counted: Tensor) -> list[Tensor]:
        model = self._models[name]
        with _recording(self._layers[name], counted) as recorded:
            Forward(model.module)(tokens, mask, None, keep=1)
        return recorded

    def _batch_size(self, rows: Sequence[Sequence[int]]) -> int:
        longest = max((len(row) for row in rows), default=1)
        width = cast(int, self._frame.module.config.hidden_size)
        return _rows_within(self._room, self.n_layers, longest * width, self._frame.batch_size)


class ImageLayerStates:
    """The hidden states of the language parts of several models, in a vision-language model as the frame.

    The frame gives embeddings and image features, as in a path through layers; so language models also see.
    Where it adds image features between layers (Qwen3-VL), the input of the next layer includes them.
    """

    def __init__(self, models: Mapping[str, Any], frame: str, room: int = ROOM) -> None:
        self._paths = PathModels[Any](models)
        self._frame: LiveVisionLanguageModel = models[frame]
        self._name = frame
        self._n_layers = {name: len(own_layers(name, each.module)) for name, each in models.items()}
        accepted = inspect.signature(self._frame.module.forward).parameters
        self._options = {
            "use_cache": False,
            **({"logits_to_keep": 1} if "logits_to_keep" in accepted else {}),
        }
        self._room = room

    @property
    def n_layers(self) -> dict[str, int]:
        return dict(self._n_layers)

    @torch.inference_mode()
    def __call__(self, prompts: Sequence[ImagePrompt | str]) -> Iterator[Tensor]:
        """Yield batches of hidden states as ``LayerStates`` does; tokens of images count, too."""
        rows = self._frame.encode(prompts)
        try:
            for _, inputs in self._frame.batches(rows, "right", self._batch_size(rows)):
                yield torch.stack([stream for name in self._n_layers for stream in self._pass(name, inputs)])
        finally:
            self._paths.whole(self._name)

    def _pass(self, name: str, inputs: Mapping[str, Any]) -> list[Tensor]:
        path = [Hop(model=name, layer=number) for number in range(self._n_layers[name])]
        module = self._paths.follow(path, self._name).module
        mask = cast(Tensor, inputs["attention_mask"])
        counted = ((mask.cumsum(-1) > 1) & mask.bool()).cpu()
        with _recording(own_layers(name, module), counted) as recorded:
            module(**inputs, **self._options)
        return recorded

    def _batch_size(self, rows: Sequence[Encoded]) -> int:
        longest = max((len(row.tokens) for row in rows), default=1)
        width = cast("Any", self._frame.module.config).get_text_config().hidden_size
        return _rows_within(self._room, self._n_layers, longest * width, self._frame.batch_size)


def _rows_within(room: int, n_layers: Mapping[str, int], numbers: int, most: int) -> int:
    places = sum(n + 1 for n in n_layers.values())
    return max(1, min(most, room // (8 * places * numbers)))


@contextmanager
def _recording(layers: Sequence[nn.Module], counted: Tensor) -> Generator[list[Tensor]]:
    recorded: list[Tensor] = []

    def record(stream: Tensor) -> None:
        recorded.append(stream.cpu()[counted].double())

    def enters(_: nn.Module, given: tuple[object, ...], named: Mapping[str, object]) -> None:
        record(cast(Tensor, given[0] if given else named["hidden_states"]))

    def leaves(_: nn.Module, __: object, out: Tensor | tuple[Tensor, ...]) -> None:
        record(out if isinstance(out, Tensor) else out[0])

    hooks = [each.register_forward_pre_hook(enters, with_kwargs=True) for each in layers]
    hooks.append(layers[-1].register_forward_hook(leaves))
    try:
        yield recorded
    finally:
        for hook in hooks:
            hook.remove()

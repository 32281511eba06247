"""Live models whose layers run in any order (a path).

All sources are built once by transformers. One of them is the frame: it provides the embeddings, the final
norm, the head, and everything that transformers does around the layers, such as an image encoder. The layers
are those of the path, shared and not copied. A layer that occurs twice has two key-value caches.

Norms add an epsilon before they divide by the norm of the hidden states. That epsilon is scaled along with
the hidden states, so that the results equal, up to rounding, those of a checkpoint with the scales folded
into its weights.
"""

from __future__ import annotations

import copy
import re
from collections.abc import Mapping, Sequence
from typing import Any, Generic, Protocol, TypeVar, cast

from torch import Tensor, nn
from transformers import PretrainedConfig, PreTrainedModel

from kingyo.errors import KingyoError, unknown_name_error
from kingyo.merging.recipe import Hop

_STACKS = ("layers", "h")
"""Names that transformers uses for the list of a decoder's layers."""
_EPSILONS = ("variance_epsilon", "eps")
"""Attributes of a norm that hold its epsilon."""
_OF_IMAGES = re.compile(r"mrope_\w+|type")
"""Keys of rotary positions that place images, and ``type``, the old ``rope_type``."""
_INDEX = "layer_idx"
"""Attribute of a layer's modules that holds the index of the key-value cache."""


class Layers:
    """The layers of several models, combined into paths."""

    def __init__(self, models: Mapping[str, PreTrainedModel]) -> None:
        self._stacks = {name: _Stack(name, model) for name, model in models.items()}
        first = next(iter(self._stacks.values()))
        for stack in self._stacks.values():
            first.require_alike(stack)
            stack.take_class_of(first)
        self._again: dict[tuple[str, int, int], _Layer] = {}

    def follow(self, path: Sequence[Hop], frame: str) -> PreTrainedModel:
        """Return the frame with one layer per step of a path; it must not be used after the next path."""
        if not path:
            raise KingyoError("path", "at least one layer", "none", "Turn a layer on.")
        if frame not in self._stacks:
            raise unknown_name_error("frame", frame, self._stacks)
        framing = self._stacks[frame]
        for each in {step.model for step in path} & self._stacks.keys():
            framing.require_window(self._stacks[each])
        uses: dict[tuple[str, int], int] = {}
        hops: list[_Hop] = []
        kinds: list[str] = []
        product = 1.0
        for place, step in enumerate(path):
            stack = self._stack(step)
            time = uses.get((step.model, step.layer), 0)
            uses[step.model, step.layer] = time + 1
            layer = self._layer(stack, step.layer, time)
            product *= step.scale
            layer.place(place, product)
            hops.append(_Hop(layer.module, step.scale))
            kinds.append("full_attention" if stack.kinds is None else stack.kinds[step.layer])
        return framing.framing(hops, kinds, product)

    def restore(self, model: str) -> PreTrainedModel:
        stack = self._stacks[model]
        for place, layer in enumerate(stack.layers):
            layer.place(place, 1.0)
        return stack.framing([layer.module for layer in stack.layers], stack.kinds or (), 1.0)

    def _stack(self, step: Hop) -> _Stack:
        stack = self._stacks.get(step.model)
        if stack is None or not 0 <= step.layer < len(stack.layers):
            known = ", ".join(f"{name} ({len(each.layers)})" for name, each in self._stacks.items())
            received = f"layer {step.layer} of {step.model}"
            raise KingyoError("path", f"layers of {known}", received, "Count layers from 0.")
        return stack

    def _layer(self, stack: _Stack, number: int, time: int) -> _Layer:
        if time == 0:
            return stack.layers[number]
        key = stack.name, number, time
        if key not in self._again:
            self._again[key] = stack.layers[number].again()
        return self._again[key]


class _Layer:
    def __init__(self, module: nn.Module) -> None:
        self.module = module
        self._indexed = _indexed(module)
        self._norms = _Norms(module)

    def place(self, number: int, product: float) -> None:
        for each in self._indexed:
            setattr(each, _INDEX, number)
        self._norms.follow(product)

    def again(self) -> _Layer:
        product = self._norms.product
        self._norms.follow(1.0)
        twin = _Layer(_twin(self.module))
        self._norms.follow(product)
        return twin


class _Norms:
    def __init__(self, module: nn.Module) -> None:
        self._own = [
            (each, name, getattr(each, name)) for each in module.children() for name in _epsilon(each)
        ]
        self.product = 1.0

    def follow(self, product: float) -> None:
        """Set the epsilons for hidden states that are ``product`` times as large as without scales."""
        if product != self.product:
            self.product = product
            for norm, name, own in self._own:
                setattr(norm, name, own * product**2)


class _Hop(nn.Module):
    def __init__(self, layer: nn.Module, scale: float) -> None:
        super().__init__()
        self.layer = layer
        self.scale = scale

    def forward(self, hidden_states: Tensor, *arguments: object, **options: object) -> Tensor:
        if self.scale != 1.0:  # 1.0 keeps the hidden states bit-identical
            hidden_states = hidden_states * self.scale
        return cast(Tensor, self.layer(hidden_states, *arguments, **options))


class _Stack:
    def __init__(self, name: str, model: PreTrainedModel) -> None:
        self.name = name
        self._model = model
        self._inner = _decoder(model)
        self._attribute = next((each for each in _STACKS if hasattr(self._inner, each)), "")
        modules = getattr(self._inner, self._attribute, None)
        if not isinstance(modules, nn.ModuleList) or not all(_indexed(each) for each in modules):
            expected = "a decoder with one list of layers, each with its own key-value cache"
            remedy = "Use a decoder-only model, such as Llama, Mistral, Qwen, Gemma, GPT-2 or GPT-NeoX."
            raise KingyoError(name, expected, type(model).__name__, remedy)
        self.layers = [_Layer(each) for each in modules]
        config = self._inner.config
        kinds = cast("Sequence[str] | None", getattr(config, "layer_types", None))
        self.kinds = None if kinds is None else list(kinds)
        self._type = str(config.model_type)
        self._shared = _shared(config)
        self._norms = _Norms(self._inner)
        looks_back = kinds is None or any("sliding" in kind for kind in kinds)
        self._window = cast("int | None", getattr(config, "sliding_window", None)) if looks_back else None

    def require_alike(self, other: _Stack) -> None:
        for name, mine in self._shared.items():
            if mine != other._shared[name]:
                raise self._misfit(name, mine, other, other._shared[name])
        one, its = self._type, other._type  # qwen2_5_vl_text has the layers of qwen2
        if one != its and not one.startswith(f"{its}_") and not its.startswith(f"{one}_"):
            raise self._misfit("architecture", self._type, other, other._type)

    def take_class_of(self, frame: _Stack) -> None:
        """Rebuild layers of another class, such as Qwen2's for Qwen2-VL, as the frame's, without copies."""
        if type(self._inner) is type(frame._inner):
            return
        like = {kind: layer.module for kind, layer in zip(frame._kinds, frame.layers, strict=True)}
        rebuilt: list[_Layer] = []
        for kind, layer in zip(self._kinds, self.layers, strict=True):
            mine, yours = like.get(kind), layer.module
            if mine is None or _shapes(mine) != _shapes(yours):
                own = type(frame.layers[0].module).__name__
                raise frame._misfit("layers", own, self, type(yours).__name__)
            rebuilt.append(_Layer(_with_tensors(mine, yours)))
        self.layers = rebuilt

    @property
    def _kinds(self) -> Sequence[str]:
        return self.kinds or ["full_attention"] * len(self.layers)

    def _misfit(self, name: str, mine: object, other: _Stack, yours: object) -> KingyoError:
        remedy = "Use models with the same architecture, hidden size and positions."
        return KingyoError(f"{name} of {other.name}", f"{mine}, as in {self.name}", str(yours), remedy)

    def require_window(self, other: _Stack) -> None:
        if other._window not in (None, self._window):  # the frame makes the masks
            expected = f"{self._window}, as in the frame {self.name}"
            remedy = f"Use models with the same window, or the frame {other.name} if {self.name} has none."
            raise KingyoError(f"sliding_window of {other.name}", expected, str(other._window), remedy)

    def framing(self, hops: Sequence[nn.Module], kinds: Sequence[str], product: float) -> PreTrainedModel:
        self._norms.follow(product)
        setattr(self._inner, self._attribute, nn.ModuleList(hops))
        config = self._inner.config
        config.num_hidden_layers = len(hops)
        if self.kinds is not None:
            config.layer_types = list(kinds)
            if hasattr(self._inner, "has_sliding_layers"):
                vars(self._inner)["has_sliding_layers"] = "sliding_attention" in kinds
        return self._model


def _decoder(model: PreTrainedModel) -> PreTrainedModel:
    has_images = hasattr(model, "get_image_features")
    return cast(PreTrainedModel, cast("Any", model).get_decoder() if has_images else model.base_model)


def _shared(config: PretrainedConfig) -> dict[str, object]:
    rope = cast("Mapping[str, object]", getattr(config, "rope_parameters", None) or {})
    heads, width = getattr(config, "num_attention_heads", None), getattr(config, "hidden_size", None)
    narrow = width // heads if isinstance(width, int) and isinstance(heads, int) else None
    return {
        "hidden_size": width,
        "head_dim": getattr(config, "head_dim", None) or narrow,
        "rope_parameters": {key: value for key, value in rope.items() if not _OF_IMAGES.fullmatch(key)},
    }


def _shapes(layer: nn.Module) -> dict[str, object]:
    return {name: tensor.shape for name, tensor in layer.state_dict().items()}


def _with_tensors(like: nn.Module, other: nn.Module) -> nn.Module:
    copied = copy.copy(like)
    for name in ("_parameters", "_buffers"):
        vars(copied)[name] = vars(other)[name]
    others = dict(other.named_children())
    children = {
        name: _with_tensors(child, others[name]) if child is not None and name in others else child
        for name, child in cast("Mapping[str, nn.Module | None]", vars(like)["_modules"]).items()
    }
    vars(copied)["_modules"] = children
    return copied


def _indexed(module: nn.Module) -> list[nn.Module]:
    return [each for each in module.modules() if _INDEX in vars(each)]


def _epsilon(module: nn.Module) -> list[str]:
    return [name for name in _EPSILONS if isinstance(vars(module).get(name), float)]


def _twin(module: nn.Module) -> nn.Module:
    """Return a copy of a module with the same tensors, but its own cache index and epsilons."""
    twin = copy.copy(module)
    children = {
        name: _twin(child) if child is not None and (_indexed(child) or _epsilon(child)) else child
        for name, child in cast("Mapping[str, nn.Module | None]", vars(module)["_modules"]).items()
    }
    vars(twin)["_modules"] = children
    return twin


def layers_of(model: PreTrainedModel) -> nn.ModuleList:
    inner = _decoder(model)
    return next(getattr(inner, each) for each in _STACKS if hasattr(inner, each))


class HasModule(Protocol):
    """A live model that is a model of transformers."""

    module: PreTrainedModel


M = TypeVar("M", bound=HasModule)


class PathModels(Generic[M]):
    """Live models whose layers can run in any order and are shared: only the one returned last is valid."""

    def __init__(self, models: Mapping[str, M]) -> None:
        self._models = dict(models)
        self._layers = Layers({name: each.module for name, each in models.items()})

    def follow(self, path: Sequence[Hop], frame: str) -> M:
        self._layers.follow(path, frame)
        return self._models[frame]

    def whole(self, name: str) -> M:
        self._layers.restore(name)
        return self._models[name]

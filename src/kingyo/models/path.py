"""Live models whose layers are passed through in any order: a path, changed in microseconds.

All sources are built once by transformers. One of them is the frame: it gives embeddings, final norm, head
and whatever transformers does around its layers; the layers themselves are those of the path, shared and not
copied. A layer that is passed twice has a key-value cache for each time.

Norms divide by the size of the stream, and add a small number to it so as not to divide by nothing. That
number grows with the scales: then a scaled stream says to the bit of rounding what it says in a checkpoint
into whose weights the scales were folded.

It knows nothing of tasks, recipes or merging.
"""

from __future__ import annotations

import copy
from collections.abc import Generator, Mapping, Sequence
from contextlib import contextmanager
from typing import Protocol, cast

from torch import Tensor, nn
from transformers import PreTrainedModel

from kingyo.errors import KingyoError, unknown

_STACKS = ("layers", "h")
"""What transformers calls the list of a decoder's layers."""
_EPSILONS = ("variance_epsilon", "eps")
"""Where a norm keeps the number that it adds to what it divides by."""
_INDEX = "layer_idx"
"""Where a module of a layer keeps the number of its key-value cache."""


def own_layers(name: str, model: PreTrainedModel) -> list[nn.Module]:
    """The layers of a model in their order.

    Raises:
        KingyoError: it has no list of uniform layers.
    """
    return [each.module for each in _Stack(name, model).layers]


class Step(Protocol):
    """One step of a path: see ``kingyo.recipe.Hop``."""

    @property
    def model(self) -> str:
        """Name of the source."""
        ...

    @property
    def layer(self) -> int:
        """Number of the layer in it."""
        ...

    @property
    def scale(self) -> float:
        """What the stream that enters the layer is multiplied by."""
        ...


class Layers:
    """The layers of several models, of which paths are made.

    Args:
        models: causal language models of one architecture, by name.

    Raises:
        KingyoError: a model without a list of uniform layers, or models whose layers compute on streams of
            another width, or with other positions or windows: these the frame makes for all of them.
    """

    def __init__(self, models: Mapping[str, PreTrainedModel]) -> None:
        self._stacks = {name: _Stack(name, model) for name, model in models.items()}
        for stack in self._stacks.values():
            next(iter(self._stacks.values())).require_alike(stack)
        self._again: dict[tuple[str, int, int], _Layer] = {}

    def count(self, model: str) -> int:
        """How many layers a model has of its own."""
        return len(self._stacks[model].layers)

    def follow(self, path: Sequence[Step], frame: str) -> PreTrainedModel:
        """Let a model pass through these layers in place of its own.

        The models of earlier paths share the layers, and must not be used any more.

        Args:
            path: the layers in their order.
            frame: the model that gives all but the layers.

        Returns:
            The frame, with as many layers as the path has steps.

        Raises:
            KingyoError: an empty path, or a layer that is not there.
        """
        if not path:
            raise KingyoError(
                "path", expected="at least one layer", received="none", remedy="Switch some layer on."
            )
        framing = self._frame(frame, path)
        passed: dict[tuple[str, int], int] = {}
        hops: list[_Hop] = []
        kinds: list[str] = []
        product = 1.0
        for place, step in enumerate(path):
            stack = self._stack(step)
            time = passed.get((step.model, step.layer), 0)
            passed[step.model, step.layer] = time + 1
            layer = self._layer(stack, step.layer, time)
            product *= step.scale
            layer.place(place, product)
            hops.append(_Hop(layer.module, step.scale))
            if stack.kinds is not None:
                kinds.append(stack.kinds[step.layer])
        return framing.framing(hops, kinds, product)

    def _frame(self, name: str, path: Sequence[Step]) -> _Stack:
        if name not in self._stacks:
            raise unknown("frame", name, self._stacks)
        stack = self._stacks[name]
        for each in {step.model for step in path} & self._stacks.keys():
            stack.require_window(self._stacks[each])
        return stack

    def restore(self, model: str) -> PreTrainedModel:
        """Let a model pass through its own layers again, as it was built."""
        stack = self._stacks[model]
        for place, layer in enumerate(stack.layers):
            layer.place(place, 1.0)
        return stack.framing([layer.module for layer in stack.layers], stack.kinds or (), 1.0)

    def _stack(self, step: Step) -> _Stack:
        stack = self._stacks.get(step.model)
        if stack is None or not 0 <= step.layer < len(stack.layers):
            known = ", ".join(f"{name} ({len(each.layers)})" for name, each in self._stacks.items())
            raise KingyoError(
                "path",
                expected=f"layers of {known}",
                received=f"layer {step.layer} of {step.model}",
                remedy="Count layers from 0.",
            )
        return stack

    def _layer(self, stack: _Stack, number: int, time: int) -> _Layer:
        """The layer itself, or where it is passed again another module of the same tensors."""
        if time == 0:
            return stack.layers[number]
        key = stack.name, number, time
        if key not in self._again:
            self._again[key] = stack.layers[number].again()
        return self._again[key]


class _Layer:
    """A layer, and those of its modules that depend on its place: on its number, or on the stream's size."""

    def __init__(self, module: nn.Module) -> None:
        self.module = module
        self._indexed = _indexed(module)
        self._norms = _Norms(module)

    def place(self, number: int, product: float) -> None:
        for each in self._indexed:
            setattr(each, _INDEX, number)
        self._norms.follow(product)

    def again(self) -> _Layer:
        """Another layer of the same tensors, as if it had never been placed."""
        with self._norms.own():
            return _Layer(_twin(self.module))


class _Norms:
    """The norms with which a module reads the stream."""

    def __init__(self, module: nn.Module) -> None:
        self._own = [
            (each, name, getattr(each, name)) for each in module.children() for name in _epsilon(each)
        ]
        self._product = 1.0

    def follow(self, product: float) -> None:
        """Let the stream be so many times what it would be without scales."""
        if product != self._product:
            self._product = product
            for norm, name, own in self._own:
                setattr(norm, name, own * product**2)

    @contextmanager
    def own(self) -> Generator[None]:
        """As they are without scales, for a while."""
        product = self._product
        self.follow(1.0)
        yield
        self.follow(product)


class _Hop(nn.Module):
    """A layer at one place of a path."""

    def __init__(self, layer: nn.Module, scale: float) -> None:
        super().__init__()
        self.layer = layer
        self.scale = scale

    def forward(self, hidden_states: Tensor, *arguments: object, **options: object) -> Tensor:
        if self.scale != 1.0:  # the stream as it is, to the bit
            hidden_states = hidden_states * self.scale
        return cast(Tensor, self.layer(hidden_states, *arguments, **options))


class _Stack:
    """The layers of one model, and the place where transformers looks for them."""

    def __init__(self, name: str, model: PreTrainedModel) -> None:
        self.name = name
        self._model = model
        self._inner = model.base_model
        self._attribute = next((each for each in _STACKS if _is_stack(self._inner, each)), "")
        modules = getattr(self._inner, self._attribute, None)
        if not isinstance(modules, nn.ModuleList) or not all(_indexed(each) for each in modules):
            raise KingyoError(
                name,
                expected="a decoder with one list of layers, each with a key-value cache of its own",
                received=type(model).__name__,
                remedy="Take a decoder-only model, such as Llama, Mistral, Qwen, Gemma, GPT-2 or GPT-NeoX.",
            )
        self.layers = [_Layer(each) for each in modules]
        kinds = cast("Sequence[str] | None", getattr(model.config, "layer_types", None))
        self.kinds = None if kinds is None else list(kinds)
        self._shared = _shared(model)
        self._norms = _Norms(self._inner)
        looks_back = kinds is None or any("sliding" in kind for kind in kinds)
        self._window = (
            cast("int | None", getattr(model.config, "sliding_window", None)) if looks_back else None
        )

    def require_alike(self, other: _Stack) -> None:
        """Refuse a model whose layers expect something else of the model around them."""
        for what, mine in self._shared.items():
            yours = other._shared[what]
            if mine != yours:
                raise KingyoError(
                    f"{what} of {other.name}",
                    expected=f"{mine} as of {self.name}",
                    received=str(yours),
                    remedy="Take models of one architecture, width and way to tell positions.",
                )

    def require_window(self, other: _Stack) -> None:
        """Refuse a model whose layers look back as far as no other's, since the frame makes the masks."""
        if other._window not in (None, self._window):
            raise KingyoError(
                f"sliding_window of {other.name}",
                expected=f"{self._window} as of the frame {self.name}",
                received=str(other._window),
                remedy=f"Take models of one window, or {other.name} as the frame where {self.name} has none.",
            )

    def framing(self, hops: Sequence[nn.Module], kinds: Sequence[str], product: float) -> PreTrainedModel:
        """The model with these layers, which are of these kinds of attention and have scales of a product."""
        self._norms.follow(product)
        setattr(self._inner, self._attribute, nn.ModuleList(hops))
        config = self._model.config
        config.num_hidden_layers = len(hops)
        if self.kinds is not None:
            config.layer_types = list(kinds)
            if hasattr(self._inner, "has_sliding_layers"):
                vars(self._inner)["has_sliding_layers"] = "sliding_attention" in kinds
        return self._model


def _shared(model: PreTrainedModel) -> dict[str, object]:
    """What the frame makes for all layers, and what makes it."""
    config = model.config
    heads, width = getattr(config, "num_attention_heads", None), getattr(config, "hidden_size", None)
    narrow = width // heads if isinstance(width, int) and isinstance(heads, int) else None
    return {
        "architecture": type(model).__name__,
        "hidden_size": width,
        "head_dim": getattr(config, "head_dim", None) or narrow,
        "rope_parameters": getattr(config, "rope_parameters", None),
    }


def _is_stack(inner: nn.Module, attribute: str) -> bool:
    return isinstance(getattr(inner, attribute, None), nn.ModuleList)


def _indexed(module: nn.Module) -> list[nn.Module]:
    return [each for each in module.modules() if _INDEX in vars(each)]


def _epsilon(module: nn.Module) -> list[str]:
    return [name for name in _EPSILONS if isinstance(vars(module).get(name), float)]


def _twin(module: nn.Module) -> nn.Module:
    """Another module of the same tensors, which keeps another number of a cache and norms of its own."""
    made = copy.copy(module)
    children = {
        name: _twin(child) if child is not None and (_indexed(child) or _epsilon(child)) else child
        for name, child in cast("Mapping[str, nn.Module | None]", vars(module)["_modules"]).items()
    }
    vars(made)["_modules"] = children
    return made

"""A model whose tokens pass through its layers along a path: in any order, some of them several times.

Each layer is stored and built once. At each place of the path stand a layer (``path_layers`` in config.json),
what the stream that enters it is multiplied by (``path_scales``), and a slot of the key-value cache. All else
is what transformers does. Config keys that speak of single layers speak of places; ``layers_once`` has what
they say while the layers are built.
"""

from collections.abc import Iterator, Sequence
from dataclasses import field
from itertools import accumulate
from math import prod
from operator import mul

from torch import Tensor, nn
from transformers import LlamaConfig, LlamaForCausalLM, conversion_mapping

SLOT = "layer_idx"  # what transformers calls the number of a layer's key-value cache
EPSILONS = ("variance_epsilon", "eps")  # and what norms add to what they divide by


class PathConfig(LlamaConfig):
    """The config of the model, with its path."""

    model_type = "llama_path"
    path_layers: list[int] = field(default_factory=list[int])
    path_scales: list[float] = field(default_factory=list[float])
    layers_once: dict[str, object] = field(default_factory=dict[str, object])


# How transformers renames stored weights when it loads them goes by the name or the type of a model.
known = conversion_mapping.get_checkpoint_conversion_mapping  # pyright: ignore
renamed = known(LlamaForCausalLM.__name__) or known(LlamaConfig.model_type) or []  # pyright: ignore
conversion_mapping.register_checkpoint_conversion_mapping(
    PathConfig.model_type,
    renamed,  # pyright: ignore
    overwrite=True,
)


def reading(module: nn.Module, product: float) -> list[tuple[nn.Module, str, float]]:
    """What norms add to the size of the stream, by which they divide, if it is so many times as large."""
    if hasattr(module, "post_feedforward_layernorm"):  # such norm what a part says, and not the stream
        return []
    norms = [(each, name) for each in module.children() for name in EPSILONS if hasattr(each, name)]
    return [(each, name, getattr(each, name) * product**2) for each, name in norms]


class Place(nn.Module):
    """A layer at one place of the path, where the scales so far have a product."""

    def __init__(self, layer: nn.Module, number: int, scale: float, product: float) -> None:
        super().__init__()
        self.layer, self.scale = layer, scale
        slots = [(module, SLOT, number) for module in layer.modules() if hasattr(module, SLOT)]
        self.here = [*slots, *reading(layer, product)]

    def take(self, _: object = None) -> None:
        """Let the layer stand here: with the slot of this place, and norms that read its stream."""
        for module, name, value in self.here:
            setattr(module, name, value)

    def forward(self, hidden_states: Tensor, *args: object, **kwargs: object) -> Tensor:
        """What the layer makes of the scaled stream."""
        self.take()
        if self.scale != 1:
            hidden_states = hidden_states * self.scale
        made: Tensor = self.layer(hidden_states, *args, **kwargs)
        # Gradients come from passing the layer again.
        if made.requires_grad and getattr(self.layer, "gradient_checkpointing", False):
            made.register_hook(self.take)  # pyright: ignore
        return made


class Path(nn.ModuleList):
    """Layers, each once; who goes through the list meets them along the path."""

    def __init__(self, layers: nn.ModuleList, path: Sequence[int], scales: Sequence[float]) -> None:
        super().__init__()
        self.places: list[Place] = []
        self.extend(layers)
        products = accumulate(scales, mul)
        for number, (k, scale, product) in enumerate(zip(path, scales, products, strict=True)):
            self.places.append(Place(layers[k], number, scale, product))

    def __len__(self) -> int:
        return len(self.places)

    def __iter__(self) -> Iterator[nn.Module]:
        return iter(self.places)

    def __getitem__(self, index: int | slice) -> Place | list[Place]:  # pyright: ignore
        return self.places[index]


class PathForCausalLM(LlamaForCausalLM):
    """The language model, its layers along the path."""

    config_class = PathConfig

    def __init__(self, config: PathConfig) -> None:
        of_places = {key: getattr(config, key) for key in config.layers_once}
        for key, value in config.layers_once.items():
            setattr(config, key, value)
        super().__init__(config)
        for key, value in of_places.items():
            setattr(config, key, value)
        for module, eps, value in reading(self.base_model, prod(config.path_scales)):
            setattr(module, eps, value)
        name = "h" if hasattr(self.base_model, "h") else "layers"
        path = Path(getattr(self.base_model, name), config.path_layers, config.path_scales)
        setattr(self.base_model, name, path)

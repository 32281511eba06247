"""A model whose tokens pass through its layers along a path: in any order, some of them several times.

Each layer is stored and built once. At each place of the path stand a layer (``path_layers`` in config.json),
what the stream that enters it is multiplied by (``path_scales``), and a slot of the key-value cache. All else
is what transformers does. Config keys that speak of single layers speak of places; ``layers_once`` has what
they say while the layers are built.
"""

from collections.abc import Iterator, Sequence
from dataclasses import field

from torch import Tensor, nn
from transformers import LlamaConfig, LlamaForCausalLM, conversion_mapping

SLOT = "layer_idx"  # what transformers calls the number of a layer's key-value cache


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


class Place(nn.Module):
    """A layer at one place of the path."""

    def __init__(self, layer: nn.Module, number: int, scale: float) -> None:
        super().__init__()
        self.layer, self.number, self.scale = layer, number, scale
        self.slots = [module for module in layer.modules() if hasattr(module, SLOT)]

    def forward(self, hidden_states: Tensor, *args: object, **kwargs: object) -> Tensor:
        """What the layer makes of the scaled stream; its keys and values go into the slot of this place."""
        for module in self.slots:
            setattr(module, SLOT, self.number)
        if self.scale != 1:
            hidden_states = hidden_states * self.scale
        return self.layer(hidden_states, *args, **kwargs)


class Path(nn.ModuleList):
    """Layers, each once; who goes through the list meets them along the path."""

    def __init__(self, layers: nn.ModuleList, path: Sequence[int], scales: Sequence[float]) -> None:
        super().__init__()
        self.places: list[Place] = []
        self.extend(layers)
        for number, (k, scale) in enumerate(zip(path, scales, strict=True)):
            self.places.append(Place(layers[k], number, scale))

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
        name = "h" if hasattr(self.base_model, "h") else "layers"
        path = Path(getattr(self.base_model, name), config.path_layers, config.path_scales)
        setattr(self.base_model, name, path)

"""A layout of tensors and a space of weights over it."""

from kingyo.merging.checkpoints import Layout
from kingyo.merging.methods import METHODS
from kingyo.search.space import Bounds, ParameterSpace

TENSORS = [
    "model.embed_tokens.weight",
    *(
        f"model.layers.{layer}.{part}.weight"
        for layer in range(12)
        for part in ("self_attn.q_proj", "self_attn.o_proj", "mlp.down_proj", "input_layernorm")
    ),
    "model.norm.weight",
    "lm_head.weight",
]


LAYOUT = Layout(TENSORS)


SOURCES = {"ja": "models/ja", "maths": "models/maths"}


def space(method: str = "dare_ties", groups: str = "one", **values: float | bool | Bounds) -> ParameterSpace:
    return ParameterSpace(
        method=METHODS.get(method),
        method_name=method,
        sources=SOURCES,
        base="models/base",
        layout=LAYOUT,
        groups=groups,
        values=values,
        dtype="float32",
        seed=7,
    )

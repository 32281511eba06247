"""Paths through transformers models: bit-identical results, caches, sharing, and errors."""

import copy

import pytest
import torch
import transformers
from torch import Tensor
from transformers import PreTrainedModel

from kingyo.errors import KingyoError
from kingyo.merging.recipe import Hop
from kingyo.models.layers import Layers
from tests.decoders import ARCHITECTURES, SHAPE, cached_logits, far, logits, loud, maker

WINDING = (("a", 0, 1.0), ("b", 1, 0.9), ("b", 1, 1.1), ("a", 3, 1.0), ("b", 2, 1.0), ("b", 1, 0.8))


def hops(*steps: tuple[str, int, float]) -> list[Hop]:
    return [Hop(model=model, layer=layer, scale=scale) for model, layer, scale in steps]


def own(model: str, n: int = 4) -> list[Hop]:
    return [Hop(model=model, layer=layer) for layer in range(n)]


@pytest.fixture(params=sorted(ARCHITECTURES))
def pair(request: pytest.FixtureRequest) -> dict[str, PreTrainedModel]:
    make = ARCHITECTURES[request.param]
    return {"a": loud(make, 1), "b": loud(make, 2)}


def test_a_models_own_layers_give_its_logits_to_the_bit(pair: dict[str, PreTrainedModel]) -> None:
    expected = {name: logits(model) for name, model in pair.items()}
    layers = Layers(pair)
    for name, target in expected.items():
        assert torch.equal(logits(layers.follow(own(name), name)), target)
    layers.follow(hops(*WINDING), "a")
    assert torch.equal(logits(layers.follow(own("a"), "a")), expected["a"]), "after another path"


def test_a_path_is_the_model_that_has_copies_of_these_layers(pair: dict[str, PreTrainedModel]) -> None:
    layers = Layers(pair)
    copies = {
        name: [copy.deepcopy(each.module) for each in stack.layers] for name, stack in layers._stacks.items()
    }
    path = [(model, layer) for model, layer, _ in WINDING]
    live = logits(layers.follow(hops(*((model, layer, 1.0) for model, layer in path)), "a"))
    frame = pair["a"]
    inner = frame.base_model
    stack = "h" if hasattr(inner, "h") else "layers"
    for place, (model, layer) in enumerate(path):
        module = copy.deepcopy(copies[model][layer])
        for each in module.modules():
            if hasattr(each, "layer_idx"):
                each.layer_idx = place
        getattr(inner, stack)[place] = module
    assert torch.equal(logits(frame), live)


def test_with_a_cache_and_without_the_logits_are_the_same(pair: dict[str, PreTrainedModel]) -> None:
    layers = Layers(pair)
    model = layers.follow(hops(*WINDING), "a")
    assert far(logits(model), cached_logits(model)) < 1e-5


def test_scales_multiply_what_enters_a_layer(pair: dict[str, PreTrainedModel]) -> None:
    layers = Layers(pair)
    plain = logits(layers.follow(hops(("a", 0, 1.0), ("b", 1, 1.0), ("a", 3, 1.0)), "a"))
    scaled = logits(layers.follow(hops(("a", 0, 1.0), ("b", 1, 0.5), ("a", 3, 1.0)), "a"))
    assert far(plain, scaled) > 1e-3
    entered: list[Tensor] = []
    inner = pair["a"].base_model
    hop = getattr(inner, "h" if hasattr(inner, "h") else "layers")[1]
    outer = hop.register_forward_pre_hook(lambda _, given: entered.append(given[0]))
    within = hop.layer.register_forward_pre_hook(lambda _, given: entered.append(given[0]))
    logits(pair["a"])
    outer.remove()
    within.remove()
    assert torch.equal(entered[0] * 0.5, entered[1])


def test_no_weight_is_copied(pair: dict[str, PreTrainedModel]) -> None:
    before = {each.data_ptr() for model in pair.values() for each in model.parameters()}
    layers = Layers(pair)
    model = layers.follow(hops(*WINDING), "a")
    assert {each.data_ptr() for each in model.parameters()} <= before


@pytest.mark.parametrize("step", [("a", 4, 1.0), ("c", 0, 1.0)])
def test_a_missing_layer_is_named(step: tuple[str, int, float]) -> None:
    layers = Layers({"a": ARCHITECTURES["llama"]()})
    with pytest.raises(KingyoError, match=rf"path: .*a \(4\); received layer {step[1]} of {step[0]}"):
        layers.follow(hops(step), "a")


@pytest.mark.parametrize(
    ("changed", "message"),
    [
        ({"hidden_size": 64}, "hidden_size of b: .*32.*; received 64"),
        ({"num_attention_heads": 8}, "head_dim of b: .*8.*; received 4"),
        (
            {"rope_parameters": {"rope_theta": 5.0, "rope_type": "default"}},
            "rope_parameters of b: .*10000.*5",
        ),
    ],
)
def test_layers_incompatible_with_the_frame_are_refused(changed: dict[str, object], message: str) -> None:
    other = maker("Llama", **{**SHAPE, **changed})()
    with pytest.raises(KingyoError, match=message):
        Layers({"a": ARCHITECTURES["llama"](), "b": other})


def test_a_different_architecture_and_an_unknown_frame_are_refused() -> None:
    with pytest.raises(KingyoError, match=r"architecture of b: .*llama.*; received qwen2"):
        Layers({"a": ARCHITECTURES["llama"](), "b": ARCHITECTURES["qwen2"]()})
    with pytest.raises(KingyoError, match=r"frame: .*received 'c'"):
        Layers({"a": ARCHITECTURES["llama"]()}).follow(own("a"), "c")


def test_a_frame_must_know_the_windows_of_the_path() -> None:
    layers = Layers({"a": ARCHITECTURES["qwen2"](), "b": ARCHITECTURES["qwen2, sliding"]()})
    with pytest.raises(KingyoError, match=r"sliding_window of b: .*None.*; received 5"):
        layers.follow(hops(("a", 0, 1.0), ("b", 2, 1.0)), "a")
    layers.follow(own("a"), "a")
    layers.follow(hops(("a", 0, 1.0), ("b", 2, 1.0)), "b")


def test_a_model_without_a_list_of_layers_is_refused() -> None:
    config = transformers.T5Config(vocab_size=64, d_model=16, d_kv=4, d_ff=32, num_layers=2, num_heads=4)
    with pytest.raises(KingyoError, match=r"a: .*received T5ForConditionalGeneration"):
        Layers({"a": transformers.T5ForConditionalGeneration(config)})

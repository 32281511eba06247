"""Hidden states, compared with those of transformers, with and without padding and batches."""

from __future__ import annotations

from pathlib import Path

import pytest
import torch
from torch import Tensor
from transformers import PreTrainedModel

from kingyo.models.language_model import LiveModel
from kingyo.models.layers import LayerStates
from kingyo.models.tokens import Text
from tests.decoders import ARCHITECTURES, loud
from tests.models.conftest import PROMPTS, fill
from tests.models_on_disk import llama, tokenizer

PLACES = 5


def live(name: str, seed: int, batch_size: int = 3) -> LiveModel:
    model: PreTrainedModel = loud(ARCHITECTURES[name], seed)
    return LiveModel(model, Text(tokenizer()), {}, batch_size=batch_size)


def collect_streams(streams: LayerStates) -> Tensor:
    return torch.cat(list(streams(PROMPTS)), dim=1)


@torch.inference_mode()
def single_prompt_states(model: LiveModel) -> Tensor:
    """Return transformers' hidden states of single prompts, the longest first."""
    rows = sorted(model.tokens(PROMPTS), key=lambda row: -len(row))
    states = [
        model.module(input_ids=torch.tensor([row]), output_hidden_states=True).hidden_states for row in rows
    ]
    return torch.cat([torch.stack([each[0, 1:].double() for each in of_one]) for of_one in states], dim=1)


@pytest.mark.parametrize("name", sorted(ARCHITECTURES))
def test_streams_are_the_hidden_states_of_each_prompt_alone(name: str) -> None:
    models = {"a": live(name, 1), "b": live(name, 2)}
    streams = LayerStates(models, "a")
    assert streams.n_layers == {"a": 4, "b": 4}
    hidden_states = collect_streams(streams)
    assert hidden_states.shape == (2 * PLACES, sum(len(row) - 1 for row in models["a"].tokens(PROMPTS)), 32)
    for place, model in enumerate(models.values()):
        states, expected = hidden_states[place * PLACES : (place + 1) * PLACES], single_prompt_states(model)
        assert float((states - expected)[:-1].abs().max() / expected.abs().max()) < 1e-5
        normed = model.module.base_model  # transformers normalises the output of the last layer
        norm = next(
            getattr(normed, each) for each in ("norm", "ln_f", "final_layer_norm") if hasattr(normed, each)
        )
        left = norm(states[-1].float()).double()
        assert float((left - expected[-1]).abs().max() / expected[-1].abs().max()) < 1e-5
    assert float((hidden_states[:PLACES] - hidden_states[PLACES:]).abs().max()) > 0.1


def hooks_of(model: LiveModel) -> list[tuple[list[int], list[int]]]:
    return [(list(each._forward_pre_hooks), list(each._forward_hooks)) for each in model.module.modules()]


def test_listening_leaves_no_trace(tmp_path: Path) -> None:
    model = LiveModel.load(llama(tmp_path / "model"))
    fill(model, 0)
    before, hooks = model.generate(PROMPTS, max_new_tokens=4), hooks_of(model)
    collect_streams(LayerStates({"a": model}, "a"))
    assert model.generate(PROMPTS, max_new_tokens=4) == before
    assert hooks_of(model) == hooks

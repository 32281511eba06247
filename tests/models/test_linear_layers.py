"""Linear layers of 16-bit models give the same on a CPU, whether torch has fast products or not."""

from __future__ import annotations

from pathlib import Path

import pytest
import torch
from torch import nn

from kingyo.models import loading
from kingyo.models.kinds import LoadOptions
from kingyo.models.language_model import LiveModel
from kingyo.models.loading import widen
from tests.models_on_disk import llama


@pytest.mark.parametrize("dtype", [torch.bfloat16, torch.float16])
@pytest.mark.parametrize("bias", [True, False])
@pytest.mark.parametrize("block", [1 << 24, 100])
def test_a_layer_is_computed_in_float32_and_rounded_once(
    monkeypatch: pytest.MonkeyPatch, dtype: torch.dtype, bias: bool, block: int
) -> None:
    monkeypatch.setattr(loading, "_BLOCK", block)
    generator = torch.Generator().manual_seed(0)
    layer = nn.Linear(24, 40, bias=bias, dtype=dtype)
    for each in layer.parameters():
        each.data.copy_(torch.randn(each.shape, generator=generator))
    given = torch.randn(3, 5, 24, generator=generator).to(dtype)
    own = layer(given)
    exact = given.double() @ layer.weight.double().T + (layer.bias.double() if bias else 0)
    widen(layer)
    with torch.no_grad():
        out = layer(given)
    assert out.dtype == dtype
    torch.testing.assert_close(out, exact.to(dtype))
    torch.testing.assert_close(out, own)


@pytest.mark.parametrize("dtype", ["bfloat16", "float32"])
def test_only_narrow_layers_without_fast_products_change(tmp_path: Path, dtype: str) -> None:
    live = LiveModel.load(llama(tmp_path / "model"), LoadOptions(dtype=dtype))
    changed = {"forward" in vars(each) for each in live.module.modules() if type(each) is nn.Linear}
    assert changed == {dtype == "bfloat16" and torch.backends.cpu.get_cpu_capability() == "AVX2"}


def test_training_keeps_no_widened_weights() -> None:
    layer = nn.Linear(24, 40, dtype=torch.bfloat16).requires_grad_(False)
    widen(layer)
    kept: list[torch.Tensor] = []
    given = torch.ones(3, 24, dtype=torch.bfloat16, requires_grad=True)
    with torch.autograd.graph.saved_tensors_hooks(lambda each: kept.append(each) or each, lambda each: each):
        layer(given).sum().backward()
    assert kept
    assert {each.untyped_storage().data_ptr() for each in kept} == {layer.weight.untyped_storage().data_ptr()}

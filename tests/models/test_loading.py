"""Loading: names of live tensors, writing in place, and errors."""

import shutil
from collections.abc import Callable
from pathlib import Path

import pytest
import torch
from safetensors.torch import load_file, save_file
from torch import nn

from kingyo.errors import KingyoError
from kingyo.models import loading
from kingyo.models.kinds import LoadOptions
from kingyo.models.language_model import LiveModel
from kingyo.models.loading import widen
from tests.merging.checkpoints.fitting import Evil, pickled, restate, rewrite, with_tensor, without
from tests.models.conftest import PROMPTS, fill
from tests.models_on_disk import gpt2, llama, qwen2


def weights_file(folder: Path) -> Path:
    (file,) = folder.glob("*.safetensors")
    return file


def test_weights_are_the_checkpoint(checkpoint: Path) -> None:
    live = LiveModel.load(checkpoint)
    stored = load_file(weights_file(checkpoint))
    assert list(live.weights) == sorted(stored)
    for name, tensor in live.weights.items():
        assert torch.equal(tensor, stored[name]), name
        assert tensor.dtype == stored[name].dtype
        assert not tensor.requires_grad


def test_other_safetensors_in_the_folder_are_not_the_models(tmp_path: Path) -> None:
    folder = llama(tmp_path / "model")
    expected = list(LiveModel.load(folder).weights)
    save_file({"layers.0.attention.wq.weight": torch.zeros(2)}, folder / "consolidated.safetensors")
    assert list(LiveModel.load(folder).weights) == expected


@pytest.mark.parametrize("build", [llama, qwen2])
def test_a_tied_head_appears_once(tmp_path: Path, build) -> None:
    folder = build(tmp_path / "model", tied=True)
    rewrite(folder, lambda all_: {**all_, "lm_head.weight": all_["model.embed_tokens.weight"].clone()})
    live = LiveModel.load(folder)
    assert "lm_head.weight" not in live.weights
    assert "model.embed_tokens.weight" in live.weights


def test_names_may_lack_the_prefix(tmp_path: Path) -> None:
    folder = gpt2(tmp_path / "model")
    stored = load_file(weights_file(folder))
    bare = {name.removeprefix("transformer."): tensor for name, tensor in stored.items()}
    bare["h.0.attn.bias"] = torch.ones(1, 1, 8, 8)  # a buffer in old checkpoints, not a weight
    rewrite(folder, lambda _: bare)
    live = LiveModel.load(folder)
    assert set(live.weights) == set(bare) - {"h.0.attn.bias"}


@pytest.mark.parametrize("dtype", ["bfloat16", "float16"])
def test_half_precision(tmp_path: Path, dtype: str) -> None:
    folder = llama(tmp_path / "model", dtype=dtype)
    live = LiveModel.load(folder)
    assert {tensor.dtype for tensor in live.weights.values()} == {getattr(torch, dtype)}
    assert len(live.generate(PROMPTS, max_new_tokens=4)) == len(PROMPTS)
    assert (
        next(iter(LiveModel.load(folder, LoadOptions(dtype="float32")).weights.values())).dtype
        == torch.float32
    )


def test_a_wrong_dtype_suggests(tmp_path: Path) -> None:
    with pytest.raises(KingyoError, match="Did you mean 'bfloat16'"):
        LiveModel.load(llama(tmp_path / "model"), LoadOptions(dtype="bfloat61"))


@pytest.mark.parametrize(
    ("damage", "message"),
    [
        (shutil.rmtree, "model: .*no such folder"),
        (lambda folder: (folder / "config.json").unlink(), r"model: .*config\.json"),
        (lambda folder: (folder / "config.json").write_text("{"), "model: .*transformers"),
        (lambda folder: restate(folder, num_attention_heads=5), r"hidden size \(16\).*attention heads \(5\)"),
        (lambda folder: weights_file(folder).rename(folder / "pytorch_model.bin"), "model: .*safetensors"),
        (without("model.layers.1.mlp.up_proj.weight"), r"model\.layers\.1\.mlp\.up_proj\.weight.*1 missing"),
        (with_tensor("model.norm.weight", torch.ones(3)), r"model\.norm\.weight: .*shape"),
        (with_tensor("model.layers.9.extra.weight", torch.ones(3)), r"model\.layers\.9\.extra\.weight: "),
    ],
)
def test_a_broken_folder_is_refused(tmp_path: Path, damage: Callable[[Path], object], message: str) -> None:
    folder = llama(tmp_path / "model")
    damage(folder)
    with pytest.raises(KingyoError, match=message):
        LiveModel.load(folder)


@pytest.mark.parametrize("shards", [1, 3])
@pytest.mark.parametrize("build", [llama, qwen2, gpt2])
def test_allowed_pickles_load_like_safetensors(
    tmp_path: Path, build: Callable[[Path], Path], shards: int
) -> None:
    folder = build(tmp_path / "model")
    expected = {name: tensor.clone() for name, tensor in LiveModel.load(folder).weights.items()}
    pickled(folder, shards)
    before = {file: file.read_bytes() for file in folder.iterdir()}
    live = LiveModel.load(folder, LoadOptions(allow_pickle=True))
    assert list(live.weights) == list(expected)
    assert all(torch.equal(live.weights[name], tensor) for name, tensor in expected.items())
    fill(live, 3)
    assert before == {file: file.read_bytes() for file in folder.iterdir()}
    with pytest.raises(KingyoError, match=r"model: .*safetensors"):
        LiveModel.load(folder)


def test_code_in_a_pickle_is_never_run(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    folder = llama(tmp_path / "model")
    weights_file(folder).unlink()
    torch.save({"x": Evil()}, folder / "pytorch_model.bin")
    monkeypatch.chdir(tmp_path)
    with pytest.raises(KingyoError, match=r"model: .*pickle"):
        LiveModel.load(folder, LoadOptions(allow_pickle=True))
    assert not (tmp_path / "evil").exists()


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

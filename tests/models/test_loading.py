"""Loading: names of live tensors, writing in place, and errors."""

from __future__ import annotations

import hashlib
import shutil
from collections.abc import Callable
from pathlib import Path

import pytest
import torch
from safetensors.torch import load_file, save_file

from kingyo.errors import KingyoError
from kingyo.models.kinds import LoadOptions
from kingyo.models.language_model import LiveModel
from tests.merging.checkpoints.fitting import restate
from tests.merging.checkpoints.pickles import Evil, pickled
from tests.models.conftest import PROMPTS, fill
from tests.models_on_disk import gpt2, llama, qwen2


def weights_file(folder: Path) -> Path:
    (file,) = folder.glob("*.safetensors")
    return file


def digest(folder: Path) -> dict[str, str]:
    return {
        file.name: hashlib.sha256(file.read_bytes()).hexdigest()
        for file in sorted(folder.iterdir())
        if file.is_file()
    }


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
    file = weights_file(folder)
    stored = load_file(file)
    stored["lm_head.weight"] = stored["model.embed_tokens.weight"].clone()
    save_file(stored, file, metadata={"format": "pt"})
    live = LiveModel.load(folder)
    assert "lm_head.weight" not in live.weights
    assert "model.embed_tokens.weight" in live.weights


def test_names_may_lack_the_prefix(tmp_path: Path) -> None:
    folder = gpt2(tmp_path / "model")
    file = weights_file(folder)
    stored = load_file(file)
    bare = {name.removeprefix("transformer."): tensor for name, tensor in stored.items()}
    bare["h.0.attn.bias"] = torch.ones(1, 1, 8, 8)  # a buffer in old checkpoints, not a weight
    save_file(bare, file, metadata={"format": "pt"})
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


def changed(change: Callable[[dict[str, torch.Tensor]], object]) -> Callable[[Path], object]:
    """Return a function that changes the stored tensors of a folder."""

    def damage(folder: Path) -> None:
        file = weights_file(folder)
        stored = load_file(file)
        change(stored)
        save_file(stored, file, metadata={"format": "pt"})

    return damage


@pytest.mark.parametrize(
    ("damage", "message"),
    [
        (shutil.rmtree, "model: .*no such folder"),
        (lambda folder: (folder / "config.json").unlink(), r"model: .*config\.json"),
        (lambda folder: (folder / "config.json").write_text("{"), "model: .*transformers"),
        (lambda folder: restate(folder, num_attention_heads=5), r"hidden size \(16\).*attention heads \(5\)"),
        (lambda folder: weights_file(folder).rename(folder / "pytorch_model.bin"), "model: .*safetensors"),
        (
            changed(lambda stored: stored.pop("model.layers.1.mlp.up_proj.weight")),
            r"model\.layers\.1\.mlp\.up_proj\.weight.*1 missing",
        ),
        (
            changed(lambda stored: stored.update({"model.norm.weight": torch.ones(3)})),
            r"model\.norm\.weight: .*shape",
        ),
        (
            changed(lambda stored: stored.update({"model.layers.9.extra.weight": torch.ones(3)})),
            r"model\.layers\.9\.extra\.weight: ",
        ),
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
    before = digest(folder)
    live = LiveModel.load(folder, LoadOptions(allow_pickle=True))
    assert list(live.weights) == list(expected)
    assert all(torch.equal(live.weights[name], tensor) for name, tensor in expected.items())
    fill(live, 3)
    assert digest(folder) == before
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

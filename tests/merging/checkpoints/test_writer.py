"""Checkpoints are written atomically."""

from __future__ import annotations

import json
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from safetensors.torch import load_file
from transformers import AutoModelForCausalLM, AutoTokenizer

from kingyo.errors import KingyoError
from kingyo.merging.checkpoints import Checkpoint, CheckpointWriter, open_checkpoint
from kingyo.merging.checkpoints import writer as writer_module
from tests.merging.checkpoints.pipelines import pipeline
from tests.merging.checkpoints.writing import forms, stored, write_checkpoint
from tests.models_on_disk import FAMILIES, llama


@pytest.mark.parametrize("kind", FAMILIES)
def test_a_copy_can_be_loaded(tmp_path: Path, kind: str) -> None:
    checkpoint = open_checkpoint(str(FAMILIES[kind](tmp_path / "m", dtype="bfloat16")))
    (checkpoint.path / "LICENSE").write_text("Apache-2.0")
    (checkpoint.path / "modeling_evil.py").write_text("boom")
    out = write_checkpoint(tmp_path / "out", stored(checkpoint), like=checkpoint, files={"README.md": "猫"})
    names = {file.name for file in out.iterdir()}
    assert names == {file.name for file in checkpoint.path.iterdir()} - {"modeling_evil.py"} | {"README.md"}
    assert (out / "README.md").read_text(encoding="utf-8") == "猫"
    assert json.loads((out / "config.json").read_text()) == dict(checkpoint.config)
    tensors = load_file(out / "model.safetensors")
    assert all(torch.equal(tensor, tensors[name]) for name, tensor in stored(checkpoint))
    expected = AutoModelForCausalLM.from_pretrained(checkpoint.path, dtype="auto").state_dict()
    loaded = AutoModelForCausalLM.from_pretrained(out, dtype="auto").state_dict()
    assert expected.keys() == loaded.keys()
    assert all(torch.equal(expected[name], loaded[name]) for name in expected)
    assert all(tensor.dtype == torch.bfloat16 for tensor in loaded.values())
    same = AutoTokenizer.from_pretrained(checkpoint.path)("Q: 3 + 4 A:").input_ids
    assert AutoTokenizer.from_pretrained(out)("Q: 3 + 4 A:").input_ids == same


@pytest.mark.parametrize("limit", [1, 20_000])
def test_shards(tmp_path: Path, limit: int) -> None:
    checkpoint = open_checkpoint(str(llama(tmp_path / "m")))
    out = write_checkpoint(tmp_path / "out", stored(checkpoint), like=checkpoint, max_shard_bytes=limit)
    again = open_checkpoint(str(out))
    assert len({info.file for info in again.tensors.values()}) > 1
    assert again.tensors.keys() == checkpoint.tensors.keys()
    assert all(torch.equal(tensor, again.read(name)) for name, tensor in stored(checkpoint))
    loaded = AutoModelForCausalLM.from_pretrained(out, dtype="auto").state_dict()
    assert all(torch.equal(tensor, loaded[name]) for name, tensor in stored(checkpoint))


dtypes = st.sampled_from([torch.float32, torch.bfloat16, torch.float16, torch.int64, torch.uint8, torch.bool])
shapes = st.lists(st.integers(0, 5), max_size=3)


@given(st.lists(st.tuples(dtypes, shapes), min_size=1, max_size=6), st.integers(1, 300), st.integers(0, 9))
def test_any_tensors_come_back(forms: list[tuple[torch.dtype, list[int]]], limit: int, seed: int) -> None:
    """Names that `like` lacks only add shards."""
    import tempfile

    generator = torch.Generator().manual_seed(seed)
    tensors = {
        f"odd.name.{i}.{'x' * 40 * i}": torch.randint(0, 2, shape, generator=generator).to(dtype)
        for i, (dtype, shape) in enumerate(forms)
    }
    with tempfile.TemporaryDirectory() as folder:
        like = Checkpoint(reference="like", path=Path(folder), config={}, tensors={})
        out = write_checkpoint(Path(folder) / "out", tensors.items(), like=like, max_shard_bytes=limit)
        again = open_checkpoint(str(out))
        assert again.tensors.keys() == tensors.keys()
        for name, tensor in tensors.items():
            assert again.tensors[name].shape == tuple(tensor.shape)
            assert torch.equal(again.read(name), tensor) and again.read(name).dtype == tensor.dtype


def test_data_flushed_early_is_complete(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Threads write spans in any order: within a block, across blocks, and of many blocks."""
    monkeypatch.setattr(writer_module, "_BLOCK", 8192)
    like = Checkpoint(reference="like", path=tmp_path, config={}, tensors={})
    generator = torch.Generator().manual_seed(1)
    weights = {f"w{i}": torch.randn(n, generator=generator) for i, n in enumerate((3000, 20_000, 5, 50_001))}
    parts = [
        (name, first, each[first : first + (len(each) if i % 2 else 1000)])
        for i, (name, each) in enumerate(weights.items())
        for first in range(0, len(each), len(each) if i % 2 else 1000)
    ]
    order = torch.randperm(len(parts), generator=generator).tolist()
    with CheckpointWriter(tmp_path / "out", forms(weights)) as writer, ThreadPoolExecutor(4) as pool:
        writer.begin(0)
        list(pool.map(lambda i: writer.write(*parts[i]), order))
        writer.finish(0)
        writer.complete(like=like)
    again = load_file(tmp_path / "out" / "model.safetensors")
    assert all(torch.equal(again[name], each) for name, each in weights.items())


def test_existing_files_are_kept(tmp_path: Path) -> None:
    checkpoint = open_checkpoint(str(llama(tmp_path / "m")))
    (tmp_path / "out").mkdir()
    (tmp_path / "out" / "thesis.txt").write_text("precious")
    for taken in ("out", "out/thesis.txt", "out/thesis.txt/below"):
        with pytest.raises(KingyoError) as caught:
            write_checkpoint(tmp_path / taken, stored(checkpoint), like=checkpoint)
        assert caught.value.argument == str(tmp_path / taken)
    assert [file.name for file in (tmp_path / "out").iterdir()] == ["thesis.txt"]


def test_a_component_within_its_pipeline(tmp_path: Path) -> None:
    like = open_checkpoint(str(pipeline(tmp_path / "sd") / "unet"))
    weights = dict(stored(like))
    (tmp_path / "vae.json").write_text("{}")
    out = write_checkpoint(
        tmp_path / "out",
        weights.items(),
        like=like,
        max_shard_bytes=2000,
        stem="unet/diffusion_pytorch_model",
        around={"vae/vae.json": tmp_path / "vae.json"},
        files={"x": "y"},
    )
    assert {each.name for each in out.iterdir()} == {"unet", "vae", "x"}
    again = open_checkpoint(str(out / "unet"))
    assert again.config == like.config
    assert all(torch.equal(tensor, again.read(name)) for name, tensor in weights.items())


def test_nested_configs_state_the_dtype(tmp_path: Path) -> None:
    config = {"torch_dtype": "float32", "text_config": {"dtype": "float32", "x": 1}, "dtype_note": "float32"}
    like = Checkpoint(reference="like", path=tmp_path, config=config, tensors={})
    out = write_checkpoint(tmp_path / "out", [("a", torch.zeros(2).half())], like=like)
    assert json.loads((out / "config.json").read_text()) == {
        "torch_dtype": "float16",
        "text_config": {"dtype": "float16", "x": 1},
        "dtype_note": "float32",
    }

"""Folders appear complete or not at all, are written by one process, and replace only models."""

import json
from collections.abc import Iterable, Iterator, Mapping
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from safetensors.torch import load_file
from torch import Tensor
from transformers import AutoModelForCausalLM, AutoTokenizer

from kingyo.errors import KingyoError
from kingyo.merging.checkpoints import Checkpoint, CheckpointWriter, open_checkpoint
from kingyo.merging.checkpoints import writer as writer_module
from kingyo.merging.checkpoints.writer import OutTensor
from tests.merging.checkpoints.pipelines import pipeline
from tests.models_on_disk import FAMILIES, llama

FAILS = torch.full((1,), float("nan"))


def forms(weights: Mapping[str, Tensor]) -> list[OutTensor]:
    return [
        OutTensor(name=name, shape=tuple(each.shape), dtype=str(each.dtype).removeprefix("torch."))
        for name, each in weights.items()
    ]


def write_checkpoint(
    out: Path,
    tensors: Iterable[tuple[str, Tensor]],
    *,
    like: Checkpoint,
    max_shard_bytes: int = 10**9,
    force: bool = False,
    stem: str = "model",
    **more: Any,
) -> Path:
    """Write tensors one after the other; those that are ``FAILS`` fail."""
    weights = dict(tensors)
    with CheckpointWriter(
        out, forms(weights), max_shard_bytes=max_shard_bytes, force=force, stem=stem
    ) as writer:
        for i, shard in enumerate(writer.shards):
            writer.begin(i)
            for name in shard.starts:
                if weights[name] is FAILS:
                    raise KingyoError("weights", expected="finite", received="NaN", remedy="Leave it out.")
                writer.write(name, 0, weights[name].contiguous().view(-1))
            writer.finish(i)
        return writer.complete(like=like, **more)


def stored(checkpoint: Checkpoint) -> Iterator[tuple[str, Tensor]]:
    return ((name, checkpoint.read(name)) for name in checkpoint.tensors)


def failing(checkpoint: Checkpoint) -> Iterator[tuple[str, Tensor]]:
    """Return tensors; computing the last one fails."""
    *names, last = checkpoint.tensors
    for name in names:
        yield name, checkpoint.read(name)
    yield last, FAILS


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


def test_a_failure_leaves_nothing(tmp_path: Path) -> None:
    checkpoint = open_checkpoint(str(llama(tmp_path / "m")))
    for limit in (10**9, 5_000):
        with pytest.raises(KingyoError, match="NaN"):
            write_checkpoint(tmp_path / "out", failing(checkpoint), like=checkpoint, max_shard_bytes=limit)
        assert [file.name for file in tmp_path.iterdir()] == ["m"]


def test_a_mount_point_cannot_be_renamed() -> None:
    with pytest.raises(KingyoError) as caught:
        CheckpointWriter(Path("/proc"), [])
    assert (caught.value.argument, caught.value.received) == ("/proc", "a mount point")


class TestForce:
    def test_replaces_a_model_once_the_new_one_is_complete(self, tmp_path: Path) -> None:
        checkpoint = open_checkpoint(str(llama(tmp_path / "m")))
        out = llama(tmp_path / "out", seed=1)
        (out / "notes.txt").write_text("old")
        with pytest.raises(KingyoError, match="NaN"):
            write_checkpoint(out, failing(checkpoint), like=checkpoint, force=True)
        assert (out / "notes.txt").read_text() == "old"
        write_checkpoint(out, stored(checkpoint), like=checkpoint, force=True)
        again = open_checkpoint(str(out))
        assert all(torch.equal(tensor, again.read(name)) for name, tensor in stored(checkpoint))
        assert not (out / "notes.txt").exists()
        assert {file.name for file in tmp_path.iterdir()} == {"m", "out"}

    @pytest.mark.parametrize("reason", ["without config.json", "a repository", "the working directory"])
    def test_never_replaces_other_folders(
        self, tmp_path: Path, reason: str, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        checkpoint = open_checkpoint(str(llama(tmp_path / "m")))
        out = tmp_path / "out"
        (out / "inner").mkdir(parents=True)
        if reason != "without config.json":
            (out / "config.json").write_text("{}")
        if reason == "a repository":
            (out / ".git").mkdir()
        if reason == "the working directory":
            monkeypatch.chdir(out / "inner")
        with pytest.raises(KingyoError, match="which --force may replace"):
            write_checkpoint(out, stored(checkpoint), like=checkpoint, force=True)
        assert (out / "inner").is_dir()

    def test_a_kill_between_two_renames_restores_the_old_model(self, tmp_path: Path) -> None:
        checkpoint = open_checkpoint(str(llama(tmp_path / "m")))
        llama(tmp_path / ".out.old", seed=1)
        with pytest.raises(KingyoError, match="--force"):
            write_checkpoint(tmp_path / "out", stored(checkpoint), like=checkpoint)
        assert (tmp_path / "out" / "config.json").is_file()
        assert {file.name for file in tmp_path.iterdir()} == {"m", "out"}


def test_what_a_killed_process_left_is_deleted(tmp_path: Path) -> None:
    checkpoint = open_checkpoint(str(llama(tmp_path / "m")))
    left = tmp_path / ".out.partial" / "content"
    (left / "vae").mkdir(parents=True)
    (left / "model-00001-of-00009.safetensors").write_bytes(b"half")
    (left / "config.json").write_text("{}")
    write_checkpoint(tmp_path / "out", stored(checkpoint), like=checkpoint)
    assert not (tmp_path / "out" / "vae").exists() and not list((tmp_path / "out").glob("*-of-*"))
    assert {file.name for file in tmp_path.iterdir()} == {"m", "out"}


def test_two_writers_of_one_folder(tmp_path: Path) -> None:
    checkpoint = open_checkpoint(str(llama(tmp_path / "m")))
    with CheckpointWriter(tmp_path / "out", forms(dict(stored(checkpoint)))) as writer:
        with pytest.raises(KingyoError, match="another kingyo is writing now"):
            write_checkpoint(tmp_path / "out", stored(checkpoint), like=checkpoint)
        for i in range(len(writer.shards)):
            writer.begin(i)
            writer.finish(i)
        writer.complete(like=checkpoint)
    assert {file.name for file in tmp_path.iterdir()} == {"m", "out"}

"""Writing checkpoints: complete, or not there at all."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
import time
from collections.abc import Iterable, Iterator
from pathlib import Path
from typing import Any

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from safetensors.torch import load_file
from torch import Tensor
from transformers import AutoModelForCausalLM, AutoTokenizer

from kingyo.checkpoints import Checkpoint, CheckpointWriter, open_checkpoint
from kingyo.checkpoints.shards import OutTensor
from kingyo.errors import KingyoError
from tests.models_on_disk import FAMILIES, llama


def write_checkpoint(
    out: Path,
    tensors: Iterable[tuple[str, Tensor]],
    *,
    like: Checkpoint,
    max_shard_bytes: int = 10**9,
    **more: Any,
) -> Path:
    """Write whole tensors, one after the other."""
    weights = dict(tensors)
    forms = [
        OutTensor(name=name, shape=tuple(each.shape), dtype=str(each.dtype).removeprefix("torch."))
        for name, each in weights.items()
    ]
    with CheckpointWriter(out, forms, max_shard_bytes=max_shard_bytes) as writer:
        for i, shard in enumerate(writer.shards):
            if not writer.is_finished(i):
                writer.begin(i)
                for name in shard.starts:
                    writer.write(name, 0, weights[name].contiguous().view(-1))
                writer.finish(i)
        return writer.complete(like=like, **more)


def stored(checkpoint: Checkpoint) -> Iterator[tuple[str, Tensor]]:
    return ((name, checkpoint.read(name)) for name in checkpoint.tensors)


@pytest.mark.parametrize("kind", FAMILIES)
def test_a_copy_is_a_checkpoint_for_everyone(tmp_path: Path, kind: str) -> None:
    checkpoint = open_checkpoint(str(FAMILIES[kind](tmp_path / "m", dtype="bfloat16")))
    (checkpoint.path / "LICENSE").write_text("Apache-2.0")
    (checkpoint.path / "modeling_evil.py").write_text("boom")
    out = write_checkpoint(tmp_path / "out", stored(checkpoint), like=checkpoint, files={"README.md": "猫"})
    names = {file.name for file in out.iterdir()}
    assert names == {file.name for file in checkpoint.path.iterdir()} - {"modeling_evil.py"} | {"README.md"}
    assert (out / "README.md").read_text(encoding="utf-8") == "猫"
    assert json.loads((out / "config.json").read_text()) == dict(checkpoint.config)
    ours = load_file(out / "model.safetensors")
    assert all(torch.equal(tensor, ours[name]) for name, tensor in stored(checkpoint))
    theirs = AutoModelForCausalLM.from_pretrained(checkpoint.path, dtype="auto").state_dict()
    loaded = AutoModelForCausalLM.from_pretrained(out, dtype="auto").state_dict()
    assert theirs.keys() == loaded.keys()
    assert all(torch.equal(theirs[name], loaded[name]) for name in theirs)
    assert all(tensor.dtype == torch.bfloat16 for tensor in loaded.values())
    same = AutoTokenizer.from_pretrained(checkpoint.path)("Q: 3 + 4 A:").input_ids
    assert AutoTokenizer.from_pretrained(out)("Q: 3 + 4 A:").input_ids == same


def test_the_config_tells_the_dtype(tmp_path: Path) -> None:
    checkpoint = open_checkpoint(str(llama(tmp_path / "m", dtype="float32")))
    halved = ((name, tensor.half()) for name, tensor in stored(checkpoint))
    out = write_checkpoint(tmp_path / "out", halved, like=checkpoint)
    assert json.loads((out / "config.json").read_text())["dtype"] == "float16"
    assert AutoModelForCausalLM.from_pretrained(out, dtype="auto").dtype == torch.float16


@pytest.mark.parametrize("limit", [1, 5_000, 20_000])
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
    """Names that `like` does not have only make more shards."""
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


def test_views_are_written_as_their_values(tmp_path: Path) -> None:
    like = open_checkpoint(str(llama(tmp_path / "m")))
    turned = torch.arange(6.0).reshape(2, 3).t()
    out = write_checkpoint(tmp_path / "out", [("a", turned)], like=like)
    assert torch.equal(load_file(out / "model.safetensors")["a"], turned)


def test_an_empty_folder_may_be_filled(tmp_path: Path) -> None:
    checkpoint = open_checkpoint(str(llama(tmp_path / "m")))
    (tmp_path / "out").mkdir()
    write_checkpoint(tmp_path / "out", stored(checkpoint), like=checkpoint)
    assert open_checkpoint(str(tmp_path / "out")).n_parameters == checkpoint.n_parameters


def test_what_is_taken_stays(tmp_path: Path) -> None:
    checkpoint = open_checkpoint(str(llama(tmp_path / "m")))
    (tmp_path / "out").mkdir()
    (tmp_path / "out" / "thesis.txt").write_text("precious")
    with pytest.raises(KingyoError, match="one with files"):
        write_checkpoint(tmp_path / "out", stored(checkpoint), like=checkpoint)
    with pytest.raises(KingyoError, match="a file that exists"):
        write_checkpoint(tmp_path / "out" / "thesis.txt", stored(checkpoint), like=checkpoint)
    assert [file.name for file in (tmp_path / "out").iterdir()] == ["thesis.txt"]


def test_a_place_that_cannot_be_written(tmp_path: Path) -> None:
    checkpoint = open_checkpoint(str(llama(tmp_path / "m")))
    (tmp_path / "file").write_text("")
    with pytest.raises(KingyoError, match="a folder that can be written"):
        write_checkpoint(tmp_path / "file" / "out", stored(checkpoint), like=checkpoint)


def test_a_failure_leaves_nothing(tmp_path: Path) -> None:
    checkpoint = open_checkpoint(str(llama(tmp_path / "m")))

    def fail() -> Iterator[tuple[str, Tensor]]:
        yield next(stored(checkpoint))
        raise KingyoError("weights", expected="finite", received="NaN", remedy="Leave it out.")

    with pytest.raises(KingyoError, match="NaN"):
        write_checkpoint(tmp_path / "out", fail(), like=checkpoint)
    assert [file.name for file in tmp_path.iterdir()] == ["m"]


WRITE_SLOWLY = """
import sys, time
from pathlib import Path
from kingyo.checkpoints import open_checkpoint, write_checkpoint
like = open_checkpoint(sys.argv[1])
def slowly():
    for i, name in enumerate(like.tensors):
        print(i, flush=True)
        time.sleep(0.01)
        yield name, like.read(name)
write_checkpoint(Path(sys.argv[2]), slowly(), like=like, max_shard_bytes=10_000)
print("done", flush=True)
"""


@pytest.mark.parametrize("tensors", [1, 12, 29, 30])
def test_killed_at_any_moment_it_leaves_all_or_nothing(tmp_path: Path, tensors: int) -> None:
    """A second process is killed after so many tensors (of 30), or a little after the last."""
    source = llama(tmp_path / "m")
    out = tmp_path / "folder" / "out"
    command = [sys.executable, "-c", WRITE_SLOWLY, str(source), str(out)]
    with subprocess.Popen(command, stdout=subprocess.PIPE, text=True, env=os.environ) as process:
        assert process.stdout is not None
        for _ in range(tensors):
            process.stdout.readline()
        time.sleep(0.012 if tensors == 30 else 0)
        process.send_signal(signal.SIGKILL)
    visible = [file.name for file in out.parent.iterdir() if not file.name.startswith(".")]
    if visible:  # it was quicker than the signal: then all is there
        assert open_checkpoint(str(out)).tensors.keys() == open_checkpoint(str(source)).tensors.keys()
    else:
        assert all(left.name.endswith(".partial") for left in out.parent.iterdir())
        checkpoint = open_checkpoint(str(source))
        write_checkpoint(out, stored(checkpoint), like=checkpoint)
        assert open_checkpoint(str(out)).n_parameters == checkpoint.n_parameters

"""Writing checkpoints: complete, or not there at all."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
import time
from collections.abc import Iterable, Iterator, Mapping
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
    identity: str = "",
    force: bool = False,
    files: Mapping[str, str] | None = None,
) -> Path:
    """Write whole tensors, one after the other; those that are ``FAILS`` fail."""
    weights = dict(tensors)
    with CheckpointWriter(
        out, forms(weights), max_shard_bytes=max_shard_bytes, identity=identity, force=force
    ) as writer:
        for i, shard in enumerate(writer.shards):
            if not writer.is_finished(i):
                writer.begin(i)
                for name in shard.starts:
                    if weights[name] is FAILS:
                        raise KingyoError(
                            "weights", expected="finite", received="NaN", remedy="Leave it out."
                        )
                    writer.write(name, 0, weights[name].contiguous().view(-1))
                writer.finish(i)
        return writer.complete(like=like, files=files)


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
    for limit in (10**9, 5_000):
        with pytest.raises(KingyoError, match="NaN"):
            write_checkpoint(tmp_path / "out", failing(checkpoint), like=checkpoint, max_shard_bytes=limit)
        assert [file.name for file in tmp_path.iterdir()] == ["m"]


def test_a_failure_leaves_no_new_parents(tmp_path: Path) -> None:
    checkpoint = open_checkpoint(str(llama(tmp_path / "m")))
    with pytest.raises(KingyoError, match="NaN"):
        write_checkpoint(tmp_path / "new" / "deep" / "out", failing(checkpoint), like=checkpoint)
    assert [file.name for file in tmp_path.iterdir()] == ["m"]


def test_a_disk_that_is_too_small_is_seen_at_once(tmp_path: Path) -> None:
    with (
        pytest.raises(KingyoError, match=r"expected 4000000\.00 GB of free disk space"),
        CheckpointWriter(tmp_path / "new" / "out", [OutTensor(name="a", shape=(10**15,), dtype="float32")]),
    ):
        pass
    assert list(tmp_path.iterdir()) == []


def test_a_mounted_disk_cannot_take_another_name() -> None:
    with pytest.raises(KingyoError, match=r"a disk that is mounted there.*such as /proc/model"):
        CheckpointWriter(Path("/proc"), [])


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
    def test_never_costs_what_is_no_model(
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
        with pytest.raises(KingyoError, match=reason):
            write_checkpoint(out, stored(checkpoint), like=checkpoint, force=True)
        assert (out / "inner").is_dir()

    def test_killed_between_two_names_the_old_one_comes_back(self, tmp_path: Path) -> None:
        checkpoint = open_checkpoint(str(llama(tmp_path / "m")))
        llama(tmp_path / ".out.old", seed=1)
        with pytest.raises(KingyoError, match="one with files"):
            write_checkpoint(tmp_path / "out", stored(checkpoint), like=checkpoint)
        assert (tmp_path / "out" / "config.json").is_file()
        assert {file.name for file in tmp_path.iterdir()} == {"m", "out"}

    def test_a_link_to_a_model_is_followed(self, tmp_path: Path) -> None:
        checkpoint = open_checkpoint(str(llama(tmp_path / "m")))
        real = llama(tmp_path / "real", seed=1)
        (tmp_path / "out").symlink_to(real)
        write_checkpoint(tmp_path / "out", stored(checkpoint), like=checkpoint, force=True)
        assert (tmp_path / "out").is_symlink()
        assert torch.equal(
            open_checkpoint(str(real)).read("lm_head.weight"), checkpoint.read("lm_head.weight")
        )


class TestResume:
    def test_what_was_finished_stays(self, tmp_path: Path) -> None:
        checkpoint = open_checkpoint(str(llama(tmp_path / "m")))
        stop(tmp_path / "out", checkpoint, after=3)
        kept = finished(tmp_path / "out")
        assert len(kept) == 3
        write_checkpoint(tmp_path / "out", stored(checkpoint), like=checkpoint, max_shard_bytes=5_000)
        assert inodes(tmp_path / "out").items() >= kept.items()

    @pytest.mark.parametrize("change", [{"identity": "another"}, {"max_shard_bytes": 6_000}])
    def test_what_is_of_other_content_goes(self, tmp_path: Path, change: dict[str, Any]) -> None:
        checkpoint = open_checkpoint(str(llama(tmp_path / "m")))
        stop(tmp_path / "out", checkpoint, after=3)
        kept = finished(tmp_path / "out")
        settings = {"max_shard_bytes": 5_000} | change
        write_checkpoint(tmp_path / "out", stored(checkpoint), like=checkpoint, **settings)
        assert not set(inodes(tmp_path / "out").values()) & set(kept.values())

    def test_without_a_finished_shard_nothing_is_left(self, tmp_path: Path) -> None:
        checkpoint = open_checkpoint(str(llama(tmp_path / "m")))
        stop(tmp_path / "new" / "out", checkpoint, after=0)
        assert [file.name for file in tmp_path.iterdir()] == ["m"]

    def test_two_writers_of_one_folder(self, tmp_path: Path) -> None:
        checkpoint = open_checkpoint(str(llama(tmp_path / "m")))
        with CheckpointWriter(tmp_path / "out", forms(dict(stored(checkpoint)))):
            with pytest.raises(KingyoError, match="another kingyo is writing now"):
                write_checkpoint(tmp_path / "out", stored(checkpoint), like=checkpoint)
            assert finished(tmp_path / "out") == {}


def failing(checkpoint: Checkpoint) -> Iterator[tuple[str, Tensor]]:
    """The tensors, of which the last one cannot be had, from a merge that knows only then."""
    *names, last = checkpoint.tensors
    for name in names:
        yield name, checkpoint.read(name)
    yield last, FAILS


def stop(out: Path, checkpoint: Checkpoint, *, after: int) -> None:
    """Write so many shards, then be interrupted."""
    weights = dict(stored(checkpoint))
    with (
        pytest.raises(KeyboardInterrupt),
        CheckpointWriter(out, forms(weights), max_shard_bytes=5_000) as writer,
    ):
        for i, shard in enumerate(writer.shards):
            writer.begin(i)
            if i == after:
                raise KeyboardInterrupt
            for name in shard.starts:
                writer.write(name, 0, weights[name].view(-1))
            writer.finish(i)


def finished(out: Path) -> dict[str, tuple[int, int]]:
    """The complete shards of a write under way, and which files they are."""
    return inodes(out.parent / f".{out.name}.partial" / "content")


def inodes(folder: Path) -> dict[str, tuple[int, int]]:
    found = {file.name: file.stat() for file in folder.glob("*.safetensors")}
    return {name: (stat.st_ino, stat.st_mtime_ns) for name, stat in found.items()}


def test_weights_of_diffusers_keep_their_names(tmp_path: Path) -> None:
    like = Checkpoint(
        reference="unet", path=tmp_path, config={"_class_name": "UNet2DModel"}, tensors={},
        stem="diffusion_pytorch_model",
    )  # fmt: skip
    weights = {"a": torch.zeros(4), "b": torch.ones(4)}
    for name, limit in (("whole", 100), ("shards", 16)):
        with CheckpointWriter(
            tmp_path / name, forms(weights), max_shard_bytes=limit, stem=like.stem
        ) as writer:
            for i, shard in enumerate(writer.shards):
                writer.begin(i)
                for tensor in shard.starts:
                    writer.write(tensor, 0, weights[tensor])
                writer.finish(i)
            writer.complete(like=like)
        again = open_checkpoint(str(tmp_path / name))
        assert again.stem == like.stem and torch.equal(again.read("b"), weights["b"])
        assert "torch_dtype" not in again.config
    assert (tmp_path / "shards" / "diffusion_pytorch_model.safetensors.index.json").is_file()


def test_configs_of_parts_tell_the_dtype_too(tmp_path: Path) -> None:
    config = {"torch_dtype": "float32", "text_config": {"dtype": "float32", "x": 1}, "dtype_note": "float32"}
    like = Checkpoint(reference="like", path=tmp_path, config=config, tensors={})
    out = write_checkpoint(tmp_path / "out", [("a", torch.zeros(2).half())], like=like)
    assert json.loads((out / "config.json").read_text()) == {
        "torch_dtype": "float16",
        "text_config": {"dtype": "float16", "x": 1},
        "dtype_note": "float32",
    }


WRITE_SLOWLY = """
import sys, time
from pathlib import Path
from kingyo.checkpoints import CheckpointWriter, open_checkpoint
from kingyo.checkpoints.shards import OutTensor
like = open_checkpoint(sys.argv[1])
forms = [OutTensor(name=i.name, shape=i.shape, dtype=i.dtype) for i in like.tensors.values()]
done = 0
with CheckpointWriter(Path(sys.argv[2]), forms, max_shard_bytes=5_000) as writer:
    for i, shard in enumerate(writer.shards):
        if writer.is_finished(i):
            continue
        writer.begin(i)
        for name in shard.starts:
            print(done, flush=True)
            done += 1
            time.sleep(0.01)
            writer.write(name, 0, like.read(name).view(-1))
        writer.finish(i)
    print("complete", flush=True)
    writer.complete(like=like)
print("done", flush=True)
"""


@pytest.mark.parametrize("tensors", [1, 2, 7, 12, 20, 29, 30, 31])
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
    if not visible:
        assert all(left.name.endswith(".partial") for left in out.parent.iterdir())
        kept = finished(out)
        assert tensors < 12 or kept
        subprocess.run(command, check=True, stdout=subprocess.DEVNULL)
        assert inodes(out).items() >= kept.items()
    checkpoint, again = open_checkpoint(str(source)), open_checkpoint(str(out))
    assert again.tensors.keys() == checkpoint.tensors.keys()
    assert all(torch.equal(again.read(name), checkpoint.read(name)) for name in checkpoint.tensors)
    left = [file.name for file in out.parent.iterdir()]
    assert left == ["out"] or visible

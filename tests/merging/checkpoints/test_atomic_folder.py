"""Folders appear complete or not at all, are written by one process, and replace only models."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest
import torch

from kingyo.errors import KingyoError
from kingyo.merging.checkpoints import CheckpointWriter, open_checkpoint
from tests.merging.checkpoints.writing import failing, forms, stored, write_checkpoint
from tests.models_on_disk import llama
from tests.slow import slow


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


WRITE_SLOWLY = """
import sys, time
from pathlib import Path
from kingyo.merging.checkpoints import CheckpointWriter, open_checkpoint
from kingyo.merging.checkpoints.writer import OutTensor
like = open_checkpoint(sys.argv[1])
forms = [OutTensor(name=i.name, shape=i.shape, dtype=i.dtype) for i in like.tensors.values()]
done = 0
with CheckpointWriter(Path(sys.argv[2]), forms, max_shard_bytes=5_000) as writer:
    for i, shard in enumerate(writer.shards):
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


@pytest.mark.parametrize("tensors", [2, 31, *slow(12, 30)])
def test_a_killed_write_leaves_all_or_no_files(tmp_path: Path, tensors: int) -> None:
    """Kill a second process after n of 30 tensors, or shortly after the last."""
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
        subprocess.run(command, check=True, stdout=subprocess.DEVNULL)
    checkpoint, again = open_checkpoint(str(source)), open_checkpoint(str(out))
    assert again.tensors.keys() == checkpoint.tensors.keys()
    assert all(torch.equal(again.read(name), checkpoint.read(name)) for name in checkpoint.tensors)
    left = [file.name for file in out.parent.iterdir()]
    assert left == ["out"] or visible

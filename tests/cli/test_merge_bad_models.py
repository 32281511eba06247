"""Models and folders that cannot be merged: one clear error, exit code 1, nothing half-written."""

from __future__ import annotations

import json
import os
import shutil
import struct
import subprocess
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import torch
from safetensors.torch import load_file, save_file

from tests.cli.conftest import command as whole_command
from tests.cli.merging import Command, foreseen, refused
from tests.models_on_disk import llama


def edit_header(file: Path, change: Callable[[dict[str, Any]], None]) -> None:
    raw = file.read_bytes()
    (length,) = struct.unpack("<Q", raw[:8])
    header = json.loads(raw[8 : 8 + length])
    change(header)
    text = json.dumps(header).encode()
    file.write_bytes(struct.pack("<Q", len(text)) + text + raw[8 + length :])


def truncate(file: Path) -> None:
    file.write_bytes(file.read_bytes()[:-100])


def lie(**fields: object) -> Callable[[Path], None]:
    return lambda file: edit_header(file, lambda header: header["lm_head.weight"].update(fields))


BROKEN: dict[str, tuple[Callable[[Path], object], str]] = {
    "truncated": (truncate, "model.safetensors: expected"),
    "length of the header": (
        lambda file: file.write_bytes(struct.pack("<Q", 1 << 60) + file.read_bytes()[8:]),
        "model.safetensors: expected",
    ),
    "shape": (lie(shape=[64, 17]), "model.safetensors: expected"),
    "dtype": (lie(dtype="F13"), "model.safetensors: expected"),
    "LFS pointer": (
        lambda file: file.write_text("version https://git-lfs.github.com/spec/v1\noid sha256:12\nsize 9\n"),
        "received a Git LFS pointer",
    ),
}


@pytest.mark.parametrize("kind", BROKEN)
def test_weights_that_are_broken(command: Command, kind: str) -> None:
    break_, says = BROKEN[kind]
    break_(command.folder / "b" / "model.safetensors")
    foreseen(command, command.recipe(), "merged", says=says)


def test_pickles_are_not_opened_and_their_code_is_never_run(command: Command) -> None:
    class Evil:
        def __reduce__(self) -> tuple[object, ...]:
            return os.system, ("touch evil",)

    (command.folder / "b" / "model.safetensors").unlink()
    torch.save({"x": Evil()}, command.folder / "b" / "pytorch_model.bin")
    foreseen(command, command.recipe(), "merged", says="received only pytorch_model.bin")
    foreseen(command, command.recipe(), "merged", "--allow-pickle", says="code that it would run")
    assert not (command.folder / "evil").exists()


def test_an_allowed_pickle_merges_like_safetensors(command: Command) -> None:
    assert command("merge", command.recipe(), "expected").code == 0
    weights = load_file(command.folder / "b" / "model.safetensors")
    torch.save(weights, command.folder / "b" / "pytorch_model.bin")
    (command.folder / "b" / "model.safetensors").unlink()
    done = command("merge", command.recipe(), "merged", "--allow-pickle")
    assert done.code == 0, done.err
    files = [command.folder / name / "model.safetensors" for name in ("merged", "expected")]
    assert files[0].read_bytes() == files[1].read_bytes()
    assert command("diff", "base", "b").code == 1
    assert command("diff", "base", "b", "--allow-pickle").code == 0


def change_weights(folder: Path, change: Callable[[dict[str, torch.Tensor]], object]) -> None:
    weights = load_file(folder / "model.safetensors")
    change(weights)
    save_file(weights, folder / "model.safetensors", metadata={"format": "pt"})


def test_shapes_that_differ_are_both_named(command: Command) -> None:
    shutil.rmtree(command.folder / "b")
    llama(command.folder / "b", hidden=32)
    says = "expected one shape in all models: [64, 16] as in base; received [64, 32] in b"
    foreseen(command, command.recipe(), "merged", says=says)


@pytest.mark.parametrize("value", ["nan"])
def test_weights_that_are_not_finite(command: Command, value: str) -> None:
    name = "model.layers.2.self_attn.k_proj.weight"
    change_weights(command.folder / "b", lambda weights: weights[name].view(-1)[7:8].fill_(float(value)))
    refused(command, command.recipe(), "merged", says=f"b: {name}: expected finite weights")
    refused(command, command.recipe(), "new/merged", "--max-shard-size", "4kB", says="--allow-nonfinite")


def test_results_that_a_dtype_cannot_hold(command: Command) -> None:
    models = [{"model": "a", "parameters": {"weight": 1e8}}]
    refused(command, command.recipe(models=models, dtype="float16"), "merged", says="float16 can hold")


def test_vocabularies_with_different_tokens_for_the_same_ids(command: Command) -> None:
    """The sizes are equal, so only the contents differ."""
    file = command.folder / "b" / "tokenizer.json"
    data = json.loads(file.read_text())
    vocab = data["model"]["vocab"]
    vocab["7"], vocab["8"] = vocab["8"], vocab["7"]
    file.write_text(json.dumps(data))
    says = "expected one id for each token: 11 for '7' as in base; received 12 in b, and 2 such tokens in all"
    foreseen(command, command.recipe(), "merged", says=says)
    done = command("merge", command.recipe(tokenizer_source="base"), "merged")
    assert done.code == 0, done.err


def test_a_folder_that_is_not_empty(command: Command) -> None:
    (command.folder / "merged").mkdir()
    (command.folder / "merged" / "thesis.txt").write_text("precious")
    foreseen(command, command.recipe(), "merged", says="merged: expected a new or empty folder")
    foreseen(command, command.recipe(), "merged", "--force", says="without config.json")


def test_a_target_that_is_a_file(command: Command) -> None:
    foreseen(command, command.recipe(), "grade.py", says="received a file that exists")
    refused(command, command.recipe(), "grade.py/merged", says="grade.py/merged: expected")


@pytest.mark.parametrize("out", ["b", "b/merged"])
def test_a_target_that_shares_files_with_a_source(command: Command, out: str) -> None:
    says = "expected a folder that is no source, and neither in one nor around one"
    error = refused(command, command.recipe(), out, "--force", says="expected")
    assert says in error


def test_a_link_to_a_source_counts_as_the_source(command: Command) -> None:
    (command.folder / "link").symlink_to("b")
    foreseen(command, command.recipe(), "link", "--force", says="received one that shares files with b")


@pytest.mark.parametrize("size", ["-1GB", "5XB"])
def test_sizes_of_shards(command: Command, size: str) -> None:
    done = command("merge", command.recipe(), "merged", f"--max-shard-size={size}")
    assert done.code == 1
    assert "--max-shard-size: expected a size in bytes, such as 5GB" in done.err
    assert not (command.folder / "merged").exists()


def in_new_world(folder: Path, setup: str, *arguments: str) -> subprocess.CompletedProcess[str]:
    """Run the command in its own mount namespace."""
    if shutil.which("unshare") is None or subprocess.run(["unshare", "-rm", "true"], check=False).returncode:
        pytest.skip("needs Linux's mount namespaces")
    script = f'set -e; {setup}; exec "$@"'
    return subprocess.run(
        ["unshare", "-rm", "sh", "-c", script, "sh", *whole_command(*arguments)],
        cwd=folder,
        env={**os.environ, "OMP_NUM_THREADS": "1", "COLUMNS": "110"},
        capture_output=True,
        text=True,
        check=False,
    )


class TestDisks:
    """Real ones: small file systems in memory, mounted for the command alone."""

    def test_that_are_too_small_are_seen_at_once(self, command: Command) -> None:
        recipe = command.recipe()
        (command.folder / "disk").mkdir()
        for flags in ((), ("--dry-run",)):
            done = in_new_world(
                command.folder, "mount -t tmpfs -o size=20k x disk", "merge", str(recipe), "disk/out", *flags
            )
            assert done.returncode == 1 and "Traceback" not in done.stderr
            assert (
                "disk/out: expected 39.3 kB of free disk space; received 20.5 kB" in done.stdout + done.stderr
            )

    def test_that_are_full_in_the_end(self, command: Command) -> None:
        """Room for the weights, and not for all that goes with them."""
        recipe = command.recipe()
        (command.folder / "disk").mkdir()
        done = in_new_world(
            command.folder,
            "mount -t tmpfs -o size=44k x disk; trap 'ls -A disk' EXIT",
            "merge", str(recipe), "disk/out",
        )  # fmt: skip
        assert done.returncode == 1 and "Traceback" not in done.stderr
        assert "disk/out: expected" in done.stderr and "No space left on device" in done.stderr

"""Models and folders that cannot be merged: one clear error, exit code 1, nothing half-written."""

import os
import shutil
import subprocess
from pathlib import Path

import pytest
from safetensors.torch import load_file, save_file

from tests.cli.conftest import command as whole_command
from tests.cli.merging import Command, refused


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


def test_weights_that_are_not_finite(command: Command) -> None:
    file = command.folder / "b" / "model.safetensors"
    weights = load_file(file)
    name = "model.layers.2.self_attn.k_proj.weight"
    weights[name].view(-1)[7] = float("nan")
    save_file(weights, file, metadata={"format": "pt"})
    refused(command, command.recipe(), "merged", says=f"b: {name}: expected finite weights")
    refused(command, command.recipe(), "new/merged", "--max-shard-size", "4kB", says="--allow-nonfinite")


@pytest.mark.parametrize("out", ["b", "b/merged", "link"])
def test_a_target_that_shares_files_with_a_source(command: Command, out: str) -> None:
    (command.folder / "link").symlink_to("b")
    says = "expected a folder that is no source, and neither in one nor around one"
    refused(command, command.recipe(), out, "--force", says=says)


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

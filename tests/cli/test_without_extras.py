"""Commands whose optional library is missing name the command that installs it."""

from __future__ import annotations

import os
import subprocess
from pathlib import Path

import pytest

from kingyo.core.io.extras import install_command
from tests.cli.forked import run_forked

pytest.importorskip("diffusers")
from tests.cli.picture_runs import write_models

ENV = {**os.environ, "COLUMNS": "110", "OMP_NUM_THREADS": "1", "HF_HUB_OFFLINE": "1"}
HIDDEN = """
import sys

sys.modules.update(dict.fromkeys({modules}))
from kingyo.__main__ import process

process()
"""


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return write_models(tmp_path_factory.mktemp("pictures"))


def without(folder: Path, modules: list[str], *words: str) -> subprocess.CompletedProcess[str]:
    """Run a command in a process that finds no such modules."""
    script = folder / "hidden.py"
    script.write_text(HIDDEN.format(modules=modules))
    return run_forked(words, folder, ENV, script)


@pytest.mark.parametrize(
    ("extra", "modules", "words"),
    [
        ("draw", ["diffusers"], ["draw", "base", "a cat", "--out", "cat.png"]),
        ("draw", ["diffusers"], ["evaluate", "base", "run.yaml"]),
        ("draw", ["diffusers"], ["evolve", "run.yaml", "--dry-run"]),
        ("draw", ["diffusers"], ["evolve", "run.yaml", "--run", "run"]),
        ("vision", ["PIL", "torchvision"], ["evolve", "run.yaml", "--dry-run"]),
        ("draw", ["PIL", "torchvision", "diffusers"], ["evolve", "run.yaml", "--dry-run"]),
        ("draw", ["PIL", "torchvision", "diffusers"], ["evaluate", "base", "run.yaml"]),
    ],
)
def test_the_extra_is_named(folder: Path, extra: str, modules: list[str], words: list[str]) -> None:
    done = without(folder, modules, *words)
    assert done.returncode == 1, done.stdout
    assert "Traceback" not in done.stderr
    assert install_command(extra) in done.stderr and f"`{extra}`" in done.stderr
    assert not (folder / "run").exists()

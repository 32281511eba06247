"""Commands whose optional library is missing name the command that installs it."""

from pathlib import Path

import pytest

from kingyo.core.io.extras import install_command
from tests.cli.forked import run_without

pytest.importorskip("diffusers")
from tests.cli.picture_runs import write_models


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return write_models(tmp_path_factory.mktemp("pictures"))


@pytest.mark.parametrize(
    ("extra", "modules", "words"),
    [
        ("draw", ["diffusers"], ["draw", "base", "a cat", "--out", "cat.png"]),
        ("draw", ["diffusers"], ["evaluate", "base", "run.yaml"]),
        ("draw", ["diffusers"], ["evolve", "run.yaml", "--run", "run"]),
        ("vision", ["PIL", "torchvision"], ["evolve", "run.yaml", "--dry-run"]),
        ("draw", ["PIL", "torchvision", "diffusers"], ["evolve", "run.yaml", "--dry-run"]),
    ],
)
def test_the_extra_is_named(folder: Path, extra: str, modules: list[str], words: list[str]) -> None:
    done = run_without(modules, folder, *words, HF_HUB_OFFLINE="1")
    assert done.returncode == 1, done.stdout
    assert "Traceback" not in done.stderr
    assert install_command(extra) in done.stderr and f"`{extra}`" in done.stderr
    assert not (folder / "run").exists()

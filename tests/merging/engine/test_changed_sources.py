"""Sources that are written or replaced while they are merged: an error, and never a mixture."""

import os
import shutil
from collections.abc import Callable
from pathlib import Path

import pytest
import torch

from kingyo.errors import KingyoError
from kingyo.merging.checkpoints import open_checkpoint
from kingyo.merging.engine import MergeOptions, Sources, into, plan, to_folder
from kingyo.merging.kernels.statistics_cache import TensorStats
from kingyo.merging.recipe import Recipe
from tests.merging.checkpoints.adapters import train
from tests.merging.checkpoints.fitting import resized
from tests.models_on_disk import fine_tuned, llama

CHANGED = "expected .*; received .* which changed"


@pytest.fixture
def root(tmp_path: Path) -> Path:
    base = llama(tmp_path / "base", hidden=8)
    for seed, name in enumerate(("one", "two", "again")):
        fine_tuned(base, tmp_path / name, seed=seed)
    return tmp_path


def opened(root: Path, *names: str) -> Sources:
    return Sources({name: open_checkpoint(name, root) for name in names}, root)


def ties(*names: str, **changes: object) -> Recipe:
    models = [{"model": name, "parameters": {"weight": 1.0, "density": 0.4}} for name in names]
    return Recipe.from_dict({"merge_method": "ties", "base_model": "base", "models": models, **changes})


def fill(sources: Sources, recipe_: Recipe) -> dict[str, torch.Tensor]:
    planned = plan(recipe_, sources)
    live = {job.name: torch.zeros(job.shape) for job in planned.jobs}
    into(planned, live)
    return live


def replace_weights(root: Path, name: str) -> None:
    """As a second download does: a new file takes the name of the old one."""
    file = root / name / "model.safetensors"
    shutil.copy(root / "again" / "model.safetensors", file.with_suffix(".new"))
    file.with_suffix(".new").replace(file)


def overwrite(root: Path, name: str) -> None:
    """In place, with size and time of the old file, as rsync can."""
    file = root / name / "model.safetensors"
    before = file.stat()
    with file.open("r+b") as stream:
        stream.write((root / "again" / "model.safetensors").read_bytes())
    os.utime(file, ns=(before.st_atime_ns, before.st_mtime_ns))


@pytest.mark.parametrize("change", [replace_weights, overwrite])
@pytest.mark.parametrize("candidates", [0, 2])
def test_between_candidates(root: Path, change: Callable[[Path, str], None], candidates: int) -> None:
    sources = opened(root, "base", "one", "two")
    for _ in range(candidates):
        fill(sources, ties("one", "two"))
    change(root, "two")
    with pytest.raises(KingyoError, match=f"two: {CHANGED}"):
        fill(sources, ties("one", "two"))
    with pytest.raises(KingyoError, match=CHANGED):
        to_folder(plan(ties("one", "two"), sources), root / "out")
    assert not (root / "out").exists()
    fill(opened(root, "base", "one", "two"), ties("one", "two"))


def test_of_an_adapter(root: Path) -> None:
    train(root / "one", root / "lora", r=2, target_modules=["q_proj"])
    sources = opened(root, "base", "one+lora")
    fill(sources, ties("one+lora"))
    shutil.rmtree(root / "lora")
    train(root / "one", root / "lora", r=3, target_modules=["q_proj"])
    with pytest.raises(KingyoError, match=CHANGED):
        fill(sources, ties("one+lora"))


@pytest.mark.parametrize("name", ["base", "two"])
def test_sources_that_were_resized(root: Path, name: str) -> None:
    resized(root / "one", 61)
    sources = opened(root, "base", "one", "two")
    spec = ties("one", "two", resize="truncate")
    for _ in range(3):
        fill(sources, spec)
    replace_weights(root, name)
    with pytest.raises(KingyoError, match=CHANGED):
        fill(sources, spec)


def test_while_files_are_written(root: Path) -> None:
    class Watch:
        def start(self, n_bytes: int) -> None:
            self.is_changed = False

        def wrote(self, n_bytes: int) -> None:
            if not self.is_changed:
                self.is_changed = True
                replace_weights(root, "two")

        def broken(self, tensor: str) -> None:
            raise AssertionError(tensor)

    planned = plan(ties("one", "two"), opened(root, "base", "one", "two"))
    with pytest.raises(KingyoError, match=CHANGED):
        to_folder(planned, root / "out", options=MergeOptions(max_shard_bytes=4000), watch=Watch())
    assert not (root / "out").exists() and not (root / ".out.partial").exists()


def test_resized_models_share_the_room_of_all_facts(root: Path) -> None:
    resized(root / "one", 61)
    facts = TensorStats(max_bytes=1 << 20)
    sources = Sources({name: open_checkpoint(name, root) for name in ("base", "one", "two")}, root, facts)
    spec = ties("one", "two", resize="truncate")
    first = fill(sources, spec)
    n_bytes = facts.n_bytes
    assert n_bytes > 0
    fill(sources, ties("two"))
    assert facts.n_bytes > n_bytes, "what is fitted has facts of its own"
    for again in (fill(sources, spec), fill(opened(root, "base", "one", "two"), spec)):
        assert all(torch.equal(first[name], again[name]) for name in first)

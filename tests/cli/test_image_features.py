"""Runs keep image features in memory and in a file."""

from __future__ import annotations

import shutil
from pathlib import Path

import pytest
import yaml

from tests.cli.conftest import World
from tests.cli.resumed import facts
from tests.cli.sight_runs import write_models


@pytest.fixture(scope="module")
def models(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return write_models(tmp_path_factory.mktemp("sight"))


@pytest.fixture
def world(models: Path, tmp_path: Path) -> World:
    return World(folder=shutil.copytree(models, tmp_path / "world"))


SMALL = """
from kingyo.models.kinds.image_text_to_text import ImageTextToText


class Small(ImageTextToText):
    name = "small"

    def load(self, path, options):
        from kingyo.models import image_features
        from kingyo.models.vision import cache

        image_features.kept_bytes, cache.FILE_BYTES = lambda: 2000, 12_000
        live = super().load(path, options)
        put = live._features.kept.put

        def logged(*features):
            value = put(*features)
            with open("kept.log", "a") as log:
                print(live._features.kept.n_bytes, live._features.kept.n_file_bytes, file=log)
            return value

        live._features.kept.put = logged
        return live


SMALL = Small()
"""


def kept_bytes(world: World) -> list[list[int]]:
    """Return the bytes of features in memory and in the file after each encoding, and remove the log."""
    log = world.folder / "kept.log"
    sizes = [[*map(int, line.split())] for line in log.read_text().splitlines()]
    log.unlink()
    return sizes


def small_run(world: World, name: str, **keys: object) -> str:
    """Write a run whose memory and file hold few features, and return its name."""
    (world.folder / "small.py").write_text(SMALL)
    run = yaml.safe_load((world.folder / "run.yaml").read_text())
    (world.folder / name).write_text(
        yaml.safe_dump({**run, "kind": "small.py:SMALL", **keys}, sort_keys=False)
    )
    return name


@pytest.mark.slow
def test_features_beyond_memory_are_in_a_file(world: World) -> None:
    world.ok("evolve", "run.yaml", "--run", "plain")
    workers = {"runner": "processes", "workers": 2}
    for name, keys in (("small", {}), ("workers", workers)):
        done = world.ok("evolve", small_run(world, f"{name}.yaml", **keys), "--run", name)
        assert facts(world.folder / name) == facts(world.folder / "plain")
        assert "Features do not fit" in done.stderr
        in_memory, in_file = map(max, zip(*kept_bytes(world), strict=True))
        assert 0 < in_memory <= 2000 < in_file <= 12_000

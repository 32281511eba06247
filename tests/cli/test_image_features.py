"""Runs keep image features in memory and in a file, and dry runs say where, or what encoding images costs."""

from __future__ import annotations

import shutil
from pathlib import Path

import pytest
import yaml

from kingyo.cli.dry_run import print_dry_run
from kingyo.models import image_features
from kingyo.runs.config_file import load_config
from kingyo.runs.dry_run import Speeds, dry_run
from kingyo.runs.run import Run
from tests.cli.conftest import World
from tests.cli.resumed import facts
from tests.cli.sight_runs import N, write_models
from tests.models.vision_families import build


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


@pytest.mark.slow
def test_features_of_a_merged_image_encoder_are_not_in_a_file(world: World) -> None:
    build("llava", world.folder / "other", seed=4)
    sources, parts = {"see": "see", "other": "other"}, {"language": "merge", "vision": "merge"}
    run = small_run(
        world, "small.yaml", base=None, sources=sources, merge={"method": "linear", "parts": parts}
    )
    done = world.ok("evolve", run)
    assert "do not fit" not in done.stderr
    sizes, plan = kept_bytes(world), world.run("evolve", run, "--run", "other", "--dry-run")
    assert {in_file for _, in_file in sizes} == {0}
    images = world.data("evolve", run, "--run", "other", "--dry-run")["images"]
    assert images["merged"] == ["vision"] and images["prompts"] == N
    assert images["excess_bytes"] == images["bytes"] > images["memory_bytes"] + images["file_bytes"] == 0
    assert len(sizes) <= images["encodings"] == 12 * (3 + 6) + 6 * (3 + 4) + 6 * (3 + 1)
    assert 0 < images["encoder_share"] < 1
    words = " ".join(plan.stdout.split())
    assert "vision is merged" in words and f"{images['encodings']} image encodings at most" in words


def test_the_dry_run_says_where_features_are_kept(
    world: World, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setattr(image_features, "kept_bytes", lambda: 2000)
    monkeypatch.setattr(image_features, "FILE_BYTES", 12_000)
    plan = dry_run(Run.open(load_config(world.folder / "run.yaml"), world.folder))
    assert plan.images is not None and plan.images.encodings is not None
    assert (plan.images.memory_bytes, plan.images.file_bytes) == (2000, 12_000)
    assert plan.images.excess_bytes == plan.images.bytes - 14_000 > 0
    assert N < plan.images.encodings < plan.cost.answers()  # type: ignore[operator]
    print_dry_run(plan, Speeds())
    words = " ".join(capsys.readouterr().out.split())
    assert all(each in words for each in ("2.00 kB in memory", "12.0 kB in a temporary file", "beyond"))

"""EvoVLM-JP: its run.yaml on models of the real shapes, its README's commands on tiny ones."""

import json
import math
from collections.abc import Generator
from pathlib import Path

import pytest

from tests.examples.evovlm_jp import prepare, scenes, wild
from tests.examples.runs import dry_run, make_small, run_readme
from tests.hub import Hub, serve
from tests.models.vision_families import build, build_text
from tests.published_headers import llava_next, llava_next_shapes, mistral

BASE, SHISA = "mistralai/Mistral-7B-v0.1", "augmxnt/shisa-gamma-7b-v1"
LLAVA = "llava-hf/llava-v1.6-mistral-7b-hf"


def prepared(folder: Path, n_train: int, n_test: int, n_wild: int, validation: int) -> Path:
    data = folder / "data"
    vg, more = scenes(data / "vg", n_train, n_test), wild(data / "wild", n_wild)
    return prepare("evovlm-jp", folder, vg=vg, wild=more, validation=validation)


def rows(file: Path) -> list[dict[str, object]]:
    return [json.loads(line) for line in file.read_text().splitlines()]


def check_data(folder: Path) -> None:
    """Check that every image is in one split, and which questions were chosen."""
    items, wild_items = rows(folder / "items.jsonl"), rows(folder / "wild.jsonl")
    images = [str(name) for row in (*items, *wild_items) for name in row["images"]]  # type: ignore[attr-defined]
    assert len(set(images)) == len(images) == 14
    assert all((folder / name).is_file() for name in images)
    assert {row["answer"] for row in items[:9]} == {"あかい犬です"}  # 赤 has no kana
    assert {row["answer"] for row in items[9:]} == {"赤"}  # the first question, as published


@pytest.mark.slow
def test_the_run_of_the_paper_fits_together(tmp_path: Path) -> None:
    mistral(tmp_path / "hub" / BASE)
    mistral(tmp_path / "hub" / SHISA, shards=4)
    llava_next(tmp_path / "hub" / LLAVA)
    folder = prepared(tmp_path, 9, 4, 1, 3)
    check_data(folder)
    with serve(tmp_path / "hub") as hub:
        summary = dry_run(hub, tmp_path, "evolve", folder / "run.yaml")
    assert summary["items"] == {"fit": 6, "validation": 3, "test": 4, "duplicates": 0, "unused": 0}
    search = summary["search"]
    assert (search["strategy"], search["methods"], search["population"]) == ("cma-es", ["dare_ties"], 18)
    groups = [*(f"block.{number}" for number in range(32)), "head"]
    kinds = [f"{kind}/{name}" for kind in ("weight", "density") for name in ("llava", "shisa")]
    assert {gene["name"] for gene in search["genes"]} == {
        f"{kind}/{group}" for kind in kinds for group in groups
    }
    assert {(gene["low"], gene["high"], gene["start"]) for gene in search["genes"]} == {(0, 1, 0.5)}
    assert search["settings"]["sigma"] == pytest.approx(1 / 6)
    assert summary["memory"]["live_bytes"] == 2 * sum(map(math.prod, llava_next_shapes().values()))
    assert summary["first_recipe"]["frame"] == LLAVA
    assert hub.n_sent(".safetensors") < 3_000_000


@pytest.fixture(scope="module")
def small_hub(tmp_path_factory: pytest.TempPathFactory) -> Generator[Hub]:
    """Tiny models under the names of the paper's."""
    root = tmp_path_factory.mktemp("small-hub")
    build("llava_next", root / LLAVA)
    for seed, name in enumerate((BASE, SHISA), start=1):
        build_text("llava_next", root / name, seed=seed)
    with serve(root) as served:
        yield served


@pytest.mark.slow
def test_commands_of_the_readme_run_in_order(small_hub: Hub, tmp_path: Path) -> None:
    def python() -> None:
        folder = prepared(tmp_path, 12, 4, 8, 4)
        for name in ("run.yaml", "wild.yaml"):
            make_small(folder / name, "<image>\n{question}")

    run_readme("evovlm-jp", small_hub, tmp_path, python=python)
    assert (tmp_path / "evovlm-jp" / "model" / "preprocessor_config.json").is_file()

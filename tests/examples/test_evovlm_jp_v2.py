"""Llama-3-EvoVLM-JP-v2: its run.yaml on models of the real shapes, its README's commands on tiny ones."""

import json
import shutil
from collections.abc import Generator
from pathlib import Path

import pytest
import torch
from safetensors.torch import load_file, save_file

import kingyo
from tests.examples.evovlm_jp import prepare, scenes, several
from tests.examples.runs import dry_run, make_small, run_readme
from tests.hub import Hub, serve
from tests.models.vision_families import build, build_text
from tests.published_headers import bunny, llama_3, mantis

EXAMPLE = "evovlm-jp-v2"
BASE, ELYZA = "meta-llama/Meta-Llama-3-8B-Instruct", "elyza/Llama-3-ELYZA-JP-8B"
BUNNY = "BAAI/Bunny-v1_1-Llama-3-8B-V"


def prepared(folder: Path, n_train: int, n_test: int, validation: int) -> Path:
    data = folder / "data"
    vg, multi = scenes(data / "vg", n_train, 1), several(data / "multi", n_test)
    return prepare(EXAMPLE, folder, vg=vg, multi=multi, validation=validation)


@pytest.mark.slow
def test_the_models_fit_together(tmp_path: Path) -> None:
    llama_3(tmp_path / "hub" / BASE)
    llama_3(tmp_path / "hub" / ELYZA)
    bunny(tmp_path / "hub" / BUNNY)
    mantis(tmp_path / EXAMPLE / "mantis")
    folder = prepared(tmp_path, 9, 4, 3)
    rows = [json.loads(line) for line in (folder / "items.jsonl").read_text().splitlines()]
    assert {len(row["images"]) for row in rows[:9]} == {1, 2}
    assert {len(row["images"]) for row in rows[9:]} == {2}
    assert all((folder / name).is_file() for row in rows for name in row["images"])
    assert all(row["question"].count("<image>") == len(row["images"]) for row in rows)
    shown = {name for row in rows if row["split"] == "fit" for name in row["images"]}
    assert not shown.intersection(name for row in rows if row["split"] != "fit" for name in row["images"])
    with serve(tmp_path / "hub") as hub:
        summary = dry_run(hub, tmp_path, "evolve", folder / "run.yaml")
    assert summary["items"] == {"fit": 6, "validation": 3, "test": 4, "duplicates": 0, "unused": 0}
    search = summary["search"]
    assert (search["strategy"], search["methods"], search["population"]) == ("cma-es", ["dare_ties"], 19)
    assert len(search["genes"]) == 198
    assert summary["first_recipe"]["frame"] == "./mantis"
    assert hub.n_sent(".safetensors") < 3_000_000
    assert not [name for name in hub.sent if name.endswith(".py")]


def test_without_mantis_the_script_names_the_download(tmp_path: Path) -> None:
    with pytest.raises(AssertionError, match="hf download"):
        prepared(tmp_path, 4, 2, 1)


@pytest.fixture(scope="module")
def small_hub(tmp_path_factory: pytest.TempPathFactory) -> Generator[Hub]:
    """Tiny language models under the names of the real ones."""
    root = tmp_path_factory.mktemp("small-hub")
    for seed, name in enumerate((BASE, ELYZA, BUNNY), start=1):
        build_text("llava", root / name, seed=seed)
    with serve(root) as served:
        yield served


@pytest.mark.slow
def test_commands_of_the_readme_run_in_order(small_hub: Hub, tmp_path: Path) -> None:
    mantis = tmp_path / EXAMPLE / "mantis"

    def python() -> None:
        kept = (mantis / "processor_config.json").read_text()
        folder = prepared(tmp_path, 12, 4, 4)
        (mantis / "processor_config.json").write_text(kept)  # the tiny one sees by CLIP
        (mantis / "generation_config.json").unlink()
        make_small(folder / "run.yaml", "{question}")

    run_readme(EXAMPLE, small_hub, tmp_path, hf=lambda: build("llava", mantis), python=python)
    assert (tmp_path / EXAMPLE / "model" / "preprocessor_config.json").is_file()


@pytest.mark.filterwarnings("ignore:models")  # an architecture that transformers does not know
def test_only_the_language_part_of_bunny_is_read(tmp_path: Path) -> None:
    see = build("llava", tmp_path / "see")
    base, plain = (
        build_text("llava", tmp_path / name, seed=seed) for seed, name in enumerate(("base", "plain"))
    )
    inside = tmp_path / "inside"
    shutil.copytree(plain, inside)
    tensors = load_file(inside / "model.safetensors")
    tower = "model.vision_tower.vision_tower.vision_model.encoder.layers"
    sight = {f"{tower}.{n}.self_attn.q_proj.weight": torch.ones(32, 32) for n in range(2)}
    more = {"model.mm_projector.0.weight": torch.ones(32, 32), "model.mm_projector.0.bias": torch.ones(32)}
    save_file({**tensors, **sight, **more}, inside / "model.safetensors")
    config = json.loads((inside / "config.json").read_text())
    own = {"model_type": "bunny-llama", "architectures": ["BunnyLlamaForCausalLM"]}
    (inside / "config.json").write_text(json.dumps({**config, **own}))
    merged = [
        kingyo.merge(
            {
                "merge_method": "task_arithmetic",
                "base_model": str(base),
                "frame": str(see),
                "models": [{"model": str(source), "parameters": {"weight": 0.5}}],
            },
            tmp_path / f"from-{source.name}",
        )
        for source in (plain, inside)
    ]
    one, other = (load_file(folder / "model.safetensors") for folder in merged)
    assert one.keys() == other.keys() and all(torch.equal(one[name], other[name]) for name in one)

"""The zoo that draws and its runs: models fit together, no model learns test captions, and breeding works."""

import json
import random
from pathlib import Path
from typing import Any

import pytest
import torch
from safetensors.torch import load_file, save_file

from tests.cli.conftest import World

pytest.importorskip("diffusers", reason="needs the extra `draw`")

pytestmark = pytest.mark.filterwarnings("ignore:__array__ implementation:DeprecationWarning")
ROOT = Path(__file__).parents[2]
ZOO = ROOT / "zoo" / "pictures"
EXAMPLES = ROOT / "examples" / "pictures"
SCRIPTS = ("captioners", "items", "things")
ITEMS = {"fit": 96, "validation": 128, "test": 480, "duplicates": 0, "unused": 0}
USEFUL = ["ja", "fast"]
USELESS = ["shuffle", "invert"]


@pytest.mark.parametrize(
    ("config", "baselines"),
    [
        ("run", ["base", *USEFUL, *USELESS]),
        ("prints", ["base", *USEFUL, "ukiyoe", *USELESS]),
        pytest.param("two-groups", [*USEFUL, *USELESS], marks=pytest.mark.slow),
        pytest.param("prints-two-groups", [*USEFUL, *USELESS], marks=pytest.mark.slow),
    ],
)
def test_the_models_fit_together(config: str, baselines: list[str], tmp_path: Path) -> None:
    file = str(EXAMPLES / f"{config}.yaml")
    dry_run = World(folder=tmp_path).data("evolve", file, "--run", "run", "--dry-run")
    assert dry_run["items"] == ITEMS
    assert dry_run["baselines"] == [*baselines, "uniform"]


def test_a_dry_run_notes_what_of_a_lora_is_not_merged(tmp_path: Path) -> None:
    weights = load_file(ZOO / "ukiyoe" / "pytorch_lora_weights.safetensors")
    module = "text_encoder.text_model.encoder.layers.0.self_attn.q_proj"
    sides = {f"{module}.lora_A.weight": torch.zeros(4, 64), f"{module}.lora_B.weight": torch.zeros(64, 4)}
    (tmp_path / "lora").mkdir()
    save_file(weights | sides, tmp_path / "lora" / "pytorch_lora_weights.safetensors")
    text = (EXAMPLES / "prints.yaml").read_text(encoding="utf-8").replace("../../zoo", f"{ROOT}/zoo")
    text = text.replace(f"unet+{ZOO}/ukiyoe", f"unet+{tmp_path}/lora")
    (tmp_path / "run.yaml").write_text(text, encoding="utf-8")
    notes = World(folder=tmp_path).data("evolve", "run.yaml", "--dry-run")["notes"]
    assert any("also holds LoRAs of text_encoder, which are not merged" in note for note in notes)


def test_the_zoo_is_small() -> None:
    assert sum(file.stat().st_size for file in ZOO.rglob("*") if file.is_file()) <= 30_000_000


@pytest.mark.parametrize("part", ["vae", "text_encoder", "tokenizer", "scheduler"])
@pytest.mark.parametrize("source", [*USEFUL, *USELESS])
def test_sources_differ_only_in_their_denoiser(source: str, part: str) -> None:
    files = {each.name: each.read_bytes() for each in (ZOO / "base" / part).iterdir()}
    assert files == {each.name: each.read_bytes() for each in (ZOO / source / part).iterdir()}


def test_no_model_learns_a_japanese_caption_of_the_tasks(scripts: dict[str, Any]) -> None:
    captioners, rng = scripts["captioners"], random.Random(0)
    writers = [captioners.for_base, captioners.for_ja, captioners.shuffled]
    asked = {item.caption for split in scripts["items"].SPLITS for item in scripts["items"].items(split)}
    for writer in writers:
        learned = {writer(i, rng) for _ in range(20) for i in range(len(scripts["things"].SCENES))}
        assert not learned & asked
        assert any("背景" in caption for caption in learned), "it writes Japanese at all"


@pytest.mark.parametrize("task", ["pictures", "prints"])
def test_splits_share_no_caption_and_test_no_pair_of_motif_and_colour(task: str) -> None:
    lines = (ZOO / "tasks" / f"{task}-ja.jsonl").read_text(encoding="utf-8").splitlines()
    rows = [json.loads(line) for line in lines]
    captions = {split: {row["prompt"] for row in rows if row["split"] == split} for split in ITEMS}
    assert not captions["fit"] & captions["validation"]
    pairs = [
        {(row["motif"], row["colour"]) for row in rows if row["split"] == name} for name in ("fit", "test")
    ]
    assert not pairs[0] & pairs[1]
    assert len({row["seed"] for row in rows}) == len(rows)


@pytest.mark.slow
@pytest.mark.parametrize("config", ["run", "prints"])
def test_the_bred_model_draws_what_no_parent_does(config: str, tmp_path: Path) -> None:
    summary = World(folder=tmp_path).data("evolve", EXAMPLES / f"{config}.yaml", "--run", "run")
    parents = [each["test"]["score"] for each in summary["baselines"].values()]
    assert summary["winner"]["test"]["score"] >= max(parents) + 0.25

"""`kingyo merge` of models on the Hub: incompatible models fail before their weights are downloaded."""

import json
import os
import subprocess
import sys
from collections.abc import Generator
from pathlib import Path

import pytest
import torch
import yaml
from safetensors.torch import load_file, save_file

from tests.hub import COMMIT, Hub, serve
from tests.models_on_disk import fine_tuned, llama

RECIPE: dict[str, object] = {
    "merge_method": "task_arithmetic",
    "base_model": "org/base",
    "models": [{"model": "org/tuned", "parameters": {"weight": 0.5}}],
}


@pytest.fixture
def hub(tmp_path: Path) -> Generator[Hub]:
    """A base, a fine-tune with a header longer than one request, and a model of a different width."""
    root = tmp_path / "hub"
    base = llama(root / "org" / "base", hidden=128)
    tuned = fine_tuned(base, root / "org" / "tuned", seed=1)
    weights = tuned / "model.safetensors"
    save_file(load_file(weights), weights, metadata={"format": "pt", "note": "long " * 40_000})
    llama(root / "org" / "narrow", hidden=64)
    with serve(root) as served:
        yield served


def merge(
    hub: Hub, tmp_path: Path, recipe: dict[str, object], *more: str
) -> subprocess.CompletedProcess[str]:
    (tmp_path / "recipe.yaml").write_text(yaml.safe_dump(recipe))
    return subprocess.run(
        [sys.executable, "-m", "kingyo", "merge", "recipe.yaml", "out", *more],
        cwd=tmp_path,
        env=os.environ | hub.environment(tmp_path / "home"),
        capture_output=True,
        text=True,
        check=False,
    )


def n_bytes(hub: Hub, *models: str) -> int:
    return sum(hub.files(f"org/{model}")["model.safetensors"].stat().st_size for model in models)


def test_a_dry_run_reads_headers_and_the_merge_fetches_the_rest(hub: Hub, tmp_path: Path) -> None:
    done = merge(hub, tmp_path, RECIPE, "--dry-run", "--json")
    assert done.returncode == 0, done.stderr
    summary = json.loads(done.stdout)
    notes = [each for each in summary["notes"] if "headers alone" in each["received"]]
    assert {each["argument"] for each in notes} == {"org/base", "org/tuned"}
    assert 200_000 < hub.n_sent("tuned/model.safetensors") < 400_000
    assert hub.n_sent("base/model.safetensors") <= 1 << 17
    assert COMMIT[:7] in merge(hub, tmp_path, RECIPE, "--dry-run").stdout

    hub.sent.clear()
    done = merge(hub, tmp_path, RECIPE)
    assert done.returncode == 0, done.stderr
    assert hub.n_sent("model.safetensors") >= n_bytes(hub, "base", "tuned")
    local = RECIPE | {"base_model": "hub/org/base", "models": [{"model": "hub/org/tuned"}]}
    local["parameters"] = {"weight": 0.5}
    fetched = load_file(tmp_path / "out" / "model.safetensors")
    assert merge(hub, tmp_path, local, "--force").returncode == 0
    expected = load_file(tmp_path / "out" / "model.safetensors")
    assert all(torch.equal(tensor, expected[name]) for name, tensor in fetched.items())

    hub.sent.clear()
    done = merge(hub, tmp_path, RECIPE, "--force", "--dry-run")
    assert done.returncode == 0 and "headers alone" not in done.stdout
    assert not hub.n_sent("model.safetensors")


def test_headers_are_read_of_a_hub_without_ranges(hub: Hub, tmp_path: Path) -> None:
    expected = json.loads(merge(hub, tmp_path, RECIPE, "--dry-run", "--json").stdout)
    hub.ranges = False
    done = merge(hub, tmp_path, RECIPE, "--dry-run", "--json")
    assert done.returncode == 0, done.stderr
    assert json.loads(done.stdout)["targets"] == expected["targets"]


def test_what_cannot_be_merged_is_not_fetched(hub: Hub, tmp_path: Path) -> None:
    misfit = RECIPE | {"models": [{"model": "org/narrow", "parameters": {"weight": 0.5}}]}
    done = merge(hub, tmp_path, misfit)
    assert done.returncode == 1 and "Traceback" not in done.stderr
    assert "[64, 64]" in done.stderr and "128" in done.stderr
    assert hub.n_sent("model.safetensors") < n_bytes(hub, "base", "narrow") / 2
    assert not (tmp_path / "out").exists()


def test_without_a_network_the_cache_serves(hub: Hub, tmp_path: Path) -> None:
    assert merge(hub, tmp_path, RECIPE).returncode == 0
    gone = Hub(hub.root, "http://127.0.0.1:9")
    done = merge(gone, tmp_path, RECIPE, "--force")
    assert done.returncode == 0, done.stderr

"""Runs whose sources are diffusion models in one file, beside one in diffusers' layout."""

import json
import shutil
import subprocess
import sys
from pathlib import Path

import pytest
import torch
from safetensors.torch import load_file

from kingyo.core.types import SPLITS
from kingyo.merging.checkpoints import open_checkpoint
from kingyo.merging.engine import MergeOptions
from kingyo.merging.engine.preflight import check_merge, write
from tests.hub import serve
from tests.runs.painters import ENV, kingyo, succeeds, write_run
from tests.slow import slow
from tests.tiny_pipelines import stable_diffusion

pytest.importorskip("diffusers")

WEIGHTS = "diffusion_pytorch_model.safetensors"


@pytest.fixture
def folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A run of ``a/unet`` and ``b.safetensors``; ``b`` has the same model as folders."""
    monkeypatch.syspath_prepend(tmp_path)
    monkeypatch.delitem(sys.modules, "painter", raising=False)
    for seed, name in enumerate("ab"):
        stable_diffusion(tmp_path / name, seed)
    (tmp_path / "recipe.yaml").write_text("merge_method: passthrough\nmodels: [{model: b/unet}]\n")
    options = MergeOptions(pipeline=True, single_file=True)
    preflight = check_merge(tmp_path / "recipe.yaml", tmp_path / "out-b", options)
    (write(preflight, preflight.outputs[0]) / "out-b.safetensors").rename(tmp_path / "b.safetensors")
    return write_run(tmp_path, "a/unet", "b.safetensors")


def scores(folder: Path, run: str) -> dict[str, object]:
    """Return the scores of the winner and the baselines of a run, by split."""
    done = succeeds(folder, "show", run, "--json")
    shown = json.loads(done.stdout)
    return {"winner": {split: shown["winner"][split] for split in SPLITS}, **shown["baselines"]}


@pytest.mark.parametrize("first", ["b", *slow("a")])
def test_a_file_scores_and_exports_like_its_pipeline(folder: Path, first: str) -> None:
    """The file is a source, or (``b`` first) the model whose shape the live model has."""
    sources = {"a": "a/unet", "b": "b.safetensors"}
    names = (first, "b" if first == "a" else "a")
    write_run(folder, *(sources[name] for name in names))
    succeeds(folder, "evolve", "run.yaml", "--run", "files")
    write_run(folder, *(f"{name}/unet" for name in names))
    succeeds(folder, "evolve", "run.yaml", "--run", "folders")
    assert scores(folder, "files") == scores(folder, "folders")
    succeeds(folder, "export", "files", "out", "--single-file", "--search", "main")
    succeeds(folder, "export", "folders", "same", "--search", "main")
    expected = load_file(folder / "same/unet" / WEIGHTS)
    own = open_checkpoint("a/unet", folder)
    written = open_checkpoint("out/out.safetensors", folder, among=[own])
    for name, tensor in expected.items():
        assert torch.equal(written.read(name), tensor)


def test_commands_on_single_files(folder: Path) -> None:
    """diff needs no config; evaluate needs a pipeline around the denoiser."""
    succeeds(folder, "diff", "b.safetensors", "a/unet", "--json")
    succeeds(folder, "diff", "b.safetensors", "b.safetensors", "--json")
    done = kingyo(folder, "evaluate", "b.safetensors", "run.yaml")
    assert done.returncode == 1
    assert done.stderr.startswith("Error: b.safetensors: expected a model in diffusers' layout")
    assert "Traceback" not in done.stderr


def test_a_run_of_single_files_alone_is_one_clear_error_offline(folder: Path) -> None:
    write_run(folder, "b.safetensors", "b.safetensors")
    done = kingyo(folder, "evolve", "run.yaml", "--run", "run")
    assert done.returncode == 1
    assert "expected a model in diffusers' layout beside it" in " ".join(done.stderr.split())
    assert not (folder / "run").exists()


@pytest.mark.slow
def test_config_and_pipeline_come_from_the_hub_if_no_model_has_them(folder: Path) -> None:
    """They must fit the file."""
    home = folder / "hub/stable-diffusion-v1-5"
    home.mkdir(parents=True)
    (folder / "a").rename(home / "stable-diffusion-v1-5")
    (folder / "recipe.yaml").write_text("merge_method: passthrough\nmodels: [{model: b.safetensors}]\n")
    with serve(folder / "hub") as hub:
        environment = {**ENV, **hub.environment(folder / "home")}
        command = [sys.executable, "-m", "kingyo", "merge", "recipe.yaml"]

        def run(*words: str) -> subprocess.CompletedProcess[str]:
            return subprocess.run(
                [*command, *words], cwd=folder, env=environment, capture_output=True, text=True, check=False
            )

        assert run("alone").returncode == 0
        assert not any(file.endswith(".safetensors") for file in hub.sent)
        assert run("out", "--pipeline").returncode == 0
        config = home / "stable-diffusion-v1-5/unet/config.json"
        config.write_text(config.read_text().replace('"layers_per_block": 2', '"layers_per_block": 1'))
        shutil.rmtree(folder / "home")
        done = run("other")
        assert done.returncode == 1 and "a model with other tensors" in " ".join(done.stderr.split())
    for out in ("alone", "out/unet"):
        assert torch.equal(
            load_file(folder / out / WEIGHTS)["conv_in.weight"],
            load_file(folder / "b/unet" / WEIGHTS)["conv_in.weight"],
        )
    assert (folder / "out/vae" / WEIGHTS).is_file()

"""Runs whose sources are diffusion models in one file, beside one in diffusers' layout."""

from __future__ import annotations

import json
import os
import shutil
import subprocess
import sys
from pathlib import Path

import pytest
import torch
import yaml
from safetensors.torch import load_file, save_file

from kingyo.checkpoints import open_checkpoint
from kingyo.engine import MergeOptions
from kingyo.engine.options import MergeRequest
from kingyo.engine.preflight import check_merge
from kingyo.engine.write import write
from kingyo.types import SPLITS
from tests.cli.forked import run_forked
from tests.hub import serve
from tests.tiny_pipelines import stable_diffusion

pytest.importorskip("diffusers")
ENV = {**os.environ, "COLUMNS": "110", "OMP_NUM_THREADS": "1", "HF_HUB_OFFLINE": "1"}
WEIGHTS = "diffusion_pytorch_model.safetensors"
KIND = '''
from typing import Protocol

from kingyo.models.kinds import CardPart


class Weighs(Protocol):
    """A model that weighs a text."""

    def weigh(self, prompt): ...


class LiveScale:
    dtype = "float32"

    def __init__(self, weights):
        self.weights = weights

    def weigh(self, prompt):
        return float(self.weights["conv_in.bias"][len(prompt) % 8])


class Scale:
    name = "scale"
    provides = (Weighs,)
    libraries = ()
    card = CardPart(pipeline_tag="text-to-image", auto_class="DiffusionPipeline", scored="a weight")
    around = ("text_encoder", "vae")

    def takes(self, config, pipeline):
        return pipeline.get("_class_name") == "StableDiffusionPipeline"

    def load(self, path, options):
        from safetensors.torch import load_file

        assert (path.parent / "vae/config.json").is_file()
        return LiveScale(load_file(path / "diffusion_pytorch_model.safetensors"))

    def reader(self, path): ...

    def memory(self, path, config, load): ...

    def usage(self, example, options):
        return "print('.')"


SCALE = Scale()
'''
TASK = """
from dataclasses import dataclass

from kingyo.types import Item, ItemScore


class Weights:
    @dataclass(frozen=True)
    class Settings:
        prompt: str = "prompt"

    @staticmethod
    def read_item(row, settings):
        return Item(id="", prompt=row.texts()[settings.prompt], answer="")

    def __init__(self, name, settings, splits, folder):
        from scale import Weighs

        self.name, self.needs, self._splits = name, Weighs, splits

    def items(self, split):
        return self._splits[split]

    def score(self, model, items):
        return [ItemScore(each.id, 1 / (1 + abs(model.weigh(each.prompt))), "") for each in items]
"""


def kingyo(folder: Path, *words: str) -> subprocess.CompletedProcess[str]:
    return run_forked(words, folder, ENV)


@pytest.fixture
def folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A run of ``a/unet`` and ``b.safetensors``; ``b`` has the same model as folders."""
    monkeypatch.syspath_prepend(tmp_path)
    monkeypatch.delitem(sys.modules, "scale", raising=False)
    for seed, name in enumerate("ab"):
        stable_diffusion(tmp_path / name, seed)
    (tmp_path / "recipe.yaml").write_text("merge_method: passthrough\nmodels: [{model: b/unet}]\n")
    options = MergeOptions(pipeline=True, single_file=True)
    preflight = check_merge(
        MergeRequest(recipe=tmp_path / "recipe.yaml", out=tmp_path / "out-b", options=options)
    )
    (write(preflight, preflight.outputs[0]) / "out-b.safetensors").rename(tmp_path / "b.safetensors")
    (tmp_path / "scale.py").write_text(KIND)
    (tmp_path / "weights.py").write_text(TASK)
    rows = [{"prompt": "a cat"[: i % 5] + "s" * i} for i in range(12)]
    (tmp_path / "rows.jsonl").write_text("".join(json.dumps(row) + "\n" for row in rows))
    write_run(tmp_path, "a/unet", "b.safetensors")
    return tmp_path


def write_run(folder: Path, *sources: str) -> None:
    config = {
        "kind": "scale.py:SCALE",
        "sources": dict(zip("ab", sources, strict=True)),
        "task": {"kind": "weights.py:Weights", "data": "rows.jsonl"},
        "merge": {"method": "linear", "parameters": {"weight": {"from": 0, "to": 1}}},
        "search": {"strategy": "random"},
        "budget": {"candidates": 3},
    }
    (folder / "run.yaml").write_text(yaml.safe_dump(config))


def scores(folder: Path, run: str) -> dict[str, object]:
    """Return the scores of the winner and the baselines of a run, by split."""
    done = kingyo(folder, "show", run, "--json")
    assert done.returncode == 0, done.stderr
    shown = json.loads(done.stdout)
    return {"winner": {split: shown["winner"][split] for split in SPLITS}, **shown["baselines"]}


@pytest.mark.parametrize("first", [pytest.param("a", marks=pytest.mark.slow), "b"])
def test_a_file_scores_and_exports_like_its_pipeline(folder: Path, first: str) -> None:
    """The file is a source, or (``b`` first) the model whose shape the live model has."""
    sources = {"a": "a/unet", "b": "b.safetensors"}
    names = (first, "b" if first == "a" else "a")
    write_run(folder, *(sources[name] for name in names))
    done = kingyo(folder, "evolve", "run.yaml", "--run", "files")
    assert done.returncode == 0, done.stderr
    write_run(folder, *(f"{name}/unet" for name in names))
    assert kingyo(folder, "evolve", "run.yaml", "--run", "folders").returncode == 0
    assert scores(folder, "files") == scores(folder, "folders")
    done = kingyo(folder, "export", "files", "out", "--single-file", "--search", "main")
    assert done.returncode == 0, done.stderr
    assert kingyo(folder, "export", "folders", "same", "--search", "main").returncode == 0
    expected = load_file(folder / "same/unet" / WEIGHTS)
    own = open_checkpoint("a/unet", folder)
    written = open_checkpoint("out/out.safetensors", folder, among=[own])
    for name, tensor in expected.items():
        assert torch.equal(written.read(name), tensor)


def test_resume_notices_a_changed_file(folder: Path) -> None:
    assert kingyo(folder, "evolve", "run.yaml", "--run", "run").returncode == 0
    assert kingyo(folder, "resume", "run").returncode == 0
    tensors = load_file(folder / "b.safetensors")
    tensors["model.diffusion_model.out.2.bias"][0] += 1
    save_file(tensors, folder / "b.safetensors")
    done = kingyo(folder, "resume", "run")
    assert done.returncode == 1
    assert "model b.safetensors: expected the weights" in done.stderr


def test_commands_on_single_files(folder: Path) -> None:
    """diff needs no config; evaluate needs a pipeline around the denoiser."""
    done = kingyo(folder, "diff", "b.safetensors", "a/unet", "--json")
    assert done.returncode == 0, done.stderr
    alone = kingyo(folder, "diff", "b.safetensors", "b.safetensors", "--json")
    assert alone.returncode == 0, alone.stderr
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

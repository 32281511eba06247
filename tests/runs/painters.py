"""A kind of model that is the denoiser of a pipeline of diffusers, and runs of it.

It reads one tensor of the denoiser and one of the text encoder, so pipelines of any size draw at once.
"""

import json
import os
import subprocess
from pathlib import Path

import yaml

from tests.cli.forked import run_forked

ENV = {**os.environ, "COLUMNS": "110", "OMP_NUM_THREADS": "1", "HF_HUB_OFFLINE": "1"}
KIND = '''
from typing import Protocol

from kingyo.errors import KingyoError
from kingyo.models.kinds import CardPart


class Draws(Protocol):
    """A model that draws what a text says."""

    def draw(self, prompts): ...


class LivePainter:
    def __init__(self, weights, words):
        self.weights, self.words, self.dtype = weights, words, "float32"

    def draw(self, prompts):
        numbers = self.weights[min(self.weights)].flatten()
        return [float(numbers[len(each) % len(numbers)] * self.words[len(each)]) for each in prompts]


class Painter:
    name = "painter"
    provides = (Draws,)
    libraries = ()
    card = CardPart(
        pipeline_tag="text-to-image",
        auto_class="DiffusionPipeline",
        scored="a picture of each prompt",
        library="diffusers",
    )
    around = ("text_encoder*", "scheduler")

    def takes(self, config, pipeline):
        is_text_to_image = pipeline.get("_class_name") == "StableDiffusionPipeline"
        return is_text_to_image and config.get("_class_name") == "UNet2DConditionModel"

    def load(self, path, options):
        from safetensors.torch import load_file

        own = path / "diffusion_pytorch_model.safetensors"
        words = path.parent / "text_encoder" / "model.safetensors"
        for file in (own, words):
            if not file.is_file():
                raise KingyoError(str(file), expected="a file", received="none", remedy="Complete it.")
        encoder = load_file(words)
        return LivePainter(load_file(own), encoder[min(encoder)].flatten())

    def validate(self, path, questions):
        assert (path.parent / "scheduler" / "scheduler_config.json").is_file()
        return []

    def pipeline_files(self, path, options):
        return {}

    def memory(self, path, config, load):
        return None

    def usage(self, example, options):
        return (
            "from diffusers import DiffusionPipeline\\n\\n"
            f"print(DiffusionPipeline.from_pretrained('.')({example.prompt!r}).images[0])\\n"
        )


PAINTER = Painter()
'''
TASK = """
from dataclasses import dataclass

from kingyo.core.types import Item, ItemScore


class Sketches:
    @dataclass(frozen=True)
    class Settings:
        prompt: str = "prompt"

    @staticmethod
    def read_item(row, settings):
        return Item(id="", prompt=row.texts()[settings.prompt], answer="")

    def __init__(self, name, settings, splits, folder):
        from painter import Draws

        self.name, self.needs, self._splits = name, Draws, splits

    def items(self, split):
        return self._splits[split]

    def score(self, model, items):
        drawn = model.draw([item.prompt for item in items])
        return [ItemScore(item.id, 1 / (1 + abs(each)), str(each)) for item, each in zip(items, drawn)]
"""


def write_run(folder: Path, *sources: str) -> Path:
    """Write a run.yaml of such models, with the kind and the task in files."""
    (folder / "painter.py").write_text(KIND)
    (folder / "sketches.py").write_text(TASK)
    rows = [{"prompt": "a cat"[: i % 5] + "s" * i} for i in range(12)]
    (folder / "rows.jsonl").write_text("".join(json.dumps(row) + "\n" for row in rows))
    config = {
        "kind": "painter.py:PAINTER",
        "sources": dict(zip("ab", sources, strict=True)),
        "task": {"kind": "sketches.py:Sketches", "data": "rows.jsonl"},
        "merge": {"method": "linear", "parameters": {"weight": {"from": 0, "to": 1}}},
        "search": {"strategy": "random"},
        "budget": {"candidates": 3},
    }
    (folder / "run.yaml").write_text(yaml.safe_dump(config))
    return folder


def kingyo(folder: Path, *words: str) -> subprocess.CompletedProcess[str]:
    return run_forked(words, folder, ENV)


def succeeds(folder: Path, *words: str) -> subprocess.CompletedProcess[str]:
    done = kingyo(folder, *words)
    assert done.returncode == 0, (words, done.stderr)
    return done

"""Runs whose pictures are judged by models and folders: measures, changed judges, and exports."""

import json
import os
import shutil
from pathlib import Path

import pytest
import torch
import yaml
from safetensors.torch import save_file

from kingyo.runs.config_file import load_config
from kingyo.runs.provenance import changed_files, user_code
from tests.cli.conftest import World
from tests.tiny_judges import clip, folder_of, picture

NET = "−KID (net)"
KIND = '''
import json
from hashlib import sha256
from io import BytesIO

import numpy as np

from kingyo.models.kinds import CardPart
from kingyo.core.types import DrawsImages, Media


class LivePainter:
    """Draws pictures of one colour with noise."""

    def __init__(self, weights):
        self.weights, self.dtype = weights, "float32"

    def draw(self, prompts, drawing):
        return [self._one(each) for each in prompts]

    def _one(self, prompt):
        from PIL import Image

        noise = np.random.default_rng(prompt.seed).normal(size=(8, 8, 3))
        colour = self.weights["colour"].double().numpy()
        pixels = np.clip(colour + 30 * noise + 5 * len(prompt.text), 0, 255).astype(np.uint8)
        stream = BytesIO()
        Image.fromarray(pixels).save(stream, "PNG")
        content = stream.getvalue()
        return Media(sha256=sha256(content).hexdigest(), type="image/png", content=content)


class Painter:
    """Painters of one colour."""

    name = "painter"
    provides = (DrawsImages,)
    libraries = ()
    card = CardPart(pipeline_tag="text-to-image", auto_class="Painter", scored="a picture", library="painter")

    def takes(self, config, pipeline):
        return config.get("model_type") == "painter"

    def load(self, path, options):
        from safetensors.torch import load_file

        return LivePainter(load_file(path / "model.safetensors"))

    def validate(self, path, questions):
        return []

    def memory(self, path, config, load):
        return None

    def usage(self, example, options):
        return "print('a painter')\\n"


PAINTER = Painter()
'''
PAINTERS = {"a": (180.0, 30.0, 30.0), "b": (30.0, 30.0, 180.0)}


def write_run(folder: Path, **task: object) -> None:
    """Write painters, judges, references and a run.yaml."""
    (folder / "painter.py").write_text(KIND)
    for name, colour in PAINTERS.items():
        (folder / name).mkdir()
        save_file({"colour": torch.tensor(colour)}, folder / name / "model.safetensors")
        (folder / name / "config.json").write_text('{"model_type": "painter"}')
    clip(folder / "judges/net")
    folder_of(folder / "prints", [picture((90 + n, 30, 90)) for n in range(6)])
    rows = [{"prompt": chr(97 + n) * (1 + n % 4), "seed": n} for n in range(24)]
    (folder / "tasks").mkdir()
    (folder / "tasks/rows.jsonl").write_text("".join(json.dumps(row) + "\n" for row in rows))
    keys = {
        "kind": "draw",
        "data": "rows.jsonl",
        "seed": "seed",
        "grader": [
            {"clip": {"model": "../judges/net", "score": "preference", "par": 0}},
            {"style": {"folder": "../prints", "features": "../judges/net", "low": -1}},
        ],
        "references": {"folder": "../prints", "features": "../judges/net"},
        "splits": {"fit": 8, "validation": 8, "test": 8},
        **task,
    }
    (folder / "tasks/paint.yaml").write_text(yaml.safe_dump(keys))
    config = {
        "kind": "painter.py:PAINTER",
        "sources": {name: name for name in PAINTERS},
        "task": "tasks/paint.yaml",
        "merge": {"method": "linear", "parameters": {"weight": {"from": 0, "to": 1}}},
        "search": {"strategy": "random"},
        "budget": {"candidates": 4},
    }
    (folder / "run.yaml").write_text(yaml.safe_dump(config))


@pytest.mark.slow
def test_measures_judges_and_exports(tmp_path: Path) -> None:
    write_run(tmp_path)
    world = World(folder=tmp_path)
    leader = world.data("evolve", "run.yaml", "--run", "run")["leader"]
    measures = {(each["measure"], each["split"]): each for each in leader["set_measures"]}
    titles = [NET, "−FID (net)"]
    assert list(measures) == [(name, split) for split in ("validation", "test") for name in titles]
    assert all(each["n"] == 8 and each["low"] <= each["high"] for each in measures.values())
    assert measures["−FID (net)", "test"]["value"] < 0

    weights = tmp_path / "judges/net/model.safetensors"
    before = weights.read_bytes()
    weights.write_bytes(before[:-1] + b"?")
    refused = world.fails("resume", "run", says="Error: judges/net: expected")
    assert "--rescore" in refused.stderr
    weights.write_bytes(before)

    out = tmp_path / "elsewhere/out"
    world.ok("export", "run", out, "--trial", "0")
    exported = yaml.safe_load((out / "task.yaml").read_text())
    assert exported["references"]["folder"] == "graders/prints"
    assert exported["references"]["features"] == exported["grader"][0]["clip"]["model"] == "graders/net"
    for name in ("judges", "prints"):
        shutil.rmtree(tmp_path / name)
    scored = world.data("evaluate", out, out / "task.yaml", "--kind", "painter.py:PAINTER")
    assert scored["score"] == leader["test"]["score"]


def test_files_of_graders_are_hashed_by_what_is_in_them(tmp_path: Path) -> None:
    write_run(tmp_path)
    config = load_config(tmp_path / "run.yaml")
    before = user_code(config, tmp_path)
    assert {"judges/net", "prints", "painter.py"} == before.keys()
    (tmp_path / "judges/net/README.md").write_text("A card is no part of a judge.")
    (tmp_path / "prints/.DS_Store").write_text("")
    os.utime(tmp_path / "prints/000.png", (1, 1))
    assert user_code(config, tmp_path) == before
    (tmp_path / "prints/000.png").rename(tmp_path / "prints/100.png")
    changed = user_code(config, tmp_path)
    assert {name for name in before if changed[name] != before[name]} == {"prints"}
    shutil.rmtree(tmp_path / "prints")
    assert changed_files(before, user_code(config, tmp_path, before)).keys() == {"prints"}


@pytest.mark.parametrize(
    ("changes", "argument"),
    [
        ({"measure": "kidd"}, "measure"),
        ({"references": {"folder": "../none"}}, "references.folder"),
    ],
)
def test_wrong_references_are_found_before_a_run(
    changes: dict[str, object], argument: str, tmp_path: Path
) -> None:
    write_run(tmp_path, **changes)
    World(folder=tmp_path).fails("evolve", "run.yaml", "--run", "run", says=argument)
    assert not (tmp_path / "run").exists()


def test_a_large_judge_is_not_copied(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    from kingyo.export import task_files

    monkeypatch.setattr(task_files, "MOST_COPIED", 1000)
    clip(tmp_path / "judges/net")
    files = task_files.GraderFiles(tmp_path, tmp_path / "out")
    assert files.place("judges/net") == "../judges/net" and files.files == {}
    for folder in ("one", "two"):
        (tmp_path / folder).mkdir()
        (tmp_path / folder / "head.safetensors").write_text(folder)
    names = [files.place(f"{folder}/head.safetensors") for folder in ("one", "two", "one")]
    assert names == ["graders/head.safetensors", "graders/2-head.safetensors", "graders/head.safetensors"]
    assert files.files[names[1]] == b"two"

"""A kind of model that is a component of a pipeline of diffusers, with others around it."""

import json
import shutil
import subprocess
import sys
from collections.abc import Generator
from pathlib import Path

import pytest
import torch
import yaml
from safetensors.torch import load_file, save_file

from kingyo.models.kinds import MODEL_KINDS
from kingyo.runs.config_file import load_config
from kingyo.runs.run import Run
from kingyo.store import RunStore
from kingyo.testing.kinds import ModelKindContract
from tests.hub import Hub, serve
from tests.runs.painters import ENV, KIND, kingyo, succeeds, write_run

WEIGHTS, PICTURES = "unet/diffusion_pytorch_model.safetensors", "vae/diffusion_pytorch_model.safetensors"
INDEX = {
    "_class_name": "StableDiffusionPipeline",
    "unet": ["diffusers", "UNet2DConditionModel"],
    "text_encoder": ["transformers", "CLIPTextModel"],
    "scheduler": ["diffusers", "PNDMScheduler"],
    "vae": ["diffusers", "AutoencoderKL"],
    "safety_checker": [None, None],
}


def pipeline(folder: Path, seed: int) -> Path:
    """Write a pipeline as diffusers does, with weights that the kind above computes with."""
    generator = torch.Generator().manual_seed(seed)
    models = {
        "unet": ("diffusion_pytorch_model", "conv.weight", {"_class_name": "UNet2DConditionModel"}),
        "text_encoder": (
            "model",
            "words",
            {"architectures": ["CLIPTextModel"], "model_type": "clip_text_model"},
        ),
        "vae": ("diffusion_pytorch_model", "decoder.weight", {"_class_name": "AutoencoderKL"}),
    }
    for name, (stem, tensor, config) in models.items():
        (folder / name).mkdir(parents=True)
        (folder / name / "config.json").write_text(json.dumps(config))
        shape = (30, 4) if name == "text_encoder" else (4, 4)
        tensors = {tensor: torch.randn(shape, generator=generator)}
        save_file(tensors, folder / name / f"{stem}.safetensors", metadata={"format": "pt"})
    (folder / "scheduler").mkdir()
    (folder / "scheduler" / "scheduler_config.json").write_text("{}")
    (folder / "model_index.json").write_text(json.dumps(INDEX))
    (folder / "README.md").write_text("---\nlicense: openrail++\n---\n\nA pipeline.\n")
    (folder / "LICENSE.md").write_text("OpenRAIL")
    return folder


@pytest.fixture
def folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.syspath_prepend(tmp_path)
    monkeypatch.delitem(sys.modules, "painter", raising=False)
    for seed, name in enumerate("ab"):
        pipeline(tmp_path / name, seed)
    return write_run(tmp_path, "a/unet", "b/unet")


def files(folder: Path) -> set[str]:
    return {str(path.relative_to(folder)) for path in folder.rglob("*") if path.is_file()}


class TestPainter(ModelKindContract):
    def make(self):
        return MODEL_KINDS.get("painter.py:PAINTER", self.home)

    @pytest.fixture(autouse=True)
    def _home(self, tmp_path: Path) -> None:
        self.home = tmp_path
        (tmp_path / "painter.py").write_text(KIND)

    def make_checkpoint(self, folder: Path) -> Path:
        return pipeline(folder / "painter", 7) / "unet"

    def ask(self, model) -> object:
        return model.draw(["a cat", "a dog or two"])


def test_what_a_live_model_is_loaded_with_is_part_of_the_run(folder: Path) -> None:
    skeleton = Run.open(load_config(folder / "run.yaml"), folder).models.skeleton
    around = {f"../{each}" for each in ("model_index.json", "LICENSE.md", "scheduler/scheduler_config.json")}
    encoder = {f"../text_encoder/{each}" for each in ("config.json", "model.safetensors")}
    assert set(skeleton.deciding_files()) == around | encoder | {"config.json", Path(WEIGHTS).name}
    succeeds(folder, "evolve", "run.yaml", "--run", "run")
    vae, words = folder / "a" / PICTURES, folder / "a/text_encoder/model.safetensors"
    save_file({"decoder.weight": torch.zeros(4, 4)}, vae)  # the kind does not say that it needs it
    save_file({"words": torch.zeros(30, 4)}, folder / "b/text_encoder/model.safetensors")  # nobody's
    succeeds(folder, "resume", "run")
    before = words.read_bytes()
    save_file({"words": torch.zeros(30, 4)}, words)
    done = kingyo(folder, "resume", "run")
    assert done.returncode == 1 and "model a/unet: expected the weights, config" in done.stderr
    words.write_bytes(before)
    succeeds(folder, "resume", "run")


def test_an_export_is_the_whole_pipeline_and_can_be_scored_again(folder: Path) -> None:
    succeeds(folder, "evolve", "run.yaml", "--run", "run")
    succeeds(folder, "export", "run", "out")
    out, a = folder / "out", folder / "a"
    own_files = {"README.md", "recipe.yaml", "task.yaml", "items.jsonl", "sketches.py"}
    assert files(out) - own_files - files(a) == set() and files(a) <= files(out)
    for name in files(a) - {"README.md", "unet/config.json", WEIGHTS}:
        assert (out / name).read_bytes() == (a / name).read_bytes(), name
        assert not (out / name).samefile(a / name)
    with RunStore.read(folder / "run") as store:
        assert store.fact("status") == "finished"
    assert load_file(out / WEIGHTS).keys() == {"conv.weight"}
    card = (out / "README.md").read_text()
    assert "library_name: diffusers\npipeline_tag: text-to-image\n" in card
    assert "DiffusionPipeline.from_pretrained('.')" in card and "in place of the folder" not in card
    scored = [kingyo(folder, "evaluate", each, "run", "--json") for each in ("out", "out/unet")]
    assert scored[0].returncode == 0, scored[0].stderr
    pipeline_result, component = (json.loads(each.stdout) for each in scored)
    assert (
        pipeline_result.pop("model") == "out"
        and component.pop("model") == "out/unet"
        and pipeline_result == component
    )

    succeeds(folder, "export", "run", "alone", "--no-pipeline")
    assert {"config.json", Path(WEIGHTS).name} <= files(folder / "alone")
    assert not (folder / "alone/vae").exists()
    assert "in place of the folder `unet` in a copy" in (folder / "alone/README.md").read_text()


def test_a_merge_writes_the_pipeline_to_the_output_folder(folder: Path) -> None:
    models = [{"model": each, "parameters": {"weight": 0.5}} for each in "ab"]
    (folder / "recipe.yaml").write_text(yaml.safe_dump({"merge_method": "linear", "models": models}))
    words = ("merge", "recipe.yaml", "--component", "unet")
    assert "tokenizer" not in kingyo(folder, *words, "alone", "--dry-run").stdout
    succeeds(folder, *words, "alone")
    assert files(folder / "alone") == {"README.md", "recipe.yaml", "config.json", Path(WEIGHTS).name}
    for more in ((), ("--force",)):
        succeeds(folder, *words, "whole", "--pipeline", *more)
    assert "DiffusionPipeline.from_pretrained('.')" in (folder / "whole/README.md").read_text()
    assert files(folder / "whole") == files(folder / "a") | {"recipe.yaml"}
    a, b = (load_file(folder / each / WEIGHTS)["conv.weight"] for each in "ab")
    torch.testing.assert_close(load_file(folder / "whole" / WEIGHTS)["conv.weight"], (a + b) / 2)
    succeeds(folder, "evaluate", "whole", "run.yaml")

    shutil.rmtree(folder / "a/vae")
    done = kingyo(folder, *words, "other", "--pipeline", "--dry-run")
    assert done.returncode == 1 and "without vae" in " ".join(done.stdout.split())


@pytest.fixture
def hub(tmp_path: Path) -> Generator[Hub]:
    for seed, name in enumerate("ab"):
        pipeline(tmp_path / "hub/org" / name, seed)
    with serve(tmp_path / "hub") as served:
        yield served


@pytest.mark.slow
def test_from_the_hub_comes_what_the_kind_needs_and_the_rest_for_an_export(hub: Hub, tmp_path: Path) -> None:
    folder = write_run(tmp_path, "org/a/unet", "org/b/unet")
    environment = {**ENV, **hub.environment(tmp_path / "home")}

    def called(*words: str) -> set[str]:
        hub.sent.clear()
        command = [sys.executable, "-m", "kingyo", *words]
        done = subprocess.run(
            command, cwd=folder, env=environment, capture_output=True, text=True, check=False
        )
        assert done.returncode == 0, done.stdout + done.stderr
        return {
            file.removeprefix("org/") for file in hub.sent if file.endswith((".safetensors", "config.json"))
        }

    needed = {"a/text_encoder/model.safetensors", f"a/{WEIGHTS}", f"b/{WEIGHTS}"}
    called("evolve", "run.yaml", "--dry-run")
    assert called("evolve", "run.yaml", "--run", "run") >= needed
    assert not any("vae" in file or file.startswith("b/text") for file in hub.sent)
    assert called("export", "run", "out") == {"a/vae/config.json", f"a/{PICTURES}"}
    assert (folder / "out" / PICTURES).is_file()

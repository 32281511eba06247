"""Folders of many kinds: they are opened, or the error names the reason and an alternative."""

from __future__ import annotations

import json
import shutil
from collections.abc import Callable
from pathlib import Path

import pytest
import torch
from safetensors.torch import load_file, save_file

from kingyo.errors import KingyoError
from kingyo.merging.checkpoints import Checkpoint, open_checkpoint
from tests.merging.checkpoints.architectures import HAS_DIFFUSERS, build
from tests.models_on_disk import llama

Q_PROJ = "model.layers.0.self_attn.q_proj.weight"


def config_with(folder: Path, **keys: object) -> None:
    config = json.loads((folder / "config.json").read_text())
    (folder / "config.json").write_text(json.dumps(config | keys))


def tensors_with(folder: Path, **tensors: torch.Tensor) -> None:
    stored = load_file(folder / "model.safetensors")
    save_file({**stored, **tensors}, folder / "model.safetensors", metadata={"format": "pt"})


@pytest.mark.skipif(not HAS_DIFFUSERS, reason="diffusers is not installed")
def test_a_model_of_diffusers(tmp_path: Path) -> None:
    folder = build("unet", tmp_path / "pipeline" / "unet")
    opened = open_checkpoint("pipeline/unet", tmp_path)
    assert opened.stem == "diffusion_pytorch_model"
    assert opened.config["_class_name"] == "UNet2DConditionModel"
    stored = load_file(folder / "diffusion_pytorch_model.safetensors")
    assert opened.tensors.keys() == stored.keys()
    assert all(torch.equal(opened.read(name), value) for name, value in stored.items())
    # and in shards
    weight_map: dict[str, str] = {}
    for i in range(2):
        file = f"diffusion_pytorch_model-{i + 1:05}-of-00002.safetensors"
        part = {name: stored[name] for name in list(stored)[i::2]}
        save_file(part, folder / file)
        weight_map |= dict.fromkeys(part, file)
    (folder / "diffusion_pytorch_model.safetensors").unlink()
    index = folder / "diffusion_pytorch_model.safetensors.index.json"
    index.write_text(json.dumps({"weight_map": weight_map}))
    assert open_checkpoint("pipeline/unet", tmp_path).tensors.keys() == stored.keys()


def test_a_pipeline_names_its_models(tmp_path: Path) -> None:
    (tmp_path / "model_index.json").write_text("{}")
    for stage, stem in (("unet", "diffusion_pytorch_model"), ("text_encoder", "model")):
        (tmp_path / stage).mkdir()
        save_file({"a": torch.ones(1)}, tmp_path / stage / f"{stem}.safetensors")
    (tmp_path / "scheduler").mkdir()
    with pytest.raises(
        KingyoError,
        match=r"text_encoder, unet.* \S+/unet\b.*--component unet",
    ):
        open_checkpoint(str(tmp_path))
    for stage in ("unet", "text_encoder"):
        shutil.rmtree(tmp_path / stage)
    with pytest.raises(KingyoError, match="without weights in safetensors"):
        open_checkpoint(str(tmp_path))


Damage = Callable[[Path], object]


def move_weights(name: str) -> Damage:
    return lambda folder: (folder / "model.safetensors").rename(folder / name)


def without_config(folder: Path) -> None:
    (folder / "config.json").unlink()


UNFIT: dict[str, tuple[Damage, str]] = {
    "a GGUF": (move_weights("model-q4.gguf"), r"a GGUF \(model-q4\.gguf\)"),
    "a GGUF alone": (lambda f: (without_config(f), move_weights("m.gguf")(f)), r"a GGUF \(m\.gguf\)"),
    "another name": (move_weights("model.fp16.safetensors"), r"Rename model\.fp16\.safetensors"),
    "bitsandbytes": (
        lambda f: config_with(f, quantization_config={"quant_method": "bitsandbytes", "load_in_4bit": True}),
        "m: config.json: .*a quantised model",
    ),
    "an inner part": (
        lambda f: config_with(f, text_config={"quantization_config": {"quant_method": "awq"}}),
        "m: config.json: .*a quantised model",
    ),
    "GPTQ": (
        lambda f: tensors_with(
            f, **{Q_PROJ.replace("weight", "qweight"): torch.ones(2, 2, dtype=torch.int32)}
        ),
        r"q_proj\.qweight: .*a quantised model \(int32\)",
    ),
    "integer weights": (
        lambda f: tensors_with(f, **{Q_PROJ: torch.ones(16, 16, dtype=torch.int8)}),
        r"q_proj\.weight: .*a quantised model \(int8\)",
    ),
    "fp8 with scales": (
        lambda f: tensors_with(f, **{f"{Q_PROJ}_scale_inv": torch.ones(1, 1)}),
        r"weight_scale_inv: .*a quantised model",
    ),
    "no tensors": (lambda f: save_file({}, f / "model.safetensors"), r"model\.safetensors: .*received none"),
}


@pytest.mark.parametrize("what", UNFIT)
def test_unmergeable_folders_are_one_clear_error(tmp_path: Path, what: str) -> None:
    change, message = UNFIT[what]
    change(llama(tmp_path / "m"))
    with pytest.raises(KingyoError, match=f"(?s){message}"):
        open_checkpoint("m", tmp_path)


def test_integer_buffers_are_read(tmp_path: Path) -> None:
    tensors_with(
        llama(tmp_path / "m"), **{"model.position_ids": torch.arange(4)[None], "model.seen": torch.tensor(3)}
    )
    assert open_checkpoint("m", tmp_path).read("model.seen").item() == 3


def test_files_may_be_links(tmp_path: Path) -> None:
    """Links are followed, as in the Hub's cache."""
    folder = llama(tmp_path / "m")
    (tmp_path / "blobs").mkdir()
    for i, file in enumerate(sorted(folder.iterdir())):
        file.rename(tmp_path / "blobs" / f"{i:040}")
        file.symlink_to(tmp_path / "blobs" / f"{i:040}")
    opened: Checkpoint = open_checkpoint("m", tmp_path)
    assert opened.read("model.norm.weight").shape == (16,)


def test_code_of_a_model_is_reported_and_not_run(tmp_path: Path) -> None:
    folder = llama(tmp_path / "m")
    assert not open_checkpoint("m", tmp_path).runs_code
    tokenizer = json.loads((folder / "tokenizer_config.json").read_text())
    (folder / "evil.py").write_text("raise SystemExit('run')")
    (folder / "tokenizer_config.json").write_text(
        json.dumps(tokenizer | {"auto_map": {"AutoTokenizer": "evil.T"}})
    )
    assert open_checkpoint("m", tmp_path).runs_code
    (folder / "tokenizer_config.json").unlink()
    assert not open_checkpoint("m", tmp_path).runs_code
    config_with(folder, text_config={"auto_map": {"AutoConfig": "evil.C"}})
    assert open_checkpoint("m", tmp_path).runs_code

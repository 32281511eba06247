"""Predicted against measured costs of a merge."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path

import pytest
import torch
from safetensors.torch import load_file, save_file

from kingyo.merging.checkpoints import TensorInfo
from kingyo.merging.checkpoints.header import map_bytes, map_tensor
from kingyo.merging.engine import MergeOptions
from kingyo.merging.engine.preflight import check_merge, write
from kingyo.merging.engine.record import estimate, stored_tensors
from tests.merging.engine.preflight.conftest import Ask, Asked
from tests.models_on_disk import fine_tuned


def stored(models: Path, *names: str) -> int:
    """Bytes of weights in the files of models."""
    sizes = 0
    for name in names:
        raw = (models / name / "model.safetensors").read_bytes()
        sizes += len(raw) - 8 - int.from_bytes(raw[:8], "little")
    return sizes


def test_bytes_are_exact(write_request: Ask, models: Path) -> None:
    for most in (5_000_000, 5000):
        checked = check_merge(*write_request(), MergeOptions(max_shard_bytes=most, force=True))
        forecast = estimate(checked)
        assert (
            forecast.read_bytes == stored(models, "base", "source-0", "source-1") and forecast.read_files == 3
        )
        sizes = [file.stat().st_size for file in write(checked, checked.outputs[0]).glob("*.safetensors")]
        assert forecast.written_bytes == sum(sizes) and len(sizes) == len(checked.outputs[0].shards)


@pytest.mark.parametrize("kind", ["book", "inner", "vocabularies", "adapter"])
def test_exactly_these_tensors_are_read(
    write_request: Ask, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, kind: str
) -> None:
    checked = check_merge(*READINGS[kind](write_request, tmp_path))
    assert checked.error is None, checked.error
    mapped: set[TensorInfo] = set()
    for module, read in (("checkpoint", map_tensor), ("adapter", map_tensor), ("checkpoint", map_bytes)):

        def spy(info: TensorInfo, read: Callable[[TensorInfo], object] = read) -> object:
            mapped.add(info)
            return read(info)

        monkeypatch.setattr(f"kingyo.merging.checkpoints.{module}.{read.__name__}", spy)
    plan = checked.outputs[0].plan
    foretold = {info for job in plan.jobs for info in stored_tensors(plan, job)}
    write(checked, checked.outputs[0])
    assert {(info.file, info.start) for info in mapped} == {(info.file, info.start) for info in foretold}
    assert estimate(checked).read_bytes == sum(info.n_bytes for info in foretold)


def book(write_request: Ask, _: Path) -> Asked:
    return write_request(
        "name: first\nmerge_method: linear\nmodels: [{model: source-0}, {model: source-1}]\n"
        "parameters: {weight: 1}\n---\nmerge_method: slerp\nbase_model: first\n"
        "models: [{model: base}]\nparameters: {t: 0.3}\n"
    )


def inner(write_request: Ask, _: Path) -> Asked:
    return write_request(
        "merge_method: passthrough\nbase_model: base\n"
        "path: [{model: bred, layer: 0}, {model: base, layer: 0}]\n"
        "merges: {bred: {merge_method: linear, models: [{model: source-0}, {model: source-1}], "
        "parameters: {weight: 1}}}\n"
    )


def more_words(folder: Path) -> Path:
    """A model of the base with another token, and a row for it."""
    tuned = fine_tuned(folder / "base", folder / "own", seed=9)
    data = json.loads((tuned / "tokenizer.json").read_text())
    data["model"]["vocab"]["dog"] = 64
    (tuned / "tokenizer.json").write_text(json.dumps(data))
    weights = load_file(tuned / "model.safetensors")
    for name in ("lm_head.weight", "model.embed_tokens.weight"):
        weights[name] = torch.cat([weights[name], torch.ones(1, 16)])
    save_file(weights, tuned / "model.safetensors", metadata={"format": "pt"})
    config = json.loads((tuned / "config.json").read_text())
    (tuned / "config.json").write_text(json.dumps({**config, "vocab_size": 65}))
    return tuned


def vocabularies(write_request: Ask, folder: Path) -> Asked:
    request = write_request(models=[{"model": "source-0"}, {"model": "own"}], tokenizer_source="union")
    more_words(folder)
    return request


def adapter(write_request: Ask, folder: Path) -> Asked:
    pytest.importorskip("peft")
    from tests.merging.checkpoints.adapters import train

    request = write_request(models=[{"model": "source-0+lora"}, {"model": "source-1"}])
    train(folder / "source-0", folder / "lora", target_modules=["q_proj", "up_proj"])
    return request


READINGS: dict[str, Callable[[Ask, Path], Asked]] = {
    "book": book,
    "inner": inner,
    "vocabularies": vocabularies,
    "adapter": adapter,
}

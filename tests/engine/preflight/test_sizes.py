"""Predicted against measured costs of a merge."""

from __future__ import annotations

import json
import os
import shutil
import subprocess
import sys
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import pytest
import torch
from safetensors.torch import load_file, save_file

from kingyo.checkpoints import TensorInfo
from kingyo.checkpoints.mapped_tensors import map_bytes, map_tensor
from kingyo.engine import MergeOptions
from kingyo.engine.options import MergeRequest
from kingyo.engine.preflight import check_merge, estimate
from kingyo.engine.preflight.sizes import reading_of
from kingyo.engine.write import write
from tests.cli.conftest import command
from tests.engine.preflight.conftest import Ask
from tests.models_on_disk import fine_tuned, qwen2


def stored(models: Path, *names: str) -> int:
    """Bytes of weights in the files of models."""
    sizes = 0
    for name in names:
        raw = (models / name / "model.safetensors").read_bytes()
        sizes += len(raw) - 8 - int.from_bytes(raw[:8], "little")
    return sizes


class TestBytes:
    def test_are_exact(self, write_request: Ask, models: Path) -> None:
        checked = check_merge(write_request())
        expected_sizes = estimate(checked)
        assert (
            expected_sizes.read == stored(models, "base", "source-0", "source-1")
            and expected_sizes.files == 3
        )
        out = write(checked, checked.targets[0])
        assert expected_sizes.written == (out / "model.safetensors").stat().st_size

    def test_are_exact_with_shards(self, write_request: Ask) -> None:
        checked = check_merge(replace(write_request(), options=MergeOptions(max_shard_bytes=5000)))
        out = write(checked, checked.targets[0])
        sizes = [file.stat().st_size for file in out.glob("*.safetensors")]
        assert len(sizes) == len(checked.targets[0].shards) > 3
        assert estimate(checked).written == sum(sizes)

    def test_unread_tensors_do_not_count(self, write_request: Ask, models: Path) -> None:
        slices = [{"sources": [{"model": "source-0", "layer_range": [0, 1]}]}] * 3
        request = write_request(
            merge_method="passthrough", base_model=None, models=None, parameters=None, slices=slices
        )
        expected_sizes = estimate(check_merge(request))
        layer = sum(
            info.n_bytes
            for name, info in layers(models).items()
            if "layers." in name and "layers.0." not in name
        )
        assert expected_sizes.read == stored(models, "source-0") - layer
        assert expected_sizes.written > expected_sizes.read, "one layer is written three times"

    @pytest.mark.parametrize("kind", ["plain", "book", "inner", "vocabularies", "adapter", "sizes"])
    def test_are_those_that_reading_maps(
        self, write_request: Ask, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, kind: str
    ) -> None:
        """Every tensor that is mapped is foretold, and no other."""
        checked = check_merge(READINGS[kind](write_request, tmp_path))
        assert checked.error is None, checked.error
        mapped: set[TensorInfo] = set()

        for module, read in (
            ("checkpoint", map_tensor),
            ("adapter", map_tensor),
            ("checkpoint", map_bytes),
        ):

            def spy(info: TensorInfo, read: Callable[[TensorInfo], object] = read) -> object:
                mapped.add(info)
                return read(info)

            monkeypatch.setattr(f"kingyo.checkpoints.{module}.{read.__name__}", spy)
        plan = checked.targets[0].plan
        foretold = {info for job in plan.jobs for info in reading_of(plan, job).stored}
        write(checked, checked.targets[0])
        assert {(info.file, info.start) for info in mapped} == {(info.file, info.start) for info in foretold}
        assert estimate(checked).read == sum(info.n_bytes for info in foretold)


def book(write_request: Ask, _: Path) -> MergeRequest:
    return write_request(
        "name: first\nmerge_method: linear\nmodels: [{model: source-0}, {model: source-1}]\n"
        "parameters: {weight: 1}\n---\nmerge_method: slerp\nbase_model: first\n"
        "models: [{model: base}]\nparameters: {t: 0.3}\n"
    )


def inner(write_request: Ask, _: Path) -> MergeRequest:
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


def vocabularies(write_request: Ask, folder: Path) -> MergeRequest:
    request = write_request(models=[{"model": "source-0"}, {"model": "own"}], tokenizer_source="union")
    more_words(folder)
    return request


def sizes(write_request: Ask, folder: Path) -> MergeRequest:
    request = write_request(models=[{"model": "source-0"}, {"model": "own"}], resize="pad-vocab")
    more_words(folder)
    return request


def adapter(write_request: Ask, folder: Path) -> MergeRequest:
    pytest.importorskip("peft")
    from tests.checkpoints.adapters import train

    request = write_request(models=[{"model": "source-0+lora"}, {"model": "source-1"}])
    train(folder / "source-0", folder / "lora", target_modules=["q_proj", "up_proj"])
    return request


READINGS: dict[str, Callable[[Ask, Path], MergeRequest]] = {
    "plain": lambda write_request, _: write_request(),
    "book": book,
    "inner": inner,
    "vocabularies": vocabularies,
    "adapter": adapter,
    "sizes": sizes,
}


def layers(models: Path) -> dict[str, TensorInfo]:
    from kingyo.checkpoints import open_checkpoint

    return dict(open_checkpoint("source-0", models).tensors)


MERGE = """
import sys
sys.argv = ["kingyo", "merge", "recipe.yaml", "out"]
from kingyo.cli import main
try:
    main()
finally:
    with open("/proc/self/status") as status:
        print(next(line.split()[1] for line in status if line.startswith("VmHWM")))
"""


@pytest.mark.skipif(not Path("/proc/self/status").exists(), reason="asks Linux for memory")
@pytest.mark.parametrize("method", ["linear", "ties", "tsv"])
def test_predicted_memory_matches_a_real_merge(tmp_path: Path, method: str) -> None:
    """In processes of their own. The embedding is what counts: 33 MB a model, 100 MB of all three."""
    base = qwen2(tmp_path / "base", hidden=256, layers=2)
    weights = load_file(base / "model.safetensors")
    weights["model.embed_tokens.weight"] = torch.randn(32768, 256) * 0.02
    save_file(weights, base / "model.safetensors", metadata={"format": "pt"})
    config = json.loads((base / "config.json").read_text())
    (base / "config.json").write_text(json.dumps({**config, "vocab_size": 32768}))
    for seed in (1, 2):
        fine_tuned(base, tmp_path / f"m{seed}", seed=seed)
    base_model = "" if method == "linear" else "base_model: base\n"
    density = ", density: 0.5" if method == "ties" else ""
    (tmp_path / "recipe.yaml").write_text(
        f"merge_method: {method}\n{base_model}models: [{{model: m1}}, {{model: m2}}]\n"
        f"parameters: {{weight: 0.5{density}}}\n"
    )
    env = {**os.environ, "OMP_NUM_THREADS": "1"}

    def run(*arguments: str) -> str:
        return subprocess.run(
            arguments, cwd=tmp_path, env=env, capture_output=True, text=True, check=True
        ).stdout

    estimated = json.loads(run(*command("merge", "recipe.yaml", "out", "--dry-run", "--json")))["estimate"]
    expected_sizes, peak = (
        estimated["peak_memory_bytes"],
        1024 * int(run(sys.executable, "-c", MERGE).split()[-1]),
    )
    assert 0.7 < expected_sizes / peak < 1.4, (
        f"{expected_sizes / 1e6:.0f} MB told, {peak / 1e6:.0f} MB needed"
    )


def test_room_is_that_of_the_disk_of_the_output(write_request: Ask, tmp_path: Path) -> None:
    free = shutil.disk_usage(tmp_path).free
    assert abs(estimate(check_merge(write_request())).free - free) < 1e9


def test_methods_that_decompose_matrices_hold_more(write_request: Ask) -> None:
    linear, tsv = (
        estimate(check_merge(write_request(merge_method=method, parameters={"weight": 0.5}))).memory
        for method in ("task_arithmetic", "tsv")
    )
    assert tsv["method"] > linear["method"] > 0 and tsv["program"] > linear["program"]
    assert tsv["small tensors"] == linear["small tensors"] > 0

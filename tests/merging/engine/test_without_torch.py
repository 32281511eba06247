"""Merges of files without torch: in a process of their own, with the same bits."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
import torch
import yaml
from safetensors.torch import load_file, save_file

from kingyo.errors import KingyoError
from kingyo.merging.checkpoints import open_checkpoint
from kingyo.merging.engine import MergeOptions, open_sources, plan, to_folder
from kingyo.merging.kernels import Term, WeightedSum
from kingyo.merging.kernels.raw_tensor import RawTensor, as_torch, bytes_of, empty_vector
from kingyo.merging.kernels.statistics import gram, is_finite
from kingyo.merging.kernels.threads import execution
from kingyo.merging.kernels.writing import write
from kingyo.merging.methods import METHODS, describes, takes_base
from kingyo.merging.recipe import Recipe
from tests.models_on_disk import family, fine_tuned
from tests.slow import slow

pytest.importorskip("numba")
DESCRIBED: dict[str, dict[str, object]] = {
    "linear": {"weight": 0.4},
    "task_arithmetic": {"weight": 0.4},
    "slerp": {"t": 0.3},
    "nuslerp": {"weight": 0.4},
    "multislerp": {"weight": 0.4},
    "karcher": {},
    "model_stock": {},
    "passthrough": {},
    "ties": {"weight": 0.4, "density": 0.3},
    "breadcrumbs": {"weight": 0.4, "density": 0.3},
    "breadcrumbs_ties": {"weight": 0.4, "density": 0.3, "rescale": True},
    "dare_linear": {"weight": 0.4, "density": 0.3},
    "dare_ties": {"weight": 0.4, "density": 0.3},
    "della_linear": {"weight": 0.4, "density": 0.3},
    "della": {"weight": 0.4, "density": 0.3},
    "sce": {"select_topk": 0.4},
}
COMMANDS = """
import sys
from kingyo.cli import app
for line in sys.stdin.read().split():
    recipe, out = line.split("|")
    for more in (["--dry-run"], []):
        app(["merge", recipe, out, *more], standalone_mode=False)
        if "torch" in sys.modules:
            sys.exit(f"{recipe} {more} imported torch")
"""


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A base and three sources with tied heads."""
    root = tmp_path_factory.mktemp("models")
    family(root, "qwen2", sources=3, dtype="bfloat16")
    return root


def recipe_of(method: str, **changes: object) -> dict[str, object]:
    method_ = METHODS.get(method)
    models = [f"source-{i}" for i in range(3)][: method_.max_sources or 3]
    base = {"base_model": "base"} if takes_base(method_) else {}
    parameters = DESCRIBED.get(method, {})
    return {
        "merge_method": method,
        "models": [{"model": each} for each in models],
        **base,
        "parameters": parameters,
        **changes,
    }


def test_described_merges_import_no_torch(folder: Path, tmp_path: Path) -> None:
    """Surveys, estimates and merges by all methods that describe; torch gives the same bits."""
    for method in DESCRIBED:
        (folder / f"{method}.yaml").write_text(yaml.safe_dump(recipe_of(method)))
    lines = [f"{folder / method}.yaml|{tmp_path / method}" for method in DESCRIBED]
    done = subprocess.run(
        [sys.executable, "-c", COMMANDS], input="\n".join(lines), text=True, capture_output=True, check=False
    )
    assert done.returncode == 0, done.stderr
    for method in DESCRIBED:
        recipe = Recipe.from_dict(recipe_of(method))
        out = tmp_path / f"{method} by torch"
        to_folder(plan(recipe, open_sources(recipe, folder)), out, options=MergeOptions(compiled=False))
        assert same(out, tmp_path / method), method


def same(one: Path, other: Path) -> bool:
    first, second = (load_file(each / "model.safetensors") for each in (one, other))
    return first.keys() == second.keys() and all(
        torch.equal(first[name].view(torch.int16), second[name].view(torch.int16)) for name in first
    )


def test_all_methods_that_describe_are_tried_here() -> None:
    assert {name for name in METHODS.names() if describes(METHODS.get(name))} == DESCRIBED.keys()


@pytest.mark.parametrize("method", ["linear", "breadcrumbs"])
@pytest.mark.parametrize("dtype", ["float64", *slow("float16")])
def test_dtypes_that_loops_read_and_others(folder: Path, tmp_path: Path, method: str, dtype: str) -> None:
    """One source has another dtype; if loops do not read it, torch does."""
    tuned = fine_tuned(folder / "base", tmp_path / "own", seed=9)
    weights = {
        name: each.to(getattr(torch, dtype)) for name, each in load_file(tuned / "model.safetensors").items()
    }
    save_file(weights, tuned / "model.safetensors", metadata={"format": "pt"})
    chosen = recipe_of(method, models=[{"model": str(tuned)}, {"model": "source-1"}], dtype="bfloat16")
    recipe = Recipe.from_dict(chosen)
    for compiled in (True, False):
        to_folder(
            plan(recipe, open_sources(recipe, folder)),
            tmp_path / str(compiled),
            options=MergeOptions(compiled=compiled),
        )
    assert same(tmp_path / "True", tmp_path / "False")


def test_nan_that_is_allowed_is_written_by_torch(folder: Path, tmp_path: Path) -> None:
    tuned = fine_tuned(folder / "base", tmp_path / "own", seed=9)
    weights = load_file(tuned / "model.safetensors")
    weights["model.norm.weight"][3] = torch.nan
    save_file(weights, tuned / "model.safetensors", metadata={"format": "pt"})
    recipe = Recipe.from_dict(recipe_of("ties", models=[{"model": str(tuned)}, {"model": "source-1"}]))
    for compiled in (True, False):
        options = MergeOptions(allow_nonfinite=True, compiled=compiled)
        planned = plan(recipe, open_sources(recipe, folder))
        to_folder(planned, tmp_path / str(compiled), options=options)
    assert same(tmp_path / "True", tmp_path / "False")
    assert load_file(tmp_path / "True" / "model.safetensors")["model.norm.weight"].isnan().sum() == 1


@pytest.mark.parametrize(("message", "expected"), [("3,2", 3), ("many", None), (None, None)])
def test_threads_without_torch(message: str | None, expected: int | None) -> None:
    code = "from kingyo.merging.kernels.threads import n_threads; import sys; "
    code += "print(n_threads(), 'torch' in sys.modules)"
    variables = {} if message is None else {"OMP_NUM_THREADS": message}
    env = {name: value for name, value in os.environ.items() if name != "OMP_NUM_THREADS"} | variables
    done = subprocess.run([sys.executable, "-c", code], env=env, capture_output=True, text=True, check=True)
    assert done.stdout.split() == [str(expected or len(os.sched_getaffinity(0))), "False"]


def test_a_method_with_a_wrong_return_value_is_named(folder: Path, tmp_path: Path) -> None:
    (tmp_path / "own.py").write_text(
        "from kingyo.merging.methods.linear import Linear\n"
        "class Odd(Linear):\n"
        "    def __call__(self, sources, base, values, context, /):\n"
        "        return sources[0].float().numpy()\n"
        "ODD = Odd()\n"
    )
    recipe = Recipe.from_dict(
        recipe_of("linear", merge_method=f"{tmp_path}/own.py:ODD", parameters={"weight": 1})
    )
    with pytest.raises(KingyoError, match=r"linear: expected a tensor.*; received .* ndarray"):
        to_folder(plan(recipe, open_sources(recipe, folder)), tmp_path / "out")


@pytest.mark.parametrize("compiled", [True, False])
@pytest.mark.parametrize("method", ["linear", "ties"])
def test_floats_of_eight_bits_are_merged(folder: Path, tmp_path: Path, method: str, compiled: bool) -> None:
    tuned = fine_tuned(folder / "base", tmp_path / "own", seed=9)
    weights = {
        name: each.to(torch.float8_e4m3fn) for name, each in load_file(tuned / "model.safetensors").items()
    }
    save_file(weights, tuned / "model.safetensors", metadata={"format": "pt"})
    chosen = recipe_of(method, models=[{"model": str(tuned)}, {"model": "source-1"}], dtype="float32")
    recipe = Recipe.from_dict(chosen)
    opened = open_sources(recipe, folder)
    to_folder(plan(recipe, opened), tmp_path / "out", options=MergeOptions(compiled=compiled))
    name = "model.layers.0.mlp.up_proj.weight"
    merged = load_file(tmp_path / "out" / "model.safetensors")[name]
    assert merged.isfinite().all() and not torch.equal(merged, opened.read("source-1", name).float())
    if method == "linear":
        both = weights[name].float(), opened.read("source-1", name).float()
        assert torch.allclose(merged, (both[0] + both[1]) / 2, atol=1e-6)


class TestRawTensor:
    def test_is_not_used_for_an_unaligned_tensor(self, folder: Path, tmp_path: Path) -> None:
        tuned = fine_tuned(folder / "base", tmp_path / "own", seed=3)
        file = tuned / "model.safetensors"
        raw = file.read_bytes()
        length = int.from_bytes(raw[:8], "little")
        file.write_bytes((length + 1).to_bytes(8, "little") + raw[8 : 8 + length] + b" " + raw[8 + length :])
        model = open_checkpoint(str(tuned))
        assert isinstance(model.read_raw("model.norm.weight"), torch.Tensor)
        with pytest.raises(KingyoError, match="nothing"):
            model.read_raw("nothing")

    def test_is_read_if_loops_support_its_dtype(self, folder: Path) -> None:
        model = open_checkpoint("source-0", folder)
        for name in model.tensors:
            raw = model.read_raw(name)
            assert isinstance(raw, RawTensor)
            assert torch.equal(as_torch(raw), model.read(name))
            assert bytes_of(raw).tobytes() == bytes_of(model.read(name)).tobytes()

    @pytest.mark.parametrize("dtype", ["bfloat16", "float16", "float32"])
    def test_has_the_statistics_and_sums_of_a_tensor(self, dtype: str) -> None:
        kind = getattr(torch, dtype)
        generator = torch.Generator().manual_seed(0)
        tensors = [torch.randn(70_000, generator=generator).to(kind) for _ in range(3)]
        raw = [RawTensor(bytes_of(each), dtype, (70_000,)) for each in tensors]
        with execution(compiled=True):
            assert np.array_equal(gram(raw[:2], raw[2]), gram(tensors[:2], tensors[2]))
            assert is_finite(raw[0])
            out = empty_vector(70_000, dtype)
            terms = tuple(Term(source=each, factor=0.3) for each in raw[:2])
            weighted = WeightedSum(shape=(70_000,), terms=terms, base=raw[2])
            assert write(weighted, (0, 70_000), out)
        expected = WeightedSum(
            shape=(70_000,),
            terms=tuple(Term(source=each, factor=0.3) for each in tensors[:2]),
            base=tensors[2],
        ).block((0, 70_000))
        assert torch.equal(as_torch(out), expected.to(kind))

"""Merges of files without torch: in a process of their own, with the same bits."""

import os
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import pytest
import torch
import yaml
from safetensors.torch import load_file, save_file

from kingyo.errors import KingyoError
from kingyo.merging.checkpoints import open_checkpoint
from kingyo.merging.engine import MergeOptions, open_sources, plan, to_folder
from kingyo.merging.kernels.raw_tensor import RawTensor, as_torch, bytes_of
from kingyo.merging.methods import METHODS, describes, takes_base
from kingyo.merging.recipe import Recipe
from tests.models_on_disk import family, fine_tuned
from tests.slow import slow

pytest.importorskip("numba")
DESCRIBED = [name for name in METHODS.names() if describes(METHODS.get(name))]
VALUES = {"weight": 0.4, "t": 0.3, "density": 0.3, "select_topk": 0.4}
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
    names = {each.name for each in method_.params}
    parameters: dict[str, object] = {name: value for name, value in VALUES.items() if name in names}
    if method == "breadcrumbs_ties":
        parameters["rescale"] = True
    return {
        "merge_method": method,
        "models": [{"model": each} for each in models],
        **base,
        "parameters": parameters,
        **changes,
    }


def test_described_merges_import_no_torch(folder: Path, tmp_path: Path) -> None:
    """Surveys, estimates and merges by all methods that describe; torch gives the same bits."""
    assert len(DESCRIBED) >= 16
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
        torch.equal(first[name].view(torch.uint8), second[name].view(torch.uint8)) for name in first
    )


def tuned_as(folder: Path, out: Path, change: Callable[[str, torch.Tensor], torch.Tensor]) -> Path:
    """Write a fine-tuned model with changed tensors."""
    file = fine_tuned(folder / "base", out, seed=9) / "model.safetensors"
    changed = {name: change(name, each) for name, each in load_file(file).items()}
    save_file(changed, file, metadata={"format": "pt"})
    return out


def merge_both_ways(recipe: Recipe, folder: Path, out: Path, **options: bool) -> dict[str, torch.Tensor]:
    """Merge by compiled loops and by torch; return the result, which must be the same."""
    for compiled in (True, False):
        planned = plan(recipe, open_sources(recipe, folder))
        to_folder(planned, out / str(compiled), options=MergeOptions(compiled=compiled, **options))
    assert same(out / "True", out / "False")
    return load_file(out / "True" / "model.safetensors")


@pytest.mark.parametrize("method", ["linear", "ties", "breadcrumbs"])
@pytest.mark.parametrize("dtype", ["float64", "float8_e4m3fn", *slow("float16")])
def test_dtypes_that_loops_read_and_others(folder: Path, tmp_path: Path, method: str, dtype: str) -> None:
    """One source has another dtype; if loops do not read it, torch does."""
    tuned = tuned_as(folder, tmp_path / "own", lambda _, each: each.to(getattr(torch, dtype)))
    models = [{"model": str(tuned)}, {"model": "source-1"}]
    recipe = Recipe.from_dict(recipe_of(method, models=models, dtype="float32"))
    merged = merge_both_ways(recipe, folder, tmp_path)
    own, other = (load_file(each / "model.safetensors") for each in (tuned, folder / "source-1"))
    for name, tensor in merged.items():
        assert tensor.isfinite().all()
        assert method != "linear" or torch.allclose(tensor, (own[name].float() + other[name]) / 2, atol=1e-6)


def test_nan_that_is_allowed_is_written_by_torch(folder: Path, tmp_path: Path) -> None:
    def spoil(name: str, tensor: torch.Tensor) -> torch.Tensor:
        if name == "model.norm.weight":
            tensor[3] = torch.nan
        return tensor

    tuned = tuned_as(folder, tmp_path / "own", spoil)
    recipe = Recipe.from_dict(recipe_of("ties", models=[{"model": str(tuned)}, {"model": "source-1"}]))
    merged = merge_both_ways(recipe, folder, tmp_path, allow_nonfinite=True)
    assert merged["model.norm.weight"].isnan().sum() == 1


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

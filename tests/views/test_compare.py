"""Comparison sums match float64 definitions for any spans, and groups add up."""

import json
from dataclasses import fields
from pathlib import Path

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from safetensors.torch import save_file
from torch import Tensor

from kingyo.errors import KingyoError
from kingyo.merging.checkpoints import Checkpoint, open_checkpoint
from kingyo.views.compare import CheckpointComparison, ComparisonSums, _Histogram, compare
from tests.models_on_disk import FAMILIES, fine_tuned

NAMES = (
    "model.embed_tokens.weight",
    "model.layers.0.self_attn.q_proj.weight",
    "model.layers.0.mlp.up_proj.weight",
    "model.layers.1.self_attn.q_proj.weight",
    "model.layers.1.mlp.up_proj.weight",
    "model.norm.weight",
)


def write(folder: Path, tensors: dict[str, Tensor]) -> Checkpoint:
    folder.mkdir(parents=True)
    (folder / "config.json").write_text("{}")
    save_file({name: tensor.contiguous() for name, tensor in tensors.items()}, folder / "model.safetensors")
    return open_checkpoint(folder.name, folder.parent)


def noise(seed: int, scale: float = 1.0, n: int = 4000) -> dict[str, Tensor]:
    """Normal numbers for every name."""
    generator = torch.Generator().manual_seed(seed)
    return {name: scale * torch.randn(n, generator=generator) for name in NAMES}


def flat(tensors: dict[str, Tensor]) -> np.ndarray:
    return torch.cat([tensors[name].double().flatten() for name in NAMES]).numpy()


def cosine(a: np.ndarray, b: np.ndarray) -> float:
    return float(a @ b / np.linalg.norm(a) / np.linalg.norm(b))


@pytest.mark.parametrize("dtype", [torch.float32, torch.bfloat16, torch.float16])
@pytest.mark.parametrize("n", [1, 7, 40_000])
def test_the_sums_match_the_definitions(tmp_path: Path, n: int, dtype: torch.dtype) -> None:
    base = noise(0, n=n)
    changes = [noise(0, 0.0, n=n), noise(1, 0.01, n=n), noise(2, 0.03, n=n)]
    stored = [{name: (base[name] + change[name]).to(dtype) for name in NAMES} for change in changes]
    opened = [write(tmp_path / str(i), tensors) for i, tensors in enumerate(stored)]
    w, a, b = (flat(tensors) for tensors in stored)
    total = compare(opened[1:], opened[0]).total
    assert total.numbers == len(w)
    x, y = a - w, b - w
    assert total.norm(0) == pytest.approx(np.linalg.norm(x))
    assert total.change(0) == pytest.approx(np.linalg.norm(x) / np.linalg.norm(w))
    assert total.unchanged(0) == np.mean(x == 0)
    if np.any(x) and np.any(y):
        assert total.cosine(0, 1) == pytest.approx(cosine(x, y))
    if np.any(x * y):
        weighted = np.sum(np.abs(x * y) * (x * y < 0)) / np.sum(np.abs(x * y))
        assert total.opposed(0, 1) == pytest.approx(weighted)
    weights = compare(opened[1:], None).total
    assert weights.cosine(0, 1) == pytest.approx(cosine(a, b))
    assert weights.equal_share(0, 1) == np.mean(a == b)


@settings(max_examples=50)
@given(
    st.lists(st.floats(-1e6, 1e6, width=32), min_size=1, max_size=300), st.sampled_from([0.01, 0.1, 0.5, 1.0])
)
def test_the_largest_entries_match_sorting(numbers: list[float], share: float) -> None:
    """Up to how numbers lie in the one bin at the edge, 1/8 of a power of two wide."""
    delta = torch.tensor(numbers, dtype=torch.float64)
    histogram = _Histogram()
    for part in delta.split(100):
        histogram.count(part)
    energy = delta.square().sort(descending=True).values
    count_, part = divmod(share * len(numbers), 1)
    exact = float(energy[: int(count_)].sum()) + (part * float(energy[int(count_)]) if part else 0.0)
    edge = float(energy[min(int(count_), len(numbers) - 1)])
    in_bin = float(energy[(energy > edge / 1.3) & (energy < edge * 1.3)].sum())
    assert histogram.top(share) == pytest.approx(exact, abs=0.3 * in_bin + 1e-9 * float(energy.sum()))
    assert histogram.top(1.0) == pytest.approx(float(energy.sum()))


@pytest.mark.parametrize("family", FAMILIES)
def test_layers_and_kinds_add_up(tmp_path: Path, family: str) -> None:
    base = FAMILIES[family](tmp_path / "base")
    fine_tuned(base, tmp_path / "a", seed=1)
    fine_tuned(base, tmp_path / "b", seed=2)
    comparison = compare_folders(tmp_path, "a", "b", base="base")
    assert list(comparison.layers) == ["embedding", "block.0", "block.1", "block.2", "head"]
    assert {"embedding", "attention", "mlp", "norm"} <= set(comparison.kinds)
    for parts in (comparison.layers, comparison.kinds):
        for what in (each.name for each in fields(ComparisonSums)):
            added = sum(getattr(each, what) for each in parts.values())
            np.testing.assert_allclose(added, getattr(comparison.total, what))


def compare_folders(folder: Path, *models: str, base: str | None = None) -> CheckpointComparison:
    opened = [open_checkpoint(model, folder) for model in models]
    return compare(opened, None if base is None else open_checkpoint(base, folder))


def test_undefined_values_are_none(tmp_path: Path) -> None:
    base = write(tmp_path / "base", noise(0))
    comparison = compare([write(tmp_path / "a", noise(0)), write(tmp_path / "b", noise(1))], base)
    record = json.loads(json.dumps(comparison.record()))
    assert record["total"]["pairs"]["A-B"]["cosine"] is None
    assert record["total"]["pairs"]["A-B"]["opposed"] is None
    assert record["total"]["models"]["A"]["top_10_percent"] is None
    assert record["total"]["models"]["B"]["top_10_percent"] == pytest.approx(0.44, abs=0.03)


def test_a_model_with_a_lora_is_compared_as_merged(tmp_path: Path) -> None:
    tensors = {"model.layers.0.up.weight": torch.ones(4, 3), "model.layers.1.up.weight": torch.ones(4, 3)}
    write(tmp_path / "m", tensors)
    (tmp_path / "lora").mkdir()
    pair = {
        "model.layers.0.up.lora_A.weight": torch.ones(1, 3),
        "model.layers.0.up.lora_B.weight": torch.ones(4, 1),
    }
    save_file(pair, tmp_path / "lora/adapter_model.safetensors")
    config = {"peft_type": "LORA", "r": 1, "lora_alpha": 2, "base_model_name_or_path": "org/other"}
    (tmp_path / "lora/adapter_config.json").write_text(json.dumps(config))
    comparison = compare_folders(tmp_path, "m+lora", base="m")
    assert comparison.total.norm(0) == pytest.approx(np.sqrt(12 * 4))
    assert comparison.layers["block.1"].unchanged(0) == 1.0
    assert comparison.notes == ("lora was trained on org/other, and is merged into m.",)


def test_integer_tensors_must_be_equal(tmp_path: Path) -> None:
    ids = {"ids": torch.arange(3)}
    first, same = write(tmp_path / "a", noise(0) | ids), write(tmp_path / "b", noise(1) | ids)
    other = write(tmp_path / "c", noise(2) | {"ids": torch.arange(3) + 1})
    assert compare([first, same], None).notes == ()
    assert compare([first, other], None).notes == (
        "ids is not a floating-point tensor, and differs between models.",
    )


def test_incompatible_models_are_refused(tmp_path: Path) -> None:
    first = write(tmp_path / "a", noise(0))
    with pytest.raises(KingyoError, match="two models or more"):
        compare([first], None)
    with pytest.raises(KingyoError, match="in a but not in fewer"):
        compare([first, write(tmp_path / "fewer", dict(list(noise(1).items())[1:]))], None)
    with pytest.raises(KingyoError, match=r"\[4000\] as in a; received \[4001\] in longer"):
        compare([first, write(tmp_path / "longer", noise(1, n=4001))], None)
    broken = noise(1)
    broken[NAMES[2]][5] = float("nan")
    with pytest.raises(KingyoError, match=rf"broken: {NAMES[2]}: expected finite weights"):
        compare([first, write(tmp_path / "broken", broken)], None)


def test_models_that_see_are_compared_with_language_models_by_their_layers() -> None:
    sight = Path(__file__).parents[2] / "zoo" / "sight"
    base, see, ja = (open_checkpoint(str(sight / name)) for name in ("base", "see-en", "ja"))
    one, other = compare([see, ja], base), compare([ja, see], base)
    assert one.total.numbers == other.total.numbers < base.n_parameters
    assert one.total.norm(0) == other.total.norm(1) > 0
    assert one.total.cosine(0, 1) == other.total.cosine(0, 1)
    assert "layers of the language parts" in one.notes[0]
    assert compare([ja], base).total.numbers == base.n_parameters

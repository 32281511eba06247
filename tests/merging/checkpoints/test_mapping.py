"""Mapped tensors, and rows of them, have the right bytes; their memory is freed with them."""

import json
import struct
import subprocess
import sys
from pathlib import Path

import pytest
import torch
from safetensors.torch import load_file, save_file

from kingyo.errors import KingyoError
from kingyo.merging.checkpoints import Checkpoint, fit, open_checkpoint
from kingyo.merging.checkpoints.checkpoint import KEPT_BELOW
from kingyo.merging.checkpoints.header import map_tensor, read_header
from tests.merging.checkpoints.adapters import opened, train
from tests.merging.checkpoints.pipelines import pair
from tests.models_on_disk import gpt2, llama
from tests.scout.weights import write, write_lora


def test_data_may_start_at_an_odd_byte(tmp_path: Path) -> None:
    numbers = torch.tensor([1.5, -2.0, 3.25])
    header = json.dumps({"a": {"dtype": "F32", "shape": [3], "data_offsets": [0, 12]}}).encode()
    header += b" " * (1 - (8 + len(header)) % 2)  # an odd offset of the data
    file = tmp_path / "odd.safetensors"
    file.write_bytes(struct.pack("<Q", len(header)) + header + numbers.numpy().tobytes())
    info = read_header(file)["a"]
    assert info.start % 2 == 1
    assert map_tensor(info).equal(numbers)


def test_writing_to_a_mapped_tensor_does_not_change_the_file(tmp_path: Path) -> None:
    file = tmp_path / "model.safetensors"
    save_file({"a": torch.ones(8)}, file)
    map_tensor(read_header(file)["a"]).zero_()
    assert load_file(file)["a"].equal(torch.ones(8))


@pytest.mark.parametrize("fate", ["gone", "cut"])
def test_changed_files_are_named(tmp_path: Path, fate: str) -> None:
    file = tmp_path / "model.safetensors"
    save_file({"a": torch.ones(4096)}, file)
    info = read_header(file)["a"]
    if fate == "gone":
        file.unlink()
    else:
        file.write_bytes(file.read_bytes()[:1000])
    with pytest.raises(KingyoError, match=r"model\.safetensors: a"):
        map_tensor(info)


READ_ALL = """
import resource, sys
from pathlib import Path
from kingyo.merging.checkpoints import open_checkpoint
checkpoint = open_checkpoint(sys.argv[1])
resident = lambda: resource.getrusage(resource.RUSAGE_SELF).ru_maxrss // 1024
checkpoint.read("model.norm.weight").sum()
before = resident()
total = 0.0
for _ in range(2):
    for name in checkpoint.tensors:
        total += float(checkpoint.read(name).sum())
print(resident() - before, total)
"""


def test_reading_a_large_model_takes_the_memory_of_one_tensor(tmp_path: Path) -> None:
    """A process that reads twelve tensors of 16 MB twice grows by far less than their sum."""
    tensors = {f"model.layers.{i}.mlp.up_proj.weight": torch.ones(2048, 2048) for i in range(12)}
    save_file({**tensors, "model.norm.weight": torch.ones(4)}, tmp_path / "model.safetensors")
    (tmp_path / "config.json").write_text('{"model_type": "llama"}')
    command = [sys.executable, "-c", READ_ALL, str(tmp_path)]
    grown, total = subprocess.run(command, capture_output=True, text=True, check=True).stdout.split()
    assert float(total) == 2 * (12 * 2048 * 2048 + 4)
    assert int(grown) < 64


def check(model: Checkpoint, exactly: bool = True) -> None:
    for name, info in model.tensors.items():
        if not info.shape:
            continue
        whole, n = model.read(name), info.shape[0]
        for start, end in ((0, n), (0, 1), (n // 3, n // 2), (n - 1, n)):
            rows = model.read_rows(name, start, end)
            assert rows.dtype == whole.dtype
            torch.testing.assert_close(rows, whole[start:end], **({"rtol": 0, "atol": 0} if exactly else {}))


def test_small_and_large_tensors(tmp_path: Path) -> None:
    large = torch.randn(KEPT_BELOW // 32, 20).bfloat16()
    assert large.nbytes >= KEPT_BELOW
    check(
        write(
            tmp_path, {"model.a.weight": large, "model.b.weight": torch.randn(6, 2), "model.c": torch.ones(3)}
        )
    )


@pytest.mark.parametrize("make", [llama, gpt2])
@pytest.mark.parametrize("dora", [False, True])
def test_models_with_a_lora(tmp_path: Path, make: object, dora: bool) -> None:
    make(tmp_path / "m")  # type: ignore[operator]
    targets = ["c_attn", "c_fc"] if make is gpt2 else ["q_proj", "down_proj", "embed_tokens"]
    train(tmp_path / "m", tmp_path / "lora", r=2, target_modules=targets, use_dora=dora)
    model = opened(tmp_path)
    assert model.changes
    check(model, exactly=False)


def test_a_lora_of_a_convolution(tmp_path: Path) -> None:
    write(tmp_path / "m", {"unet.conv.weight": torch.randn(8, 4, 3, 3), "unet.b.weight": torch.randn(4, 4)})
    write_lora(tmp_path / "lora", "unet.conv", *pair((8, 4, 3, 3), 1, 2))
    check(opened(tmp_path), exactly=False)


def test_a_tied_head_and_views(tmp_path: Path) -> None:
    tied, own = llama(tmp_path / "tied", tied=True), llama(tmp_path / "own", seed=1)
    like, other = open_checkpoint(str(own)), open_checkpoint(str(tied))
    check(fit(like, [other]).models[other.reference])
    head = other.read_rows("lm_head.weight", 3, 5)
    assert torch.equal(head, other.read("model.embed_tokens.weight")[3:5])


def test_kept_tensors_can_be_forgotten(tmp_path: Path) -> None:
    model = open_checkpoint(str(llama(tmp_path)))
    first = model.read("model.norm.weight")
    assert model.read("model.norm.weight") is first
    model.forget()
    assert model.read("model.norm.weight") is not first

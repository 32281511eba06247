"""Mapped tensors have the right bytes, and their memory is freed with them."""

from __future__ import annotations

import json
import struct
import subprocess
import sys
from pathlib import Path

import pytest
import torch
from safetensors.torch import load_file, save_file

from kingyo.errors import KingyoError
from kingyo.merging.checkpoints.header import map_tensor, read_header


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

"""Fingerprints of models: hashes of files, and stamps that avoid hashing them again."""

from __future__ import annotations

import hashlib
import json
import math
import os
from pathlib import Path

import pytest
import torch

from kingyo.errors import KingyoError
from kingyo.merging.checkpoints import fingerprints_of, is_as_stamped, open_checkpoint, stamps_of
from tests.merging.checkpoints.fitting import rewrite
from tests.models_on_disk import llama


def test_fingerprints_equal_those_of_older_versions(tmp_path: Path) -> None:
    """A resumed run recognises its models."""
    folder = llama(tmp_path / "m")
    names = sorted(file.name for file in folder.iterdir())
    lines = (f"{name} {hashlib.sha256((folder / name).read_bytes()).hexdigest()}\n" for name in names)
    deciding = {name for name in names if name != "README.md"}
    digest = hashlib.sha256("".join(line for line in lines if line.split()[0] in deciding).encode())
    checkpoint = open_checkpoint("m", tmp_path)
    for check in (False, True):
        assert fingerprints_of([checkpoint], check_finite=check) == {"m": digest.hexdigest()}


@pytest.mark.parametrize(
    ("dtype", "bad"),
    [
        (torch.float8_e4m3fn, math.nan),
        (torch.float8_e5m2, math.nan),
        (torch.bfloat16, math.inf),
        (torch.bfloat16, -math.inf),
    ],
)
def test_weights_that_are_not_finite(tmp_path: Path, dtype: torch.dtype, bad: float) -> None:
    folder = rewrite(
        llama(tmp_path / "m"), lambda all_: {name: each.to(dtype) for name, each in all_.items()}
    )
    assert fingerprints_of([open_checkpoint("m", tmp_path)], check_finite=True)

    def spoil(tensors: dict[str, torch.Tensor]) -> dict[str, torch.Tensor]:
        spoilt = tensors["model.norm.weight"].float()
        spoilt[3] = bad
        return {**tensors, "model.norm.weight": spoilt.to(dtype)}

    rewrite(folder, spoil)
    with pytest.raises(KingyoError) as error:
        fingerprints_of([open_checkpoint("m", tmp_path)], check_finite=True)
    assert error.value.argument == "m: model.norm.weight"


@pytest.mark.parametrize("change", ["weights", "touched", "replaced", "added"])
def test_stamps_notice_changed_files(tmp_path: Path, change: str) -> None:
    folder = llama(tmp_path / "m")
    weights = folder / "model.safetensors"
    stamps = json.loads(json.dumps(stamps_of(open_checkpoint("m", tmp_path))))
    assert is_as_stamped(open_checkpoint("m", tmp_path), stamps)
    status = weights.stat()
    if change == "weights":
        content = bytearray(weights.read_bytes())
        content[-1] ^= 1
        weights.write_bytes(content)
        os.utime(weights, ns=(status.st_atime_ns, status.st_mtime_ns))
    elif change == "touched":
        weights.touch()
    elif change == "replaced":
        (folder / "copy").write_bytes(weights.read_bytes())
        os.utime(folder / "copy", ns=(status.st_atime_ns, status.st_mtime_ns))
        (folder / "copy").replace(weights)
    else:
        (folder / "added_tokens.json").write_text("{}")
    assert not is_as_stamped(open_checkpoint("m", tmp_path), stamps)
    assert not is_as_stamped(open_checkpoint("m", tmp_path), None)

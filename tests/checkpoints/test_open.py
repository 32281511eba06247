"""Checkpoints are opened lazily; broken files give one clear error."""

from __future__ import annotations

import json
import os
import shutil
import struct
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import pytest
import torch
from safetensors.torch import load_file, save_file

from kingyo.checkpoints import fingerprints_of, open_checkpoint
from kingyo.errors import KingyoError
from tests.models_on_disk import FAMILIES, llama, qwen2


@pytest.mark.parametrize("kind", FAMILIES)
def test_it_reads_the_stored_values(tmp_path: Path, kind: str) -> None:
    FAMILIES[kind](tmp_path / "m", dtype="bfloat16")
    checkpoint = open_checkpoint("m", tmp_path)
    stored = load_file(tmp_path / "m" / "model.safetensors")
    assert checkpoint.tensors.keys() == stored.keys()
    assert checkpoint.n_parameters == sum(tensor.numel() for tensor in stored.values())
    assert checkpoint.config["model_type"] == kind
    assert checkpoint.reference == "m"
    for name, tensor in stored.items():
        info = checkpoint.tensors[name]
        assert (info.shape, info.dtype) == (tuple(tensor.shape), "bfloat16")
        assert torch.equal(checkpoint.read(name), tensor)
        assert checkpoint.read(name) is checkpoint.read(name)


def shard(folder: Path, n: int = 3) -> dict[str, str]:
    """Split a checkpoint into n shards; return its weight map."""
    tensors = load_file(folder / "model.safetensors")
    weight_map: dict[str, str] = {}
    for i in range(n):
        file = f"model-{i + 1:05}-of-{n:05}.safetensors"
        part = {name: tensors[name] for name in list(tensors)[i::n]}
        save_file(part, folder / file, metadata={"format": "pt"})
        weight_map.update(dict.fromkeys(part, file))
    (folder / "model.safetensors").unlink()
    write_index(folder, weight_map)
    return weight_map


def write_index(folder: Path, weight_map: object) -> None:
    (folder / "model.safetensors.index.json").write_text(json.dumps({"weight_map": weight_map}))


def test_shards_are_one_checkpoint(tmp_path: Path) -> None:
    llama(tmp_path / "m")
    shutil.copytree(tmp_path / "m", tmp_path / "n")
    shard(tmp_path / "n")
    single, parts = open_checkpoint("m", tmp_path), open_checkpoint("n", tmp_path)
    assert single.tensors.keys() == parts.tensors.keys()
    assert all(torch.equal(single.read(name), parts.read(name)) for name in single.tensors)


def test_an_unknown_tensor_suggests_the_nearest(tmp_path: Path) -> None:
    llama(tmp_path / "m")
    with pytest.raises(KingyoError, match=r"Did you mean 'lm_head\.weight'"):
        open_checkpoint("m", tmp_path).read("lm_hed.weight")


Break = Callable[[Path], object]


def set_map(change: Callable[[dict[str, str]], object]) -> Break:
    def apply(folder: Path) -> None:
        weight_map = shard(folder)
        write_index(folder, change(weight_map))

    return apply


def rename_first(to: str) -> Break:
    return set_map(lambda weight_map: {**weight_map, next(iter(weight_map)): to})


def truncate(folder: Path) -> None:
    file = folder / "model.safetensors"
    file.write_bytes(file.read_bytes()[:-100])


def only_pickles(folder: Path) -> None:
    (folder / "model.safetensors").rename(folder / "pytorch_model.bin")


BROKEN: dict[str, tuple[Break, str]] = {
    "no config": (lambda folder: (folder / "config.json").unlink(), r"config\.json.*No such file"),
    "config not JSON": (lambda folder: (folder / "config.json").write_text("{"), "invalid JSON"),
    "config a list": (lambda folder: (folder / "config.json").write_text("[]"), "config.*list"),
    "no weights": (lambda folder: (folder / "model.safetensors").unlink(), "neither"),
    "only pickles": (only_pickles, r"only pickles \(pytorch_model.bin\)"),
    "truncated": (truncate, r"model\.safetensors.*damaged"),
    "empty": (lambda folder: (folder / "model.safetensors").write_bytes(b""), "damaged"),
    "shard outside": (rename_first("../model.safetensors"), "shards inside the folder"),
    "shard absolute": (rename_first("/etc/passwd.safetensors"), "shards inside the folder"),
    "shard a pickle": (rename_first("model.bin"), "shards inside the folder"),
    "shard missing": (rename_first("model-9.safetensors"), "no such file"),
    "shard wrong": (rename_first("model-00003-of-00003.safetensors"), "every tensor of every shard"),
    "index lies": (
        set_map(lambda weight_map: {**weight_map, "ghost": next(iter(weight_map.values()))}),
        "'ghost'",
    ),
    "index forgets": (
        set_map(lambda weight_map: dict(list(weight_map.items())[1:])),
        "every tensor of every shard",
    ),
    "index empty": (set_map(lambda weight_map: []), "weight_map"),
}


@pytest.mark.parametrize("how", BROKEN)
def test_broken_folders_are_one_clear_error(tmp_path: Path, how: str) -> None:
    damage, message = BROKEN[how]
    damage(llama(tmp_path / "m"))
    with pytest.raises(KingyoError, match=f"(?s){message}"):
        open_checkpoint("m", tmp_path)


def entry(**changes: object) -> dict[str, object]:
    return {"dtype": "F32", "shape": [2], "data_offsets": [0, 8]} | changes


HEADERS: dict[str, tuple[object, str]] = {
    "not a mapping": ([], "maps names to tensors"),
    "entry not a mapping": ({"a": 1}, "dtype, shape and data_offsets"),
    "unknown dtype": ({"a": entry(dtype="F31")}, "known dtype"),
    "dtype missing": ({"a": {"shape": [2], "data_offsets": [0, 8]}}, "known dtype"),
    "negative shape": ({"a": entry(shape=[-2])}, "shape and data_offsets"),
    "shape a number": ({"a": entry(shape=2)}, "shape and data_offsets"),
    "three offsets": ({"a": entry(data_offsets=[0, 4, 8])}, "shape and data_offsets"),
    "backwards": ({"a": entry(data_offsets=[8, 0])}, "8 bytes for 'a'"),
    "too short for its shape": ({"a": entry(shape=[3])}, "12 bytes for 'a'"),
    "a hole": ({"a": entry(data_offsets=[4, 12])}, "at byte 0"),
    "an overlap": ({"a": entry(), "b": entry(data_offsets=[4, 12])}, "at byte 8"),
    "beyond the end": ({"a": entry(), "b": entry(data_offsets=[8, 16])}, "16 bytes of tensors"),
    "huge": ({"a": entry(shape=[2**62, 2**62])}, "bytes for 'a'"),
}


@pytest.mark.parametrize("how", HEADERS)
def test_headers_that_contradict_the_file_are_one_clear_error(tmp_path: Path, how: str) -> None:
    header, message = HEADERS[how]
    raw = json.dumps(header).encode()
    (llama(tmp_path / "m") / "model.safetensors").write_bytes(struct.pack("<Q", len(raw)) + raw + bytes(8))
    with pytest.raises(KingyoError, match=f"(?s){message}"):
        open_checkpoint("m", tmp_path)


@pytest.mark.parametrize(
    "raw",
    [
        struct.pack("<Q", 2**63) + b"{}",
        struct.pack("<Q", 3) + b"{}",
        struct.pack("<Q", 2) + b"{]",
        struct.pack("<Q", 2) + b"\xff\xff",
        struct.pack("<Q", 15) + b'{"a":1,"a":2 } ',
        struct.pack("<Q", 60000) + b"[" * 60000,
    ],
)
def test_invalid_headers(tmp_path: Path, raw: bytes) -> None:
    (llama(tmp_path / "m") / "model.safetensors").write_bytes(raw)
    with pytest.raises(KingyoError, match="damaged"):
        open_checkpoint("m", tmp_path)


@pytest.mark.parametrize(
    ("reference", "message"),
    [
        ("", "an empty text"),
        ("absent", "neither"),
        ("./absent", "neither"),
        ("a/b/c/d", "neither"),
        ("m/config.json", "a file"),
        ("m+lora", "an adapter, or a name on the Hub"),
    ],
)
def test_names_of_missing_models(tmp_path: Path, reference: str, message: str) -> None:
    llama(tmp_path / "m")
    with pytest.raises(KingyoError, match=message):
        open_checkpoint(reference, tmp_path)


OPEN = """
import sys
from kingyo.checkpoints import open_checkpoint
from kingyo.errors import KingyoError
try:
    print(open_checkpoint(sys.argv[1]).n_parameters)
except KingyoError as error:
    print(error)
"""


def open_elsewhere(reference: str, cache: Path) -> str:
    """Open a reference in a new process with a given Hub cache and without a network."""
    environment = os.environ | {"HF_HOME": str(cache), "HF_HUB_OFFLINE": "1"}
    command = [sys.executable, "-c", OPEN, reference]
    return subprocess.run(command, env=environment, capture_output=True, text=True, check=True).stdout


def test_a_name_on_the_hub(tmp_path: Path) -> None:
    """Models are read from the Hub's cache, with and without a revision."""
    commit = "0123456789abcdef0123456789abcdef01234567"
    home = tmp_path / "hub" / "models--org--name"
    llama(home / "snapshots" / commit)
    (home / "refs").mkdir()
    (home / "refs" / "main").write_text(commit)
    expected = f"{open_checkpoint(str(home / 'snapshots' / commit)).n_parameters}\n"
    assert open_elsewhere("org/name", tmp_path) == expected
    assert open_elsewhere(f"org/name@{commit}", tmp_path) == expected
    answer = open_elsewhere("org/absent", tmp_path)
    assert answer.startswith("org/absent: expected a folder, or a model on the Hub that can be fetched")


def test_a_tied_head_that_is_stored_is_hidden(tmp_path: Path) -> None:
    file = qwen2(tmp_path / "m") / "model.safetensors"
    tensors = load_file(file)
    tensors["lm_head.weight"] = tensors["model.embed_tokens.weight"].clone()
    save_file(tensors, file, metadata={"format": "pt"})
    assert "lm_head.weight" not in open_checkpoint("m", tmp_path).tensors
    tensors["lm_head.weight"][0, 0] += 1
    save_file(tensors, file, metadata={"format": "pt"})
    with pytest.raises(KingyoError, match=r"lm_head\.weight: expected the same weights"):
        open_checkpoint("m", tmp_path)


def test_an_untied_head_stays(tmp_path: Path) -> None:
    llama(tmp_path / "m", tied=False)
    assert "lm_head.weight" in open_checkpoint("m", tmp_path).tensors


@pytest.mark.parametrize("bad", [float("nan"), float("inf"), float("-inf")])
def test_weights_that_are_not_finite(tmp_path: Path, bad: float) -> None:
    file = llama(tmp_path / "m", dtype="bfloat16") / "model.safetensors"
    fingerprints_of([open_checkpoint("m", tmp_path)], check_finite=True)
    tensors = load_file(file)
    tensors["model.layers.1.mlp.up_proj.weight"][3, 2] = bad
    save_file(tensors, file, metadata={"format": "pt"})
    with pytest.raises(KingyoError, match=r"m: model\.layers\.1\.mlp\.up_proj\.weight: expected finite"):
        fingerprints_of([open_checkpoint("m", tmp_path)], check_finite=True)

"""Checkpoints are opened lazily; broken files give one clear error."""

from __future__ import annotations

import json
import shutil
import struct
from collections.abc import Callable
from pathlib import Path

import pytest
import torch
from safetensors.torch import load_file, save_file

from kingyo.errors import KingyoError
from kingyo.merging.checkpoints import fingerprints_of, open_checkpoint
from kingyo.merging.checkpoints.header import read_header
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
INDEX = "model.safetensors.index.json"


def set_map(change: Callable[[dict[str, str]], object]) -> Break:
    def apply(folder: Path) -> None:
        weight_map = shard(folder)
        write_index(folder, change(weight_map))

    return apply


def rename_first(to: str) -> Break:
    return set_map(lambda weight_map: {**weight_map, next(iter(weight_map)): to})


def repeat_first(folder: Path) -> None:
    name, file = next(iter(shard(folder).items()))
    index = folder / INDEX
    index.write_text(index.read_text().replace("{" + f'"{name}"', "{" + f'"{name}": "{file}", "{name}"'))


def truncate(folder: Path) -> None:
    file = folder / "model.safetensors"
    file.write_bytes(file.read_bytes()[:-100])


def only_pickles(folder: Path) -> None:
    (folder / "model.safetensors").rename(folder / "pytorch_model.bin")


BROKEN: dict[str, tuple[Break, str, str]] = {
    "no config": (lambda folder: (folder / "config.json").unlink(), "config.json", "No such file"),
    "config not JSON": (
        lambda folder: (folder / "config.json").write_text("{"),
        "config.json",
        "invalid JSON",
    ),
    "config a list": (lambda folder: (folder / "config.json").write_text("[]"), "config.json", "list"),
    "no weights": (lambda folder: (folder / "model.safetensors").unlink(), "m", "neither"),
    "only pickles": (only_pickles, "m", "only pickles (pytorch_model.bin)"),
    "truncated": (truncate, "model.safetensors", "not fully covered"),
    "empty": (
        lambda folder: (folder / "model.safetensors").write_bytes(b""),
        "model.safetensors",
        "too small",
    ),
    "shard outside": (rename_first("../model.safetensors"), INDEX, "'../model.safetensors'"),
    "shard a pickle": (rename_first("model.bin"), INDEX, "'model.bin'"),
    "shard missing": (rename_first("model-9.safetensors"), INDEX, "'model-9.safetensors'"),
    "shard wrong": (rename_first("model-00003-of-00003.safetensors"), INDEX, "none for"),
    "index lies": (
        set_map(lambda weight_map: {**weight_map, "ghost": next(iter(weight_map.values()))}),
        INDEX,
        "'ghost'",
    ),
    "index with a tensor twice": (repeat_first, INDEX, "the key 'lm_head.weight' twice"),
    "index empty": (set_map(lambda weight_map: []), INDEX, "none"),
}


@pytest.mark.parametrize("how", BROKEN)
def test_broken_folders_are_one_clear_error(tmp_path: Path, how: str) -> None:
    damage, argument, received = BROKEN[how]
    damage(llama(tmp_path / "m"))
    with pytest.raises(KingyoError) as caught:
        open_checkpoint("m", tmp_path)
    assert Path(caught.value.argument).name == argument
    assert received in caught.value.received


def header(**changes: object) -> bytes:
    """Return a file with one tensor ``a`` of two numbers, and a header with changes."""
    raw = json.dumps({"a": {"dtype": "F32", "shape": [2], "data_offsets": [0, 8]} | changes}).encode()
    return struct.pack("<Q", len(raw)) + raw + bytes(8)


@pytest.mark.parametrize(
    "raw",
    [
        header(dtype="F31"),
        header(shape=[-2]),
        header(data_offsets=[8, 0]),
        header(shape=[3]),
        header(data_offsets=[4, 12]),
        header(shape=[2**62, 2**62]),
        header() + b"more",
        struct.pack("<Q", 2**63) + b"{}",
        struct.pack("<Q", 2) + b"{]",
        struct.pack("<Q", 60000) + b"[" * 60000,
    ],
)
def test_headers_that_contradict_the_file_are_one_clear_error(tmp_path: Path, raw: bytes) -> None:
    file = llama(tmp_path / "m") / "model.safetensors"
    file.write_bytes(raw)
    with pytest.raises(KingyoError, match="damaged") as caught:
        open_checkpoint("m", tmp_path)
    assert caught.value.argument == str(file)


def entry(name: str, start: int, end: int) -> str:
    return f'"{name}": {{"dtype": "U8", "shape": [{end - start}], "data_offsets": [{start}, {end}]}}'


@pytest.mark.parametrize(
    ("entries", "received"),
    [
        ((entry("a", 0, 2), entry("b", 2, 4), entry("a", 0, 2)), "the key 'a' twice"),
        ((entry("b", 2, 4), entry("a", 2, 4), entry("a", 0, 2)), "the key 'a' twice"),
        ((entry("a", 0, 4), entry("\\u0061", 0, 4)), "the key 'a' twice"),
        (('"__metadata__": {"x": "1", "x": "2"}', entry("a", 0, 4)), "the key 'x' twice"),
        ((entry("a", 0, 3), entry("b", 2, 4)), "tensor `b`"),
        ((entry("a", 0, 1), entry("b", 2, 4)), "tensor `b`"),
        ((entry("a", 2, 4),), "tensor `a`"),
    ],
)
def test_a_header_with_a_tensor_twice_or_out_of_place_is_refused(
    tmp_path: Path, entries: tuple[str, ...], received: str
) -> None:
    raw = f"{{{', '.join(entries)}}}".encode()
    file = tmp_path / "a.safetensors"
    file.write_bytes(struct.pack("<Q", len(raw)) + raw + bytes(4))
    with pytest.raises(KingyoError) as caught:
        read_header(file)
    assert caught.value.argument == str(file) and received in caught.value.received


def test_a_git_lfs_pointer_says_how_to_fetch_it(tmp_path: Path) -> None:
    folder = llama(tmp_path / ("long" * 50) / "m")
    (folder / "model.safetensors").write_text("version https://git-lfs.github.com/spec/v1\n")
    with pytest.raises(KingyoError) as caught:
        open_checkpoint(str(folder))
    assert caught.value.received == "a Git LFS pointer" and "git lfs pull" in caught.value.remedy


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

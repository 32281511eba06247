"""Checkpoints are opened lazily; broken files give one clear error; fingerprints and stamps of files."""

import hashlib
import json
import math
import os
from collections.abc import Callable
from pathlib import Path

import pytest
import torch
from safetensors.torch import load_file, save_file

from kingyo.errors import KingyoError
from kingyo.merging.checkpoints import fingerprints_of, is_as_stamped, open_checkpoint, stamps_of
from tests.merging.checkpoints.architectures import HAS_DIFFUSERS, build
from tests.merging.checkpoints.fitting import restate, rewrite, with_tensor
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


def shard(folder: Path, n: int = 3, stem: str = "model") -> dict[str, str]:
    """Split a checkpoint into n shards; return its weight map."""
    tensors = load_file(folder / f"{stem}.safetensors")
    weight_map: dict[str, str] = {}
    for i in range(n):
        file = f"{stem}-{i + 1:05}-of-{n:05}.safetensors"
        part = {name: tensors[name] for name in list(tensors)[i::n]}
        save_file(part, folder / file, metadata={"format": "pt"})
        weight_map.update(dict.fromkeys(part, file))
    (folder / f"{stem}.safetensors").unlink()
    write_index(folder, weight_map, stem)
    return weight_map


def write_index(folder: Path, weight_map: object, stem: str = "model") -> None:
    (folder / f"{stem}.safetensors.index.json").write_text(json.dumps({"weight_map": weight_map}))


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


def with_config(**keys: object) -> Break:
    return lambda folder: restate(folder, **keys)


def move_weights(name: str) -> Break:
    return lambda folder: (folder / "model.safetensors").rename(folder / name)


def only_gguf(folder: Path) -> None:
    (folder / "config.json").unlink()
    move_weights("m.gguf")(folder)


WEIGHTS = "model.safetensors"
Q_PROJ = "model.layers.0.self_attn.q_proj.weight"
QUANTISED = {"quant_method": "bitsandbytes", "load_in_4bit": True}
BROKEN: dict[str, tuple[Break, str, str]] = {
    "no config": (lambda folder: (folder / "config.json").unlink(), "config.json", "No such file"),
    "config not JSON": (lambda folder: (folder / "config.json").write_text("{"), "config.json", "Expecting"),
    "config a list": (lambda folder: (folder / "config.json").write_text("[]"), "config.json", "list"),
    "no weights": (lambda folder: (folder / WEIGHTS).unlink(), "m", "none"),
    "only pickles": (move_weights("pytorch_model.bin"), "m", "pytorch_model.bin"),
    "a GGUF": (move_weights("model-q4.gguf"), "m", "model-q4.gguf"),
    "a GGUF alone": (only_gguf, "m", "m.gguf"),
    "another name": (move_weights("model.fp16.safetensors"), "m", "model.fp16.safetensors"),
    "truncated": (truncate, WEIGHTS, "not fully covered"),
    "empty": (lambda folder: (folder / WEIGHTS).write_bytes(b""), WEIGHTS, "too small"),
    "no tensors": (lambda folder: save_file({}, folder / WEIGHTS), WEIGHTS, "none"),
    "an LFS pointer": (
        lambda folder: (folder / WEIGHTS).write_text("version https://git-lfs.github.com/spec/v1\n"),
        WEIGHTS,
        "a Git LFS pointer",
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
    "index empty": (set_map(lambda _: []), INDEX, "none"),
    "bitsandbytes": (with_config(quantization_config=QUANTISED), "m: config.json", "a quantised model"),
    "an inner part": (
        with_config(text_config={"quantization_config": {"quant_method": "awq"}}),
        "m: config.json",
        "a quantised model",
    ),
    "GPTQ": (with_tensor("a.qweight", torch.ones(2, 2).int()), "m: a.qweight", "(int32)"),
    "integer weights": (with_tensor(Q_PROJ, torch.ones(16, 16).char()), f"m: {Q_PROJ}", "(int8)"),
    "fp8 with scales": (
        with_tensor(f"{Q_PROJ}_scale_inv", torch.ones(1, 1)),
        f"m: {Q_PROJ}_scale_inv",
        "a quantised model",
    ),
}


@pytest.mark.parametrize("how", BROKEN)
def test_broken_folders_are_one_clear_error(tmp_path: Path, how: str) -> None:
    damage, argument, received = BROKEN[how]
    damage(llama(tmp_path / "m"))
    with pytest.raises(KingyoError) as caught:
        open_checkpoint("m", tmp_path)
    assert Path(caught.value.argument).name == argument
    assert received in caught.value.received
    assert ("--allow-pickle" in caught.value.remedy) == (how == "only pickles")
    assert ("GgufConfig(dequantize=True)" in caught.value.remedy) == ("GGUF" in how)


def test_a_tied_head_that_is_stored_is_hidden_and_an_untied_one_stays(tmp_path: Path) -> None:
    head = load_file(qwen2(tmp_path / "m") / "model.safetensors")["model.embed_tokens.weight"].clone()
    with_tensor("lm_head.weight", head)(tmp_path / "m")
    assert "lm_head.weight" not in open_checkpoint("m", tmp_path).tensors
    head[0, 0] += 1
    with_tensor("lm_head.weight", head)(tmp_path / "m")
    with pytest.raises(KingyoError, match=r"lm_head\.weight: expected the same weights"):
        open_checkpoint("m", tmp_path)
    assert "lm_head.weight" in open_checkpoint(str(llama(tmp_path / "untied"))).tensors


@pytest.mark.skipif(not HAS_DIFFUSERS, reason="diffusers is not installed")
def test_a_model_of_diffusers(tmp_path: Path) -> None:
    folder = build("unet", tmp_path / "pipeline" / "unet")
    opened = open_checkpoint("pipeline/unet", tmp_path)
    assert opened.stem == "diffusion_pytorch_model"
    assert opened.config["_class_name"] == "UNet2DConditionModel"
    stored = load_file(folder / "diffusion_pytorch_model.safetensors")
    assert all(torch.equal(opened.read(name), value) for name, value in stored.items())
    shard(folder, 2, "diffusion_pytorch_model")
    assert open_checkpoint("pipeline/unet", tmp_path).tensors.keys() == stored.keys()


def test_integer_buffers_are_read_and_files_may_be_links(tmp_path: Path) -> None:
    """Links are followed, as in the Hub's cache."""
    buffers = {"model.position_ids": torch.arange(4)[None], "model.seen": torch.tensor(3)}
    folder = rewrite(llama(tmp_path / "m"), lambda stored: {**stored, **buffers})
    (tmp_path / "blobs").mkdir()
    for i, file in enumerate(sorted(folder.iterdir())):
        file.rename(tmp_path / "blobs" / f"{i:040}")
        file.symlink_to(tmp_path / "blobs" / f"{i:040}")
    assert open_checkpoint("m", tmp_path).read("model.seen").item() == 3


def test_code_of_a_model_is_reported_and_not_run(tmp_path: Path) -> None:
    folder = llama(tmp_path / "m")
    assert not open_checkpoint("m", tmp_path).runs_code
    (folder / "evil.py").write_text("raise SystemExit('run')")
    (folder / "tokenizer_config.json").write_text('{"auto_map": {"AutoTokenizer": "evil.T"}}')
    assert open_checkpoint("m", tmp_path).runs_code
    (folder / "tokenizer_config.json").unlink()
    assert not open_checkpoint("m", tmp_path).runs_code
    restate(folder, text_config={"auto_map": {"AutoConfig": "evil.C"}})
    assert open_checkpoint("m", tmp_path).runs_code


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

"""Pickled weights are read if the user allows it; their code never runs."""

import json
import zipfile
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import torch
from safetensors.torch import load_file

from kingyo.errors import KingyoError
from kingyo.merging.checkpoints import fingerprints_of, open_checkpoint
from kingyo.merging.checkpoints.header import MappedFiles
from tests.merging.checkpoints.fitting import Evil, pickled
from tests.models_on_disk import llama, qwen2


@pytest.mark.parametrize("shards", [1, 3])
@pytest.mark.parametrize("stem", ["pytorch_model", "diffusion_pytorch_model"])
def test_they_are_read_like_safetensors(tmp_path: Path, shards: int, stem: str) -> None:
    expected = load_file(llama(tmp_path / "m", dtype="bfloat16") / "model.safetensors")
    pickled(tmp_path / "m", shards, stem)
    opened = open_checkpoint("m", tmp_path, allow_pickle=True)
    assert opened.stem == stem.replace("pytorch_model", "model").replace(
        "diffusion_model", "diffusion_pytorch_model"
    )
    assert opened.tensors.keys() == expected.keys()
    files = MappedFiles()
    for name, tensor in expected.items():
        assert torch.equal(opened.read(name), tensor)
        assert torch.equal(opened.read_from(name, files), tensor)
        assert opened.tensors[name].file.suffix == ".bin"
    assert opened.seen.keys() == opened.files
    fingerprints_of([opened], check_finite=True)


def test_tied_weights_and_views_are_read(tmp_path: Path) -> None:
    """A pickle stores shared memory once; a slice stores its complete tensor."""
    folder = qwen2(tmp_path / "m")
    tensors = load_file(folder / "model.safetensors")
    (folder / "model.safetensors").unlink()
    tensors["lm_head.weight"] = tensors["model.embed_tokens.weight"]
    base_tensor = torch.randn(3, 16)
    tensors["model.norm.weight"] = base_tensor[1]
    tensors["model.layers.0.input_layernorm.weight"] = torch.nn.Parameter(base_tensor[2])
    torch.save(tensors, folder / "pytorch_model.bin")
    opened = open_checkpoint("m", tmp_path, allow_pickle=True)
    assert "lm_head.weight" not in opened.tensors
    assert torch.equal(opened.read("lm_head.weight"), tensors["model.embed_tokens.weight"])
    assert torch.equal(opened.read("model.norm.weight"), base_tensor[1])
    assert torch.equal(opened.read("model.layers.0.input_layernorm.weight"), base_tensor[2])


def saved(content: object, **how: Any) -> Callable[[Path], object]:
    return lambda file: torch.save(content, file, **how)


def rezipped(
    change: Callable[[str, bytes], bytes], compression: int = zipfile.ZIP_STORED
) -> Callable[[Path], None]:
    def write(file: Path) -> None:
        with zipfile.ZipFile(file) as old:
            records = {each.filename: old.read(each) for each in old.infolist()}
        with zipfile.ZipFile(file, "w", compression) as new:
            for name, data in records.items():
                new.writestr(name, change(name, data))

    return write


def with_record(end: str, content: bytes) -> Callable[[Path], None]:
    return rezipped(lambda name, data: content if name.endswith(end) else data)


SOUND = {"a": torch.ones(64)}
BAD: dict[str, tuple[Callable[[Path], object], str]] = {
    "code": (saved({"a": Evil()}), r"received code that it would run \(\w+\.system\)"),
    "legacy": (saved(SOUND, _use_new_zipfile_serialization=False), "torch 1.6 or later"),
    "truncated": (lambda file: file.write_bytes(file.read_bytes()[:-200]), "torch 1.6 or later"),
    "HTML": (lambda file: file.write_text("<html>not found</html>"), "torch 1.6 or later"),
    "LFS pointer": (lambda file: file.write_text("version https://git-lfs.github.com/spec/v1\n"), "Git LFS"),
    "a list": (saved([torch.ones(2)]), "received list"),
    "nothing": (saved({}), "received an empty one"),
    "of training": (
        saved({"state_dict": SOUND, "epoch": 3}),
        "'state_dict': expected a tensor; received dict",
    ),
    "turned": (saved({"a": torch.ones(2, 3).T}), "a dense, contiguous tensor"),
    "sparse": (saved({"a": torch.ones(2, 3).to_sparse()}), "a dense, contiguous tensor"),
    "compressed": (rezipped(lambda _, data: data, zipfile.ZIP_DEFLATED), "a compressed zip"),
    "other order": (with_record("/byteorder", b"big"), "another byte order"),
    "no pickle": (with_record("/data.pkl", b"junk"), "expected tensors"),
    "data too short": (with_record("/data/0", b"\0" * 8), "expected"),
}


@pytest.mark.parametrize("what", BAD)
def test_a_bad_pickle_is_one_clear_error(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, what: str) -> None:
    monkeypatch.chdir(tmp_path)
    folder = llama(tmp_path / "m")
    (folder / "model.safetensors").unlink()
    file = folder / "pytorch_model.bin"
    torch.save(SOUND, file)
    damage, message = BAD[what]
    damage(file)
    with pytest.raises(KingyoError, match=message) as caught:
        open_checkpoint("m", tmp_path, allow_pickle=True)
    assert "pytorch_model.bin" in caught.value.argument
    assert not (tmp_path / "evil").exists()


def test_a_damaged_byte_changes_weights_or_gives_one_clear_error(tmp_path: Path) -> None:
    folder = pickled(llama(tmp_path / "m"))
    file = folder / "pytorch_model.bin"
    sound = file.read_bytes()
    end = sound.index(b"PK\x01\x02")
    places = [*range(0, 600, 7), *range(end, len(sound), 41)]
    for place in places:
        file.write_bytes(sound[:place] + bytes([sound[place] ^ 0x5A]) + sound[place + 1 :])
        try:
            opened = open_checkpoint("m", tmp_path, allow_pickle=True)
            for name in opened.tensors:
                opened.read(name)
        except KingyoError as error:
            assert error.remedy


def test_an_adapter_that_is_a_pickle(tmp_path: Path) -> None:
    llama(tmp_path / "m")
    (tmp_path / "lora").mkdir()
    (tmp_path / "lora/adapter_config.json").write_text(
        json.dumps({"peft_type": "LORA", "r": 2, "lora_alpha": 4})
    )
    a, b, name = torch.randn(2, 16), torch.randn(16, 2), "model.layers.0.self_attn.q_proj"
    torch.save({f"{name}.lora_A.weight": a, f"{name}.lora_B.weight": b}, tmp_path / "lora/adapter_model.bin")
    with pytest.raises(KingyoError, match=r"only adapter_model\.bin\..*--allow-pickle"):
        open_checkpoint("m+lora", tmp_path)
    changed = open_checkpoint("m+lora", tmp_path, allow_pickle=True).read(f"{name}.weight")
    expected = open_checkpoint("m", tmp_path).read(f"{name}.weight") + 2 * b @ a
    torch.testing.assert_close(changed, expected)

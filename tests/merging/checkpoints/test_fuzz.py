"""Random files are read correctly or raise a KingyoError; nothing crashes."""

import json
import struct
import tempfile
import tracemalloc
from pathlib import Path

import pytest
import torch
from hypothesis import HealthCheck, example, given, settings
from hypothesis import strategies as st
from safetensors import safe_open
from safetensors.torch import save_file
from torch import Tensor

from kingyo.errors import KingyoError
from kingyo.merging.checkpoints import open_checkpoint
from kingyo.merging.checkpoints.header import DTYPES, map_tensor, read_header

plain = st.none() | st.booleans() | st.integers(-3, 2**70) | st.floats() | st.text(max_size=3)
anything = st.recursive(
    plain, lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=3), inner, max_size=3)
)
few = settings(suppress_health_check=[HealthCheck.too_slow], max_examples=300)


def file_of(header: bytes, data: bytes, length: int | None = None) -> bytes:
    return struct.pack("<Q", len(header) if length is None else length) + header + data


@st.composite
def entries(draw: st.DrawFn) -> dict[str, object]:
    """A nearly valid header: most dtypes, shapes and offsets are consistent."""
    header: dict[str, object] = {}
    end = 0
    for name in draw(st.lists(st.text(max_size=3) | st.just("__metadata__"), max_size=4, unique=True)):
        dtype = draw(st.sampled_from([*DTYPES, "F4", "F31"]))
        shape = draw(st.lists(st.integers(0, 3) | st.just(2**40), max_size=3))
        size = DTYPES.get(dtype, ("", 1))[1]
        for each in shape:
            size *= each
        start = end + draw(st.sampled_from([0, 0, 0, 0, 1, -1]))
        end = start + size
        entry: object = {"dtype": dtype, "shape": shape, "data_offsets": [start, end]}
        header[name] = draw(st.just(entry) | st.just(entry) | st.just(entry) | anything)
    return header


def check(raw: bytes) -> None:
    """Read a file with these bytes; if it is accepted, the safetensors library must read the same."""
    with tempfile.NamedTemporaryFile(suffix=".safetensors") as stream:
        stream.write(raw)
        stream.flush()
        file = Path(stream.name)
        try:
            tensors = {name: map_tensor(info) for name, info in read_header(file).items()}
        except KingyoError as error:
            str(error).encode()
            return
        with safe_open(file, framework="pt") as theirs:
            assert set(theirs.keys()) == set(tensors)
            for name, tensor in tensors.items():
                assert same(tensor, theirs.get_tensor(name))


def same(one: Tensor, other: Tensor) -> bool:
    if (one.dtype, one.shape) != (other.dtype, other.shape):
        return False
    return one.reshape(-1).view(torch.uint8).equal(other.reshape(-1).view(torch.uint8))


@few
@given(
    st.binary(max_size=200)
    | st.builds(
        file_of,
        st.binary(max_size=60) | anything.map(lambda value: json.dumps(value).encode()),
        st.binary(max_size=20),
    )
)
@example(b"")
@example(file_of(b"{}", b""))
def test_any_bytes(raw: bytes) -> None:
    check(raw)


@few
@given(entries(), st.integers(-2, 2), st.integers(-2, 2), st.sampled_from(["utf-8", "utf-16", "utf-8-sig"]))
def test_nearly_valid_headers(header: dict[str, object], longer: int, more: int, encoding: str) -> None:
    raw = json.dumps(header, ensure_ascii=False).encode(encoding, "surrogatepass")
    ends = [
        entry["data_offsets"]
        for entry in header.values()
        if isinstance(entry, dict) and "data_offsets" in entry
    ]
    last = max((end[1] for end in ends if isinstance(end, list)), default=0)
    check(file_of(raw, bytes(max(0, min(last, 4096) + more)), max(0, len(raw) + longer)))


def one(**changes: object) -> bytes:
    """Return a header with one tensor of two numbers, and changes."""
    return json.dumps({"a": {"dtype": "F32", "shape": [2], "data_offsets": [0, 8]} | changes}).encode()


def several(*tensors: tuple[str, int, int]) -> bytes:
    entries = [
        f'"{name}": {{"dtype": "U8", "shape": [{end - start}], "data_offsets": [{start}, {end}]}}'
        for name, start, end in tensors
    ]
    return f"{{{', '.join(entries)}}}".encode()


ODD: dict[str, bytes] = {
    "a length beyond everything": struct.pack("<Q", 2**64 - 1),
    "a length just below the bound": struct.pack("<Q", 100_000_000),
    "a shape of thousands of axes": file_of(one(shape=[2**62] * 5000, data_offsets=[0, 4]), bytes(4)),
    "an empty tensor of impossible sides": file_of(one(shape=[0, 2**62, 2**62], data_offsets=[0, 0]), b""),
    "half a surrogate": file_of(rb'{"\ud800": {"dtype":"U8","shape":[],"data_offsets":[0,1]}}', b"0"),
    "metadata of numbers": file_of(b'{"__metadata__": {"a": 1}}', b""),
    "metadata twice": file_of(b'{"__metadata__": {"x": "1", "x": "2"}}', b""),
    "brackets": file_of(b'{"a":' + b"[" * 100_000, b""),
    "no JSON": file_of(b"{]", b""),
    "unknown dtype": file_of(one(dtype="F31"), bytes(8)),
    "negative shape": file_of(one(shape=[-2]), bytes(8)),
    "negative size": file_of(one(data_offsets=[8, 0]), bytes(8)),
    "another size": file_of(one(shape=[3]), bytes(8)),
    "out of the file": file_of(one(data_offsets=[4, 12]), bytes(8)),
    "overflow": file_of(one(shape=[2**62, 2**62]), bytes(8)),
    "more": file_of(one(), bytes(12)),
    "a tensor twice": file_of(several(("a", 0, 2), ("b", 2, 4), ("a", 0, 2)), bytes(4)),
    "twice by an escape": file_of(several(("a", 0, 4), ("\\u0061", 0, 4)), bytes(4)),
    "an overlap": file_of(several(("a", 0, 3), ("b", 2, 4)), bytes(4)),
    "a gap": file_of(several(("a", 0, 1), ("b", 2, 4)), bytes(4)),
    "a late start": file_of(several(("a", 2, 4)), bytes(4)),
}


@pytest.mark.parametrize("what", ODD)
def test_odd_headers(tmp_path: Path, what: str) -> None:
    file = tmp_path / "model.safetensors"
    file.write_bytes(ODD[what])
    tracemalloc.start()
    try:
        with pytest.raises(KingyoError) as caught:
            read_header(file)
        assert caught.value.argument.startswith(str(file))
        assert tracemalloc.get_traced_memory()[1] < 16 << 20
    finally:
        tracemalloc.stop()


KEYS = (
    *("model_type", "text_config", "vision_config", "tie_word_embeddings", "num_hidden_layers", "vocab_size"),
    *("quantization_config", "auto_map", "n_layer", "layer_types", "architectures"),
)
VALUES = plain | st.sampled_from(["llama", "gpt2", "llava", "t5", [], {}, 2])
configs = st.recursive(
    st.dictionaries(st.sampled_from(KEYS), VALUES, max_size=5),
    lambda inner: st.dictionaries(st.sampled_from(KEYS), inner | VALUES, max_size=5),
    max_leaves=4,
)
TENSORS = {
    "model.embed_tokens.weight": torch.ones(4, 2),
    "lm_head.weight": torch.ones(4, 2),
    "model.layers.0.mlp.up_proj.weight": torch.ones(2, 2),
    "visual.blocks.0.attn.qkv.weight": torch.ones(2, 2),
}


@settings(suppress_health_check=[HealthCheck.too_slow], max_examples=100)
@given(configs | anything)
def test_any_config(config: object) -> None:
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        save_file(TENSORS, folder / "model.safetensors")
        (folder / "config.json").write_text(json.dumps(config))
        try:
            opened = open_checkpoint(name)
        except KingyoError:
            return
        assert isinstance(opened.runs_code, bool)
        assert set(opened.tensors) | set(opened.copies) == set(TENSORS)
        assert all(torch.equal(opened.read(tensor), value) for tensor, value in TENSORS.items())


@settings(suppress_health_check=[HealthCheck.too_slow], max_examples=100)
@given(
    anything
    | st.dictionaries(
        st.sampled_from([*TENSORS, "ghost"]),
        st.sampled_from(["a.safetensors", "../a.safetensors", "/a.safetensors", "b.safetensors", "x" * 5000])
        | anything,
    )
)
def test_any_index(weight_map: object) -> None:
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        save_file(TENSORS, folder / "a.safetensors")
        (folder / "config.json").write_text('{"tie_word_embeddings": false}')
        index = folder / "model.safetensors.index.json"
        index.write_text(json.dumps({"weight_map": weight_map}))
        try:
            opened = open_checkpoint(name)
        except KingyoError:
            return
        assert weight_map == dict.fromkeys(TENSORS, "a.safetensors")
        assert set(opened.tensors) == set(TENSORS)

"""Writing a checkpoint: tensor by tensor, with memory for one, and all or nothing.

Everything goes into a hidden folder beside the target, is flushed to disk, and takes the target's name in one
step at the end: a folder that has the name is complete.
"""

from __future__ import annotations

import json
import os
import shutil
import tempfile
from collections import Counter
from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import IO

import torch
from torch import Tensor

from kingyo.checkpoints.checkpoint import Checkpoint
from kingyo.checkpoints.header import DTYPES
from kingyo.errors import KingyoError

SPEAKING = (
    "generation_config.json",
    "tokenizer*.json",
    "tokenizer.model",
    "special_tokens_map.json",
    "added_tokens.json",
    "vocab.json",
    "vocab.txt",
    "merges.txt",
    "*.tiktoken",
    "chat_template.*",
)
"""The files that decide, beside weights and config, what a model says."""

COPIED = (*SPEAKING, "preprocessor_config.json", "processor_config.json", "LICENSE*", "NOTICE*")
"""What a new checkpoint takes over from the one that it is like, beside its config. No code."""

_FORMAT_NAME = {torch_name: name for name, (torch_name, _) in DTYPES.items()}
_DTYPE_KEYS = ("dtype", "torch_dtype")
_WRITTEN_AT_ONCE = 1 << 24
_CHOOSE = "Choose another path."


def write_checkpoint(
    out: Path,
    tensors: Iterable[tuple[str, Tensor]],
    *,
    like: Checkpoint,
    files: Mapping[str, str] | None = None,
    max_shard_bytes: int = 5_000_000_000,
) -> Path:
    """Write a checkpoint, atomically.

    Args:
        out: the folder to make; it must not exist, or be empty.
        tensors: names and weights, drawn one at a time.
        like: whose config, tokenizer and licence files are taken over.
        files: further text files, name -> content.
        max_shard_bytes: where a new shard begins.

    Returns:
        ``out``.

    Raises:
        KingyoError: ``out`` is taken or cannot be written. Whatever is raised, ``out`` is as it was.
    """
    _check_free(out)
    try:
        out.parent.mkdir(parents=True, exist_ok=True)
        partial = Path(tempfile.mkdtemp(prefix=f".{out.name}.", suffix=".partial", dir=out.parent))
    except OSError as error:
        raise _unwritable(out, error) from error
    try:
        with _Shards(partial, sum(len(name) + 160 for name in like.tensors), max_shard_bytes) as shards:
            for name, tensor in tensors:
                shards.add(name, tensor)
        shards.finish()
        _copy_companions(partial, like, shards.main_dtype)
        for name, text in (files or {}).items():
            (partial / name).write_text(text, encoding="utf-8")
        _flush(partial)
        partial.chmod(0o755)
        partial.rename(out)
        _flush_folder(out.parent)
    except OSError as error:
        raise _unwritable(out, error) from error
    finally:
        shutil.rmtree(partial, ignore_errors=True)
    return out


class _Shards:
    """Writes tensors into numbered files; a shard's header fills space that is left free at its start."""

    def __init__(self, folder: Path, header_bytes: int, max_bytes: int) -> None:
        self._folder = folder
        self._header_bytes = header_bytes + 1024 + (-header_bytes) % 8
        self._max_bytes = max_bytes
        self._stream: IO[bytes] | None = None
        self._headers: list[dict[str, object]] = []
        self._described = 0
        self._offset = 0
        self._sizes: Counter[str] = Counter()
        self._total = 0

    def __enter__(self) -> _Shards:
        return self

    def __exit__(self, *_: object) -> None:
        self._close()

    @property
    def main_dtype(self) -> str | None:
        """The floating dtype of most numbers, if there are any."""
        floating = {dtype: size for dtype, size in self._sizes.items() if "float" in dtype}
        return max(floating, key=lambda dtype: floating[dtype]) if floating else None

    def add(self, name: str, tensor: Tensor) -> None:
        """Append one tensor."""
        plain = tensor.detach().cpu().contiguous()
        size = plain.numel() * plain.element_size()
        dtype = str(plain.dtype).removeprefix("torch.")
        entry = {
            "dtype": _FORMAT_NAME[dtype],
            "shape": list(plain.shape),
            "data_offsets": [self._offset, self._offset + size],
        }
        described = len(json.dumps({name: entry}).encode())
        if self._stream is None or self._is_full(described, size):
            self._open()
            entry["data_offsets"] = [0, size]
        self._headers[-1][name] = entry
        self._described += described
        assert self._stream is not None
        raw = plain.flatten().view(torch.uint8).numpy()
        for start in range(0, size, _WRITTEN_AT_ONCE):
            self._stream.write(raw[start : start + _WRITTEN_AT_ONCE].tobytes())
        self._offset += size
        self._total += size
        self._sizes[dtype] += plain.numel()

    def finish(self) -> None:
        """Give the shards their final names, and write the index when there are several."""
        count = len(self._headers)
        weight_map: dict[str, str] = {}
        for i, header in enumerate(self._headers):
            final = "model.safetensors" if count == 1 else f"model-{i + 1:05}-of-{count:05}.safetensors"
            self._path(i).rename(self._folder / final)
            weight_map.update({name: final for name in header if name != "__metadata__"})
        if count > 1:
            index = {"metadata": {"total_size": self._total}, "weight_map": weight_map}
            _write_json(self._folder / "model.safetensors.index.json", index)

    def _path(self, shard: int) -> Path:
        return self._folder / f"shard-{shard}"

    def _is_full(self, described: int, size: int) -> bool:
        full_header = self._described + described > self._header_bytes
        return full_header or (self._offset > 0 and self._offset + size > self._max_bytes)

    def _open(self) -> None:
        self._close()
        self._stream = self._path(len(self._headers)).open("wb")
        self._stream.write(bytes(8 + self._header_bytes))
        self._headers.append({"__metadata__": {"format": "pt"}})
        self._described = len(json.dumps(self._headers[-1]))
        self._offset = 0

    def _close(self) -> None:
        if self._stream is None:
            return
        header = json.dumps(self._headers[-1]).encode().ljust(self._header_bytes)
        self._stream.seek(0)
        self._stream.write(len(header).to_bytes(8, "little") + header)
        self._stream.close()
        self._stream = None


def _check_free(out: Path) -> None:
    if out.exists() and not out.is_dir():
        raise KingyoError(str(out), expected="a new folder", received="a file that exists", remedy=_CHOOSE)
    if out.is_dir() and any(out.iterdir()):
        raise KingyoError(
            str(out),
            expected="a new or empty folder",
            received="one with files",
            remedy=_CHOOSE,
        )


def _unwritable(out: Path, error: OSError) -> KingyoError:
    return KingyoError(
        str(out),
        expected="a folder that can be written",
        received=error.strerror or str(error),
        remedy="Choose a folder that you may write to, on a disk with enough free space.",
    )


def _copy_companions(folder: Path, like: Checkpoint, dtype: str | None) -> None:
    for pattern in COPIED:
        for file in like.path.glob(pattern):
            if file.is_file():
                shutil.copyfile(file, folder / file.name)
    config = dict(like.config)
    if dtype is not None:
        present = [key for key in _DTYPE_KEYS if key in config]
        config.update(dict.fromkeys(present or ("torch_dtype",), dtype))
    _write_json(folder / "config.json", config)


def _write_json(file: Path, content: Mapping[str, object]) -> None:
    file.write_text(json.dumps(content, indent=2, ensure_ascii=False) + "\n", encoding="utf-8")


def _flush(folder: Path) -> None:
    """Force the folder's files, then its listing, to disk."""
    for file in folder.iterdir():
        with file.open("rb") as stream:
            os.fsync(stream.fileno())
    _flush_folder(folder)


def _flush_folder(folder: Path) -> None:
    descriptor = os.open(folder, os.O_RDONLY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)

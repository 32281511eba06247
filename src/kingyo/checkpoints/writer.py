"""Writing a checkpoint: shard by shard, all or nothing, and resumed where an interrupt left it.

Everything goes into a hidden folder beside the target and takes the target's name in one step at the end: a
folder that has the name is complete. A shard that has its final name in the hidden folder is complete too; a
rerun of the same merge keeps it.
"""

from __future__ import annotations

import fcntl
import json
import os
import shutil
from collections.abc import Mapping, Sequence
from pathlib import Path
from types import TracebackType
from typing import IO, TYPE_CHECKING, cast

import torch
from torch import Tensor

from kingyo.checkpoints.checkpoint import Checkpoint
from kingyo.checkpoints.shards import OutTensor, index_of, lay_out
from kingyo.errors import KingyoError

if TYPE_CHECKING:
    from typing_extensions import Buffer

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

MAX_SHARD_BYTES = 5_000_000_000
_DTYPE_KEYS = ("dtype", "torch_dtype")
_IDENTITY = "identity.json"
_LOCK = "lock"


class CheckpointWriter:
    """Writes one checkpoint; a context, which leaves nothing behind when it ends in an error.

    Args:
        out: the folder to make; it must not exist or be empty, unless ``force``.
        tensors: all of them, in the order of the output.
        identity: what the content depends on; finished shards of an interrupted write with the same identity,
            tensors and shard size are kept.
        max_shard_bytes: where a new shard begins.
        force: replace what ``out`` holds, once the new one is complete.

    Raises:
        KingyoError: ``out`` is taken or cannot be written, the disk is too full, or another process writes
            it. Whatever is raised, here or later, ``out`` is as it was.
    """

    def __init__(
        self,
        out: Path,
        tensors: Sequence[OutTensor],
        *,
        identity: str = "",
        max_shard_bytes: int = MAX_SHARD_BYTES,
        force: bool = False,
    ) -> None:
        self.out = out
        self.shards = lay_out(tensors, max_shard_bytes)
        self._dtypes = {tensor.dtype: 0 for tensor in tensors}
        for tensor in tensors:
            self._dtypes[tensor.dtype] += tensor.n_bytes
        self._place = {
            name: (i, start) for i, shard in enumerate(self.shards) for name, start in shard.starts.items()
        }
        self._identity = {"identity": identity, "shards": [shard.n_bytes for shard in self.shards]}
        self._files: dict[int, int] = {}
        self._lock: IO[bytes] | None = None
        self._partial = out.parent / f".{out.name}.partial"
        check_free(out, force=force)

    def __enter__(self) -> CheckpointWriter:
        try:
            self.out.parent.mkdir(parents=True, exist_ok=True)
            self._partial.mkdir(exist_ok=True)
            self._take_lock()
            self._keep_or_clear()
            self._check_room()
        except OSError as error:
            raise unwritable(self.out, error) from error
        return self

    def __exit__(
        self, kind: type[BaseException] | None, _error: BaseException | None, _trace: TracebackType | None
    ) -> None:
        for descriptor in self._files.values():
            os.close(descriptor)
        interrupted = kind is not None and not issubclass(kind, Exception)
        if not (interrupted and self.n_finished):
            shutil.rmtree(self._partial, ignore_errors=True)
        if self._lock is not None:
            self._lock.close()

    @property
    def n_finished(self) -> int:
        """How many shards are complete."""
        return sum(self.is_finished(i) for i in range(len(self.shards)))

    def is_finished(self, shard: int) -> bool:
        """Whether a shard is complete, be it from an earlier try."""
        return (self._partial / self.shards[shard].file).is_file()

    def shard_of(self, name: str) -> int:
        """The shard that a tensor belongs to."""
        return self._place[name][0]

    def write(self, name: str, first: int, numbers: Tensor) -> None:
        """Write a part of a tensor; several threads may.

        Args:
            name: of the tensor.
            first: index of the part's first element.
            numbers: a contiguous vector in the tensor's dtype.
        """
        shard, start = self._place[name]
        raw = cast("Buffer", numbers.view(torch.uint8).numpy())
        view = memoryview(raw) if numbers.numel() else memoryview(b"")
        place = start + first * numbers.element_size()
        try:
            while view:
                written = os.pwrite(self._files[shard], view, place)
                view, place = view[written:], place + written
        except OSError as error:
            raise unwritable(self.out, error) from error

    def begin(self, shard: int) -> None:
        """Open a shard and write its header."""
        path = self._partial / f"{self.shards[shard].file}.part"
        try:
            self._files[shard] = os.open(path, os.O_RDWR | os.O_CREAT | os.O_TRUNC, 0o644)
            os.pwrite(self._files[shard], self.shards[shard].header, 0)
        except OSError as error:
            raise unwritable(self.out, error) from error

    def finish(self, shard: int) -> None:
        """Flush a shard, all tensors of which are written, and give it its final name."""
        file = self.shards[shard].file
        descriptor = self._files.pop(shard)
        try:
            os.ftruncate(descriptor, self.shards[shard].n_bytes)
            os.fsync(descriptor)
            os.close(descriptor)
            (self._partial / f"{file}.part").rename(self._partial / file)
        except OSError as error:
            raise unwritable(self.out, error) from error

    def complete(self, *, like: Checkpoint, files: Mapping[str, str | bytes] | None = None) -> Path:
        """Add all other files and give the folder its name.

        Args:
            like: whose config, tokenizer and licence files are taken over.
            files: further files, name -> content; they replace files of the same name.
        """
        try:
            if len(self.shards) > 1:
                _write_json(self._partial / "model.safetensors.index.json", index_of(self.shards))
            _copy_companions(self._partial, like, self._main_dtype)
            for name, content in (files or {}).items():
                data = content.encode() if isinstance(content, str) else content
                (self._partial / name).write_bytes(data)
            for extra in (_IDENTITY, _LOCK):
                (self._partial / extra).unlink(missing_ok=True)
            _flush(self._partial)
            _replace(self._partial, self.out)
        except OSError as error:
            raise unwritable(self.out, error) from error
        return self.out

    @property
    def _main_dtype(self) -> str | None:
        floating = {dtype: size for dtype, size in self._dtypes.items() if "float" in dtype}
        return max(floating, key=lambda dtype: floating[dtype]) if floating else None

    def _take_lock(self) -> None:
        self._lock = (self._partial / _LOCK).open("wb")
        try:
            fcntl.flock(self._lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError as error:
            self._lock.close()
            raise KingyoError(
                str(self.out),
                expected="a folder that nobody else is writing",
                received="one that another kingyo is writing now",
                remedy="Wait for it, or choose another folder.",
            ) from error

    def _keep_or_clear(self) -> None:
        """Keep what an interrupted write of the same content finished; delete everything else."""
        identity = self._partial / _IDENTITY
        text = json.dumps(self._identity)
        same = identity.is_file() and identity.read_text(encoding="utf-8") == text
        kept = {shard.file for shard in self.shards} if same else set[str]()
        for file in self._partial.iterdir():
            if file.name not in (*kept, _LOCK):
                file.unlink()
        identity.write_text(text, encoding="utf-8")

    def _check_room(self) -> None:
        needed = sum(shard.n_bytes for i, shard in enumerate(self.shards) if not self.is_finished(i))
        free = shutil.disk_usage(self._partial).free
        if needed > free:
            raise KingyoError(
                str(self.out),
                expected=f"{needed / 1e9:.2f} GB of free disk space",
                received=f"{free / 1e9:.2f} GB",
                remedy="Free some space, or choose a folder on another disk.",
            )


def check_free(out: Path, *, force: bool = False) -> None:
    """Refuse a target that holds something, unless it may be replaced.

    Raises:
        KingyoError: it does.
    """
    if out.exists() and not out.is_dir():
        remedy = "Choose another path."
        raise KingyoError(str(out), expected="a new folder", received="a file that exists", remedy=remedy)
    if out.is_dir() and any(out.iterdir()) and not force:
        raise KingyoError(
            str(out),
            expected="a new or empty folder",
            received="one with files",
            remedy="Choose another path, or say --force to replace what it holds.",
        )


def unwritable(out: Path, error: OSError) -> KingyoError:
    """What to say when the system refuses to write."""
    return KingyoError(
        str(out),
        expected="a folder that can be written",
        received=error.strerror or str(error),
        remedy="Choose a folder that you may write to, on a disk with enough free space.",
    )


def _replace(partial: Path, out: Path) -> None:
    """Give the new folder its name; what was there goes when the new one is in its place."""
    partial.chmod(0o755)
    old = out.parent / f".{out.name}.old"
    shutil.rmtree(old, ignore_errors=True)
    if out.is_dir() and any(out.iterdir()):
        out.rename(old)
    partial.rename(out)
    _flush_folder(out.parent)
    shutil.rmtree(old, ignore_errors=True)


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

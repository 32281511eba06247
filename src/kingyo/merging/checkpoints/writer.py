"""Write a checkpoint shard by shard into a folder that appears when it is complete."""

from __future__ import annotations

import contextlib
import fcntl
import json
import math
import os
import shutil
import sys
from collections import Counter
from collections.abc import Collection, Generator, Iterable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path, PurePath
from types import MappingProxyType
from typing import IO, cast

from kingyo.core.io.files import require_short_name, sync
from kingyo.core.io.pipeline_index import PIPELINE
from kingyo.core.io.units import size_text
from kingyo.errors import KingyoError
from kingyo.merging.checkpoints.checkpoint import Checkpoint
from kingyo.merging.checkpoints.folder_files import SEEING, SPEAKING
from kingyo.merging.checkpoints.header import DTYPES, WIDTHS, TensorInfo, read_header
from kingyo.merging.kernels.raw_tensor import AnyTensor, bytes_of

MAX_SHARD_BYTES = 5_000_000_000
NOTHING: Mapping[str, Path] = MappingProxyType({})
_BLOCK = 1 << 26  # bytes per flush to disk
COPIED = (*SPEAKING, *SEEING, "LICENSE*", "NOTICE*")
"""Patterns of the files that are copied besides the config."""

CODE = ("*.py",)
"""Patterns of the code that a config may refer to (``auto_map``)."""

_DTYPE_KEYS = ("dtype", "torch_dtype")
_CODES = {name: code for code, (name, _) in DTYPES.items()}
_ALIGNMENT = 64  # bytes; safetensors requires 8, vector instructions prefer more


@dataclass(frozen=True, kw_only=True)
class OutTensor:
    """A tensor to write: name, shape and torch's name of its dtype."""

    name: str
    shape: tuple[int, ...]
    dtype: str

    @property
    def n_bytes(self) -> int:
        return math.prod(self.shape) * WIDTHS[self.dtype]


@dataclass(frozen=True, kw_only=True)
class Shard:
    """One file: its final name, its header, the offset of each tensor, and its size in bytes."""

    file: str
    header: bytes
    starts: Mapping[str, int]
    n_bytes: int


def lay_out(tensors: Sequence[OutTensor], max_shard_bytes: int, stem: str = "model") -> tuple[Shard, ...]:
    """Split tensors, in order, into shards. A tensor larger than a shard has one of its own."""
    groups: list[list[OutTensor]] = []
    filled = 0
    for tensor in tensors:
        if not groups or (filled and filled + tensor.n_bytes > max_shard_bytes):
            groups.append([])
            filled = 0
        groups[-1].append(tensor)
        filled += tensor.n_bytes
    count = len(groups)
    names = [f"{stem}-{i + 1:05}-of-{count:05}.safetensors" for i in range(count)]
    if count == 1:
        names = [f"{stem}.safetensors"]
    return tuple(_shard(name, group) for name, group in zip(names, groups, strict=True))


def _shard(file: str, tensors: Sequence[OutTensor]) -> Shard:
    entries: dict[str, object] = {"__metadata__": {"format": "pt"}}
    offsets: dict[str, int] = {}
    end = 0
    for tensor in tensors:
        offsets[tensor.name] = end
        entries[tensor.name] = {
            "dtype": _CODES[tensor.dtype],
            "shape": list(tensor.shape),
            "data_offsets": [end, end + tensor.n_bytes],
        }
        end += tensor.n_bytes
    text = json.dumps(entries, separators=(",", ":")).encode()
    text = text.ljust(len(text) + -(len(text) + 8) % _ALIGNMENT)
    header = len(text).to_bytes(8, "little") + text
    starts = {name: len(header) + offset for name, offset in offsets.items()}
    return Shard(file=file, header=header, starts=starts, n_bytes=len(header) + end)


class CheckpointWriter:
    """Context manager that writes one checkpoint. After any error or interrupt, ``out`` is unchanged.

    ``stem`` is the prefix of the weight files; for a component written with its pipeline, such as
    ``unet/diffusion_pytorch_model``, its config and companions go into that folder, too.
    """

    def __init__(
        self,
        out: Path,
        tensors: Sequence[OutTensor],
        *,
        max_shard_bytes: int = MAX_SHARD_BYTES,
        force: bool = False,
        stem: str = "model",
    ) -> None:
        self.out = out
        self._stem = PurePath(stem).name
        self.shards = lay_out(tensors, max_shard_bytes, self._stem)
        self._sizes: Counter[str] = Counter()  # bytes of each floating dtype
        for tensor in tensors:
            if "float" in tensor.dtype:
                self._sizes[tensor.dtype] += tensor.n_bytes
        self._place = {
            name: (i, start) for i, shard in enumerate(self.shards) for name, start in shard.starts.items()
        }
        self._files: dict[int, int] = {}
        self._atomic = AtomicFolder(out, force=force)
        self._folder = self._atomic.content / PurePath(stem).parent

    def __enter__(self) -> CheckpointWriter:
        with self._checked():
            self._atomic.__enter__()
            self._folder.mkdir(exist_ok=True)
        return self

    def __exit__(self, *_: object) -> None:
        for descriptor in self._files.values():
            os.close(descriptor)
        self._atomic.__exit__()

    def write(self, name: str, first: int, numbers: AnyTensor) -> None:
        """Write a span of a tensor. Thread-safe."""
        shard, start = self._place[name]
        view = bytes_of(numbers).data if numbers.numel() else memoryview(b"")
        place = start + first * numbers.element_size()
        with self._checked():
            while view:
                written = os.pwrite(self._files[shard], view, place)
                view, place = view[written:], place + written
        _begin_to_flush(self._files[shard], place - numbers.nbytes, place)

    def begin(self, shard: int) -> None:
        """Open a shard and write its header."""
        with self._checked():
            path = self._folder / self.shards[shard].file
            self._files[shard] = os.open(path, os.O_RDWR | os.O_CREAT | os.O_TRUNC, 0o644)
            os.pwrite(self._files[shard], self.shards[shard].header, 0)

    def finish(self, shard: int) -> None:
        """Flush a shard after all its tensors are written."""
        descriptor = self._files.pop(shard)
        with self._checked():
            try:
                os.ftruncate(descriptor, self.shards[shard].n_bytes)
                os.fsync(descriptor)
            finally:
                os.close(descriptor)

    def weights(self) -> dict[str, TensorInfo]:
        files = (self._folder / shard.file for shard in self.shards)
        return {name: info for file in files for name, info in read_header(file).items()}

    def add_file(self, name: str, parts: Iterable[bytes | memoryview]) -> None:
        file = self._atomic.content / name
        with self._checked(), file.open("wb") as stream:
            stream.writelines(parts)

    def complete(
        self,
        *,
        like: Checkpoint,
        files: Mapping[str, str | bytes] | None = None,
        without: Collection[str] = (),
        more: Collection[str] = (),
        around: Mapping[str, Path] = NOTHING,
    ) -> Path:
        """Add all other files, and give the folder its name.

        Args:
            like: the checkpoint whose config, tokenizer and licence files are copied.
            files: content of further files by their names in ``out``; they replace files of the same name.
            without: patterns of names that are not copied.
            more: patterns of further files to copy.
            around: further files to copy, by their names in ``out``.
        """
        folder, content = self._folder, self._atomic.content
        main_dtype = next((dtype for dtype, _ in self._sizes.most_common(1)), None)
        with self._checked():
            for name, file in around.items():
                shutil.copyfile(file, _with_parents(content / name))
            if len(self.shards) > 1:
                total = sum(shard.n_bytes - len(shard.header) for shard in self.shards)
                weight_map = {name: shard.file for shard in self.shards for name in shard.starts}
                index = {"metadata": {"total_size": total}, "weight_map": weight_map}
                write_json(folder / f"{self._stem}.safetensors.index.json", index)
            copy_companions(folder, like, without, more)
            write_json(folder / "config.json", config_of(like, main_dtype))
            for name, data in (files or {}).items():
                _with_parents(content / name).write_bytes(data.encode() if isinstance(data, str) else data)
            self._atomic.publish()
        return self.out

    @contextlib.contextmanager
    def _checked(self) -> Generator[None]:
        try:
            yield
        except OSError as error:
            raise unwritable_error(self.out, error) from error


def _with_parents(file: Path) -> Path:
    file.parent.mkdir(parents=True, exist_ok=True)
    return file


def copy_companions(
    folder: Path, like: Checkpoint, without: Collection[str] = (), more: Collection[str] = ()
) -> None:
    for pattern in (*COPIED, *more):
        for file in sorted(like.path.glob(pattern)):
            name = file.relative_to(like.path)
            if file.is_file() and not any(PurePath(name).match(each) for each in without):
                shutil.copyfile(file, _with_parents(folder / name))


def config_of(like: Checkpoint, dtype: str | None) -> dict[str, object]:
    """Return the ``config.json`` of a checkpoint, changed to weights of a dtype."""
    config = dict(like.config)
    if dtype is None:
        return config
    if "_class_name" not in config and not any(key in config for key in _DTYPE_KEYS):  # not a diffusers model
        config["torch_dtype"] = dtype
    return _with_dtype(config, dtype)


def write_json(file: Path, content: Mapping[str, object]) -> None:
    file.write_text(json.dumps(content, indent=2, ensure_ascii=False) + "\n", encoding="utf-8")


def _with_dtype(config: Mapping[str, object], dtype: str) -> dict[str, object]:
    changed = dict(config)
    for key, value in config.items():
        if key in _DTYPE_KEYS and isinstance(value, str):
            changed[key] = dtype
        elif key.endswith("_config") and isinstance(value, dict):
            changed[key] = _with_dtype(cast("Mapping[str, object]", value), dtype)
    return changed


def _begin_to_flush(descriptor: int, first: int, end: int) -> None:
    """Start writing the blocks that a span completes to disk; ``finish`` waits for it, and reports errors."""
    start, stop = first // _BLOCK * _BLOCK, end // _BLOCK * _BLOCK
    if sys.platform == "linux" and start < stop:
        with contextlib.suppress(OSError):
            os.posix_fadvise(descriptor, start, stop - start, os.POSIX_FADV_DONTNEED)


def disk_full_error(out: Path, needed: int, free: int) -> KingyoError:
    expected = f"{size_text(needed)} of free disk space"
    remedy = "Free some space, or choose a folder on another disk."
    return KingyoError(str(out), expected, size_text(free), remedy)


class AtomicFolder:
    """Context manager for a folder that appears complete or not at all.

    With ``force``, the new folder replaces the model in ``out``. ``content`` is the folder to write into,
    which ``publish`` renames to ``out``.
    """

    def __init__(self, out: Path, *, force: bool = False) -> None:
        require_short_name(out)
        check_free(out, force=force)
        self._out, self._force = out, force
        self._target = out.resolve()
        self._folder = self._target.parent / f".{self._target.name}.partial"
        self._old = self._target.parent / f".{self._target.name}.old"
        self._new_parents: list[Path] = []
        self._lock: IO[bytes] | None = None
        self.content = self._folder / "content"

    def __enter__(self) -> AtomicFolder:
        self._new_parents = [each for each in self._target.parents if not each.exists()]
        try:
            self._target.parent.mkdir(parents=True, exist_ok=True)
            self._lock = self._locked()
            if self._old.is_dir() and not self._target.exists():  # killed between the two renames of --force
                self._old.rename(self._target)
            check_free(self._out, force=self._force)
            shutil.rmtree(self.content, ignore_errors=True)  # of a process that was killed
            self.content.mkdir()
        except BaseException:
            self.__exit__()
            raise
        return self

    def __exit__(self, *_: object) -> None:
        if self._lock is not None:
            shutil.rmtree(self._folder, ignore_errors=True)
            self._lock.close()
        with contextlib.suppress(OSError):  # not empty: published, or used by another process
            for folder in self._new_parents:
                folder.rmdir()

    def publish(self) -> None:
        """Flush the content to disk and rename it to the target; delete the old target after that."""
        for path in self.content.rglob("*"):
            sync(path)
        sync(self.content)
        shutil.rmtree(self._old, ignore_errors=True)
        has_old = self._target.is_dir() and any(self._target.iterdir())
        try:
            if has_old:
                self._target.rename(self._old)
            self.content.replace(self._target)
        except BaseException:  # including Ctrl-C between the two renames
            if has_old and not self._target.exists():
                self._old.rename(self._target)
            raise
        sync(self._target.parent)
        shutil.rmtree(self._old, ignore_errors=True)

    def _locked(self) -> IO[bytes]:
        while True:
            self._folder.mkdir(exist_ok=True)
            with contextlib.suppress(FileNotFoundError), contextlib.ExitStack() as stack:
                lock = stack.enter_context((self._folder / "lock").open("wb"))
                try:
                    fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
                except BlockingIOError as error:
                    expected = "a folder that no other process is writing"
                    received = "a folder that another kingyo is writing now"
                    remedy = "Wait until it is done, or choose another folder."
                    raise KingyoError(str(self._out), expected, received, remedy) from error
                if os.path.samestat(os.fstat(lock.fileno()), (self._folder / "lock").stat()):
                    stack.pop_all()
                    return lock


def check_free(out: Path, *, force: bool = False) -> None:
    """Check that a target is new or empty, or with ``force`` a model that may be replaced."""

    def refuse(expected: str, received: str, remedy: str) -> KingyoError:
        return KingyoError(str(out), expected, received, remedy)

    if (out.exists() and not out.is_dir()) or os.path.ismount(out):
        received = "a mount point" if out.is_dir() else "a file that exists"
        raise refuse("a new folder", received, f"Choose another path, such as {out / 'model'}.")
    if not out.is_dir() or not any(out.iterdir()):
        return
    if not force:
        remedy = "Choose another path, or pass --force (in Python: force=True) to replace the model in it."
        raise refuse("a new or empty folder", "a folder with files", remedy)
    target = out.resolve()  # --force deletes no home folder or repository by mistake
    is_model = any((target / name).is_file() for name in ("config.json", PIPELINE))
    if not is_model or (target / ".git").exists() or Path.cwd().is_relative_to(target):
        received = "one without config.json, with .git, or around the working directory"
        remedy = "Choose another path, or delete the folder yourself."
        raise refuse("the folder of a model, which --force may replace", received, remedy)


def unwritable_error(out: Path, error: OSError) -> KingyoError:
    expected = "a writable folder"
    remedy = "Choose a folder that you may write to, on a disk with enough free space."
    return KingyoError(str(out), expected, error.strerror or str(error), remedy)

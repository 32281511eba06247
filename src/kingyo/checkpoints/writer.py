"""Writing a checkpoint: shard by shard, all or nothing, and resumed where an interrupt left it.

Everything goes into a hidden folder beside the target and takes the target's name in one step at the end: a
folder that has the name is complete. A shard that has its final name in the hidden folder is complete too; a
rerun of the same merge keeps it.
"""

from __future__ import annotations

import contextlib
import json
import os
import shutil
import sys
from collections.abc import Collection, Mapping, Sequence
from pathlib import Path, PurePath
from types import MappingProxyType, TracebackType

from kingyo.checkpoints.checkpoint import Checkpoint
from kingyo.checkpoints.companions import config_of, copy_companions, write_json
from kingyo.checkpoints.partial import PartialFolder, unwritable
from kingyo.checkpoints.shards import OutTensor, index_of, lay_out
from kingyo.errors import KingyoError
from kingyo.kernels.raw import bytes_of
from kingyo.late import Tensor

MAX_SHARD_BYTES = 5_000_000_000
NOTHING: Mapping[str, Path] = MappingProxyType({})
_BLOCK = 1 << 26  # bytes; so many go to disk at once


class CheckpointWriter:
    """Writes one checkpoint; a context, which leaves nothing behind when it ends in an error.

    Args:
        out: the folder to make; it must not exist or be empty, unless ``force``.
        tensors: all of them, in the order of the output.
        identity: what the content depends on; finished shards of an interrupted write with the same identity,
            tensors and shard size are kept.
        max_shard_bytes: where a new shard begins.
        force: replace the model that ``out`` holds, once the new one is complete.
        stem: how the names of its files with weights begin; of a component that is written with its pipeline
            as ``unet/diffusion_pytorch_model``, and its config and the like go into that folder, too.

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
        stem: str = "model",
    ) -> None:
        self.out = out
        self._inside, stem = PurePath(stem).parent, PurePath(stem).name
        self.shards = lay_out(tensors, max_shard_bytes, stem)
        self._stem = stem
        self._dtypes = {tensor.dtype: 0 for tensor in tensors}
        for tensor in tensors:
            self._dtypes[tensor.dtype] += tensor.n_bytes
        self._place = {
            name: (i, start) for i, shard in enumerate(self.shards) for name, start in shard.starts.items()
        }
        headers = [shard.digest for shard in self.shards]
        self._files: dict[int, int] = {}
        self._is_noted = False
        whole = json.dumps({"identity": identity, "shards": headers})
        self._partial = PartialFolder(out, whole, force=force)

    def __enter__(self) -> CheckpointWriter:
        try:
            self._partial.take({str(self._inside / shard.file) for shard in self.shards})
            self._folder.mkdir(exist_ok=True)
            self._check_room()
        except OSError as error:
            self._partial.release(keep=False)
            raise unwritable(self.out, error) from error
        except BaseException:
            self._partial.release(keep=False)
            raise
        return self

    def __exit__(
        self, kind: type[BaseException] | None, _error: BaseException | None, _trace: TracebackType | None
    ) -> None:
        for descriptor in self._files.values():
            os.close(descriptor)
        is_interrupted = kind is not None and not issubclass(kind, Exception)
        self._partial.release(keep=self._is_noted or (is_interrupted and self.n_finished > 0))

    @property
    def is_published(self) -> bool:
        """Whether ``out`` is there already, made of the same: nothing is left to be done."""
        files = {self.out / self._inside / shard.file: shard.n_bytes for shard in self.shards}
        return self._partial.is_published and all(
            file.is_file() and file.stat().st_size == n_bytes for file, n_bytes in files.items()
        )

    @property
    def n_finished(self) -> int:
        """How many shards are complete."""
        return sum(self.is_finished(i) for i in range(len(self.shards)))

    @property
    def n_kept(self) -> int:
        """How many shards of an earlier try are complete and will be kept."""
        return self.n_finished if self._partial.is_same else 0

    def is_finished(self, shard: int) -> bool:
        """Whether a shard is complete, be it from an earlier try."""
        return (self._folder / self.shards[shard].file).is_file()

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
        view = bytes_of(numbers).data if numbers.numel() else memoryview(b"")
        place = start + first * numbers.element_size()
        try:
            while view:
                written = os.pwrite(self._files[shard], view, place)
                view, place = view[written:], place + written
        except OSError as error:
            raise unwritable(self.out, error) from error
        _begin_to_flush(self._files[shard], place - numbers.nbytes, place)

    def begin(self, shard: int) -> None:
        """Open a shard and write its header."""
        path = self._folder / f"{self.shards[shard].file}.part"
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
            try:
                os.ftruncate(descriptor, self.shards[shard].n_bytes)
                os.fsync(descriptor)
            finally:
                os.close(descriptor)
            (self._folder / f"{file}.part").rename(self._folder / file)
        except OSError as error:
            raise unwritable(self.out, error) from error

    def complete(
        self,
        *,
        like: Checkpoint,
        files: Mapping[str, str | bytes] | None = None,
        without: Collection[str] = (),
        more: Collection[str] = (),
        around: Mapping[str, Path] = NOTHING,
        is_one_of_several: bool = False,
    ) -> Path:
        """Add all other files and give the folder its name.

        Args:
            like: whose config, tokenizer and licence files are taken over.
            files: further files of ``out``, name -> content; they replace files of the same name.
            without: patterns of names that are not taken over.
            more: patterns of further files that are.
            around: files that are copied as they are, by their names in ``out``.
            is_one_of_several: leave a note beside it of what it was made, so that a rerun of several writes
                knows that this one is done; ``forget`` removes it.
        """
        folder = self._folder
        try:
            for name, file in around.items():
                place = self._partial.content / name
                place.parent.mkdir(parents=True, exist_ok=True)
                shutil.copyfile(file, place)
            if len(self.shards) > 1:
                write_json(folder / f"{self._stem}.safetensors.index.json", index_of(self.shards))
            copy_companions(folder, like, without, more)
            write_json(folder / "config.json", config_of(like, self._main_dtype))
            for name, content in (files or {}).items():
                data = content.encode() if isinstance(content, str) else content
                place = self._partial.content / name
                place.parent.mkdir(parents=True, exist_ok=True)
                place.write_bytes(data)
            self._partial.publish()
            self._is_noted = is_one_of_several
        except OSError as error:
            raise unwritable(self.out, error) from error
        return self.out

    @property
    def _folder(self) -> Path:
        return self._partial.content / self._inside

    @property
    def _main_dtype(self) -> str | None:
        floating = {dtype: size for dtype, size in self._dtypes.items() if "float" in dtype}
        return max(floating, key=lambda dtype: floating[dtype]) if floating else None

    def _check_room(self) -> None:
        needed = sum(shard.n_bytes for i, shard in enumerate(self.shards) if not self.is_finished(i))
        free = shutil.disk_usage(self._partial.content).free
        if needed > free:
            raise no_room(self.out, needed, free)


def _begin_to_flush(descriptor: int, first: int, end: int) -> None:
    """Have the blocks that a part completes written to disk while the next is computed; do not wait for it.

    Linux does so when told that nobody will read them, and still keeps them in memory. Whether they arrived
    is for ``finish`` to ask, so a refusal means nothing here.
    """
    start, stop = first // _BLOCK * _BLOCK, end // _BLOCK * _BLOCK
    if sys.platform == "linux" and start < stop:
        with contextlib.suppress(OSError):
            os.posix_fadvise(descriptor, start, stop - start, os.POSIX_FADV_DONTNEED)


def no_room(out: Path, needed: int, free: int) -> KingyoError:
    """What to say of a disk that is too full."""
    return KingyoError(
        str(out),
        expected=f"{_size(needed)} of free disk space",
        received=_size(free),
        remedy="Free some space, or choose a folder on another disk.",
    )


def _size(n_bytes: int) -> str:
    return f"{n_bytes / 1e9:.2f} GB" if n_bytes >= 1e8 else f"{n_bytes / 1e6:.2f} MB"

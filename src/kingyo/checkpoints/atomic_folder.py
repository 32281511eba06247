"""Create a folder atomically: write to a hidden folder next to it under a lock, then rename.

``.OUT.partial`` holds a lock, the identity of the content, and the content, which is renamed to the target in
one step. As long as the hidden folder remains after that, it records the identity of the target.
"""

from __future__ import annotations

import contextlib
import fcntl
import os
import shutil
from collections.abc import Collection
from pathlib import Path
from typing import IO

from kingyo.errors import KingyoError
from kingyo.io.files import require_short_name, sync
from kingyo.io.pipeline_index import PIPELINE

_IDENTITY = "identity"
_LOCK = "lock"
_CONTENT = "content"


class PartialFolder:
    """The hidden folder of a target, which must not exist or must be empty, unless ``force``.

    Args:
        out: the folder to make.
        identity: identifies the content.
        force: replace the model in ``out`` once the new one is complete.

    Attributes:
        is_published: whether ``out`` already has this content, and the hidden folder records it.
    """

    def __init__(self, out: Path, identity: str, *, force: bool = False) -> None:
        self.out = out
        self._identity = identity
        self._force = force
        self._target = out.resolve()
        self._folder = hidden(out)
        self._old = self._target.parent / f".{self._target.name}.old"
        self._new_parents: list[Path] = []
        self._lock: IO[bytes] | None = None
        self.is_published = is_published(out) and self.is_same
        if not self.is_published:
            check_free(out, force=force)

    @property
    def content(self) -> Path:
        """The folder to write the content into."""
        return self._folder / _CONTENT

    def take(self, kept: Collection[str]) -> None:
        """Create and lock the folder. Files of an interrupted write of the same content are kept.

        Args:
            kept: names of the files to keep, such as ``unet/model.safetensors``; others are deleted.
        """
        self._new_parents = [each for each in self._target.parents if not each.exists()]
        self._target.parent.mkdir(parents=True, exist_ok=True)
        self._hold()
        if self._old.is_dir() and not self._target.exists():  # killed between the two renames of --force
            self._old.rename(self._target)
        check_free(self.out, force=self._force)
        self.content.mkdir(exist_ok=True)
        is_same = self.is_same
        for path in sorted(self.content.rglob("*"), reverse=True):  # files before their folder
            if path.is_dir():
                if not any(path.iterdir()):
                    path.rmdir()
            elif not (is_same and str(path.relative_to(self.content)) in kept):
                path.unlink()
        (self._folder / _IDENTITY).write_text(self._identity, encoding="utf-8")

    def publish(self) -> None:
        """Rename the content to the target, and delete the old target after that."""
        _flush(self.content)
        self.content.chmod(0o755)
        shutil.rmtree(self._old, ignore_errors=True)
        has_old = self._target.is_dir() and any(self._target.iterdir())
        try:
            if has_old:
                self._target.rename(self._old)
            self.content.rename(self._target)
        except BaseException:  # including Ctrl-C between the two renames
            if has_old and not self._target.exists():
                self._old.rename(self._target)
            raise
        sync(self._target.parent)
        shutil.rmtree(self._old, ignore_errors=True)

    def release(self, *, keep: bool) -> None:
        """Unlock the folder: ``keep`` it to resume later, or delete it, with new parents that are empty."""
        if not keep and self._lock is not None:
            (self._folder / _IDENTITY).unlink(missing_ok=True)  # first: alone, it means published
            shutil.rmtree(self._folder, ignore_errors=True)
            with contextlib.suppress(OSError):  # not empty: used by this or another process
                for folder in self._new_parents:
                    folder.rmdir()
        if self._lock is not None:
            self._lock.close()
            self._lock = None

    @property
    def is_same(self) -> bool:
        """Return whether the files of an interrupted write have the same content."""
        identity = self._folder / _IDENTITY
        return identity.is_file() and identity.read_text(encoding="utf-8") == self._identity

    def _hold(self) -> None:
        """Take the lock, and try again if its last holder deleted the lock file meanwhile."""
        while True:
            self._folder.mkdir(exist_ok=True)
            try:
                lock = (self._folder / _LOCK).open("wb")
            except FileNotFoundError:
                continue
            try:
                fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
            except BlockingIOError as error:
                lock.close()
                raise KingyoError(
                    str(self.out),
                    expected="a folder that no other process is writing",
                    received="a folder that another kingyo is writing now",
                    remedy="Wait until it is done, or choose another folder.",
                ) from error
            with contextlib.suppress(FileNotFoundError):
                if os.path.samestat(os.fstat(lock.fileno()), (self._folder / _LOCK).stat()):
                    self._lock = lock
                    return
            lock.close()


def hidden(out: Path) -> Path:
    """Return the hidden folder that holds a folder's files until it is complete."""
    require_short_name(out)
    target = out.resolve()
    return target.parent / f".{target.name}.partial"


def is_published(out: Path) -> bool:
    """Return whether a folder is complete, and the record of its identity still exists."""
    folder = hidden(out)
    return out.is_dir() and (folder / _IDENTITY).is_file() and not (folder / _CONTENT).exists()


def forget(out: Path) -> None:
    """Delete the record of a folder's identity."""
    if is_published(out):
        shutil.rmtree(hidden(out), ignore_errors=True)


def check_free(out: Path, *, force: bool = False) -> None:
    """Check that a target is new or empty, or with ``force`` a model that may be replaced."""

    def refuse(expected: str, received: str, remedy: str) -> KingyoError:
        return KingyoError(str(out), expected=expected, received=received, remedy=remedy)

    if out.exists() and not out.is_dir():
        raise refuse("a new folder", "a file that exists", "Choose another path.")
    if os.path.ismount(out):
        remedy = f"Choose a folder on this disk, such as {out / 'model'}."
        raise refuse("a new folder", "a mount point", remedy)
    if not out.is_dir() or not any(out.iterdir()):
        return
    if not force:
        remedy = "Choose another path, or pass --force (in Python: force=True) to replace the model in it."
        raise refuse("a new or empty folder", "a folder with files", remedy)
    _check_replaceable(out)


def unwritable(out: Path, error: OSError) -> KingyoError:
    """Return the error for a failed write."""
    return KingyoError(
        str(out),
        expected="a writable folder",
        received=error.strerror or str(error),
        remedy="Choose a folder that you may write to, on a disk with enough free space.",
    )


def _check_replaceable(out: Path) -> None:
    """Check that --force does not delete a home folder or a repository by mistake."""
    target = out.resolve()
    if not any((target / name).is_file() for name in ("config.json", PIPELINE)):
        reason = "a folder without config.json"
    elif (target / ".git").exists():
        reason = "a folder with a repository (.git)"
    elif Path.cwd().is_relative_to(target):
        reason = "a folder that contains the working directory"
    else:
        return
    raise KingyoError(
        str(out),
        expected="the folder of a model, which --force may replace",
        received=reason,
        remedy="Choose another path, or delete the folder yourself.",
    )


def _flush(folder: Path) -> None:
    for file in folder.iterdir():
        if file.is_dir():
            _flush(file)
            continue
        sync(file)
    sync(folder)

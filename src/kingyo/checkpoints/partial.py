"""A folder that appears whole or not at all: made beside its target, held by one process, renamed at the end.

``.OUT.partial`` holds a lock, what the content depends on, and the content itself, which takes the target's
name in one step. Once that is done and until the hidden folder goes, it says of what the target was made.
It knows nothing of models but what tells one from another folder that may be replaced.
"""

from __future__ import annotations

import contextlib
import fcntl
import os
import shutil
from collections.abc import Collection
from pathlib import Path
from typing import IO

from kingyo.atomic import require_short_name, sync
from kingyo.checkpoints.reference import PIPELINE
from kingyo.errors import KingyoError

_IDENTITY = "identity"
_LOCK = "lock"
_CONTENT = "content"


class PartialFolder:
    """The hidden folder of a target.

    Args:
        out: the folder to make; it must not exist or be empty, unless ``force``.
        identity: what the content depends on.
        force: replace the model that ``out`` holds, once the new one is complete.

    Attributes:
        is_published: whether ``out`` is there already, made of the same, by a try that ended right then.

    Raises:
        KingyoError: ``out`` is taken, or can never be replaced.
    """

    def __init__(self, out: Path, identity: str, *, force: bool = False) -> None:
        self.out = out
        self._identity = identity
        self._force = force
        self._target = out.resolve()
        self._folder = hidden(out)
        self._old = self._target.parent / f".{self._target.name}.old"
        self._made: list[Path] = []
        self._lock: IO[bytes] | None = None
        self.is_published = is_published(out) and self.is_same
        if not self.is_published:
            check_free(out, force=force)

    @property
    def content(self) -> Path:
        """Where the content goes."""
        return self._folder / _CONTENT

    def take(self, kept: Collection[str]) -> None:
        """Make it and hold it; what an earlier try left is kept if it is of the same content.

        Args:
            kept: names of the files that may be kept, as ``unet/model.safetensors``; all others go.

        Raises:
            KingyoError: another process holds it, or ``out`` was taken in the meantime.
            OSError: it cannot be written.
        """
        self._make_parents()
        self._hold()
        if self._old.is_dir() and not self._target.exists():  # killed between the two renames of a --force
            self._old.rename(self._target)
        check_free(self.out, force=self._force)
        self.content.mkdir(exist_ok=True)
        is_same = self.is_same
        for path in sorted(self.content.rglob("*"), reverse=True):  # what is in a folder before the folder
            if path.is_dir():
                if not any(path.iterdir()):
                    path.rmdir()
            elif not (is_same and str(path.relative_to(self.content)) in kept):
                path.unlink()
        (self._folder / _IDENTITY).write_text(self._identity, encoding="utf-8")

    def publish(self) -> None:
        """Give the content the target's name; what was there goes when the new one is in its place.

        Raises:
            OSError: the system refuses; the target is as it was.
        """
        _flush(self.content)
        self.content.chmod(0o755)
        shutil.rmtree(self._old, ignore_errors=True)
        has_old = self._target.is_dir() and any(self._target.iterdir())
        try:
            if has_old:
                self._target.rename(self._old)
            self.content.rename(self._target)
        except BaseException:  # a Ctrl-C may come between the two
            if has_old and not self._target.exists():
                self._old.rename(self._target)
            raise
        sync(self._target.parent)
        self._made = []
        shutil.rmtree(self._old, ignore_errors=True)

    def release(self, *, keep: bool) -> None:
        """Let go of it: ``keep`` it for another try, or leave nothing behind."""
        if not keep:
            if self._lock is not None:
                (self._folder / _IDENTITY).unlink(missing_ok=True)  # first: alone it says that all is done
                shutil.rmtree(self._folder, ignore_errors=True)
            for folder in reversed(self._made):
                with contextlib.suppress(OSError):  # somebody else put something there
                    folder.rmdir()
        if self._lock is not None:
            self._lock.close()
            self._lock = None

    @property
    def is_same(self) -> bool:
        """Whether an earlier try left something of the same content."""
        told = self._folder / _IDENTITY
        return told.is_file() and told.read_text(encoding="utf-8") == self._identity

    def _make_parents(self) -> None:
        missing = [each for each in self._target.parents if not each.exists()]
        for folder in reversed(missing):
            folder.mkdir(exist_ok=True)
            self._made.append(folder)

    def _hold(self) -> None:
        """Lock the file that is there now, and not one that its holder is just deleting."""
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
                    expected="a folder that nobody else is writing",
                    received="one that another kingyo is writing now",
                    remedy="Wait for it, or choose another folder.",
                ) from error
            except OSError:
                lock.close()
                raise
            with contextlib.suppress(FileNotFoundError):
                if os.path.samestat(os.fstat(lock.fileno()), (self._folder / _LOCK).stat()):
                    self._lock = lock
                    return
            lock.close()


def hidden(out: Path) -> Path:
    """Return where the parts of a folder are until it is whole.

    Raises:
        KingyoError: the name is too long.
    """
    require_short_name(out)
    target = out.resolve()
    return target.parent / f".{target.name}.partial"


def is_published(out: Path) -> bool:
    """Whether a folder took its name, and what says of what it was made is still beside it."""
    folder = hidden(out)
    return out.is_dir() and (folder / _IDENTITY).is_file() and not (folder / _CONTENT).exists()


def forget(out: Path) -> None:
    """Let go of what says of what a folder was made."""
    if is_published(out):
        shutil.rmtree(hidden(out), ignore_errors=True)


def check_free(out: Path, *, force: bool = False) -> None:
    """Refuse a target that holds something, unless it is a model that may be replaced.

    Raises:
        KingyoError: it does, or it is a disk of its own, which cannot take another's name.
    """
    if out.exists() and not out.is_dir():
        remedy = "Choose another path."
        raise KingyoError(str(out), expected="a new folder", received="a file that exists", remedy=remedy)
    if os.path.ismount(out):
        raise KingyoError(
            str(out),
            expected="a new folder",
            received="a disk that is mounted there",
            remedy=f"Choose a folder on it, such as {out / 'model'}.",
        )
    if not out.is_dir() or not any(out.iterdir()):
        return
    if not force:
        raise KingyoError(
            str(out),
            expected="a new or empty folder",
            received="one with files",
            remedy="Choose another path, or pass --force (in Python: force=True) to replace the model in it.",
        )
    _check_replaceable(out)


def unwritable(out: Path, error: OSError) -> KingyoError:
    """What to say when the system refuses to write."""
    return KingyoError(
        str(out),
        expected="a folder that can be written",
        received=error.strerror or str(error),
        remedy="Choose a folder that you may write to, on a disk with enough free space.",
    )


def _check_replaceable(out: Path) -> None:
    """A slip of the pen must not cost a home folder, or the history of a repository."""
    target = out.resolve()
    reasons = {
        "one without config.json": not any((target / name).is_file() for name in ("config.json", PIPELINE)),
        "one with a repository (.git)": (target / ".git").exists(),
        "one that holds the working directory": Path.cwd().is_relative_to(target),
    }
    reason = next((text for text, holds in reasons.items() if holds), None)
    if reason is not None:
        raise KingyoError(
            str(out),
            expected="the folder of a model, which --force may replace",
            received=reason,
            remedy="Choose another path, or delete the folder yourself.",
        )


def _flush(folder: Path) -> None:
    """Force the folder's files, then its listing, to disk."""
    for file in folder.iterdir():
        if file.is_dir():
            _flush(file)
            continue
        sync(file)
    sync(folder)

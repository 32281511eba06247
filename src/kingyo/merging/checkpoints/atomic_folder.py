"""Create a folder atomically: write into a hidden folder beside it, under a lock, then rename.

``.OUT.partial`` holds a lock and the content. A process that is killed leaves it behind, and the next one
that writes ``OUT`` deletes it.
"""

from __future__ import annotations

import contextlib
import fcntl
import os
import shutil
from pathlib import Path
from typing import IO

from kingyo.core.io.files import require_short_name, sync
from kingyo.core.io.pipeline_index import PIPELINE
from kingyo.errors import KingyoError


class AtomicFolder:
    """Context manager for a folder that appears complete or not at all.

    Args:
        out: the folder to make; it must not exist or must be empty, unless ``force``.
        force: replace the model in ``out`` once the new one is complete.

    Attributes:
        content: the folder to write into, which ``publish`` renames to ``out``.
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
        """Take the lock, and try again if its last holder deleted the lock file meanwhile."""
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
    target = out.resolve()  # --force deletes no home folder or repository by mistake
    if not any((target / name).is_file() for name in ("config.json", PIPELINE)):
        reason = "a folder without config.json"
    elif (target / ".git").exists():
        reason = "a folder with a repository (.git)"
    elif Path.cwd().is_relative_to(target):
        reason = "a folder that contains the working directory"
    else:
        return
    remedy = "Choose another path, or delete the folder yourself."
    raise refuse("the folder of a model, which --force may replace", reason, remedy)


def unwritable_error(out: Path, error: OSError) -> KingyoError:
    """Return the error for a failed write."""
    expected = "a writable folder"
    remedy = "Choose a folder that you may write to, on a disk with enough free space."
    return KingyoError(str(out), expected, error.strerror or str(error), remedy)

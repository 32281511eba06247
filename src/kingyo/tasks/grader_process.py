"""A process for graders that may hang or crash: it can be killed whatever they do, and dies with this one.

One process serves all such graders. It starts when the first is called, and again after it was killed. It
gets many answers at once and sends each result as soon as it is there, so that a hang can be told of its
answer. This module knows no grader; ``grader_worker`` is the other side.
"""

from __future__ import annotations

import atexit
import json
import os
import pickle
import select
import signal
import socket
import subprocess
import sys
import time
from collections.abc import Sequence
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path
from threading import Lock
from typing import Literal, cast

from kingyo.errors import ChangedSourceError, KingyoError
from kingyo.registry import is_in_file, whole_reference
from kingyo.timeout import TooSlowError
from kingyo.user_files import hash_own
from kingyo.versions import hash_of

BUILD_SECONDS = 600.0
"""The most seconds that the process may take to start and to import a grader."""
LOOK_SECONDS = 1.0
"""Seconds between looks whether the process lives: a grader's subprocess may keep its connection open."""
CLOSE_SECONDS = 2.0
"""Seconds that the process has to end by itself before it is killed."""


@dataclass(frozen=True, kw_only=True)
class GraderReference:
    """A grader as another process finds it again: what the user wrote, and the code that it meant."""

    name: str
    option: object
    folder: Path
    digest: str


class UnknownThereError(Exception):
    """The other process cannot build this grader, or take its items."""


class CrashedError(Exception):
    """The process ended while it graded; how, in a few words."""


Result = float | KingyoError | TooSlowError | CrashedError
Action = Literal["grade", "check"]


def reference_to(name: str, option: object, folder: Path) -> GraderReference:
    """Note which grader is meant, and what its file, and all that this depends on, hold now."""
    folder = folder.resolve()
    file = Path(whole_reference(name, folder).rpartition(":")[0])
    own = hash_own(file, option, folder) if is_in_file(name) else {}
    digest = hash_of(json.dumps(sorted((str(path), value) for path, value in own.items())))
    return GraderReference(name=name, option=option, folder=folder, digest=digest)


class GraderProcess:
    """Asks graders in another process, which it starts, kills and starts again."""

    def __init__(self) -> None:
        self._lock = Lock()
        self._child: _Child | None = None
        self._unknown: set[bytes] = set()

    def ask(
        self, grader: GraderReference, action: Action, arguments: Sequence[tuple[object, ...]], seconds: float
    ) -> list[Result]:
        """Call a grader for each of several answers, up to the first that fails.

        Args:
            grader: which one.
            action: ``grade`` with an answer and its item, or ``check`` with an item.
            arguments: of each call.
            seconds: that each may take.

        Returns:
            The scores; the last may be an error. After one that is late or crashes the process is gone.

        Raises:
            UnknownThereError: the grader must be called in this process.
            ChangedSourceError: its file, or one that this depends on, has changed since it was built.
        """
        key = pickle.dumps(grader)
        if key in self._unknown:
            raise UnknownThereError
        try:
            request = pickle.dumps((key, action, list(arguments)))
        except Exception as error:
            raise UnknownThereError from error
        with self._lock:
            try:
                return self._results_of(self._ready(key, grader), request, len(arguments), seconds)
            except UnknownThereError:
                self._unknown.add(key)
                raise
            except BaseException:  # such as Ctrl-C: what is under way must not answer the next question
                self._end()
                raise

    def close(self) -> None:
        """Let the process end by itself, and kill it if it does not."""
        if self._child is not None:
            self._child.leave()
        self._end()

    def forget(self) -> None:
        """Leave the process to the one that this one was forked from."""
        if self._child is not None:
            self._child.forget()
        self._child, self._lock = None, Lock()

    def _results_of(self, child: _Child, request: bytes, count: int, seconds: float) -> list[Result]:
        results: list[Result] = []
        try:
            child.send(request, seconds)
            while len(results) < count and not (results and isinstance(results[-1], Exception)):
                results.append(child.hear(seconds))
        except (TooSlowError, CrashedError) as error:
            results.append(error)
            self._end()
        return results

    def _ready(self, key: bytes, grader: GraderReference) -> _Child:
        """The process, with this grader built in it."""
        child = self._child = self._child or _Child()
        if key in child.built:
            return child
        if reference_to(grader.name, grader.option, grader.folder) != grader:
            raise ChangedSourceError(
                f"grader {grader.name}",
                expected="the files that it was built from",
                received="some that were written since",
                remedy="Bring the old files back and go on, or start anew.",
            )
        try:
            child.send(pickle.dumps((key, "build", [])), BUILD_SECONDS)
            answer = child.hear(BUILD_SECONDS)
        except (TooSlowError, CrashedError) as error:
            raise KingyoError(
                f"grader {grader.name}",
                expected="one that another process can import as well",
                received=str(error) or f"nothing in {BUILD_SECONDS:g} s",
                remedy="Let its file do nothing on import but define it.",
            ) from error
        if isinstance(answer, Exception):
            raise UnknownThereError
        child.built.add(key)
        return child

    def _end(self) -> None:
        child, self._child = self._child, None
        if child is not None:
            child.kill()


class _Child:
    """The process, seen from here."""

    def __init__(self) -> None:
        self.built: set[bytes] = set()
        self._ours, theirs = socket.socketpair()
        life, self._held = os.pipe()  # it ends when nobody holds the other end any more
        code = (
            f"import sys; sys.path[:] = {[str(each) for each in sys.path]!r}; "
            f"from kingyo.tasks.grader_worker import serve; serve({theirs.fileno()}, {life})"
        )
        try:
            self._process = subprocess.Popen(
                [sys.executable, "-c", code],
                stdin=subprocess.DEVNULL,
                stdout=subprocess.DEVNULL,  # the worker sends it to standard error
                pass_fds=[theirs.fileno(), life],
                start_new_session=True,  # a group to kill, which no Ctrl-C at the terminal reaches
                env={**os.environ, **_threads()},
            )
        except BaseException:  # the system has no room for another process
            self._close()
            raise
        finally:
            theirs.close()
            os.close(life)
        self._poll = select.poll()
        self._poll.register(self._ours, select.POLLIN)
        self._heard = b""

    def send(self, request: bytes, seconds: float) -> None:
        self._ours.settimeout(seconds)
        try:
            self._ours.sendall(request)
        except TimeoutError as error:
            raise TooSlowError from error
        except OSError as error:
            raise CrashedError(self._ended()) from error

    def hear(self, seconds: float) -> Result:
        """Wait for a line: a score, or an error in its parts."""
        until = time.monotonic() + seconds
        while b"\n" not in self._heard:
            left = until - time.monotonic()
            if left <= 0:
                raise TooSlowError
            if self._poll.poll(1000 * min(left, LOOK_SECONDS)):
                self._hear_more()
            elif self._process.poll() is not None:
                raise CrashedError(self._ended())
        line, _, self._heard = self._heard.partition(b"\n")
        try:
            value: object = json.loads(line)
        except ValueError as error:  # a grader wrote there
            raise CrashedError("something else on the connection of its process") from error
        if isinstance(value, float):
            return value
        argument, expected, received, remedy = map(str, cast("list[object]", value))
        return KingyoError(argument, expected=expected, received=received, remedy=remedy)

    def _hear_more(self) -> None:
        try:
            more = self._ours.recv(1 << 16)
        except OSError:
            more = b""
        if not more:
            raise CrashedError(self._ended())
        self._heard += more

    def _ended(self) -> str:
        with suppress(subprocess.TimeoutExpired):  # it may still be on its way out
            code = self._process.wait(LOOK_SECONDS)
            return (
                f"its process ended by signal {-code}" if code < 0 else f"its process ended with code {code}"
            )
        return "its process closed its connection"

    def leave(self) -> None:
        with suppress(OSError):
            self._ours.shutdown(socket.SHUT_WR)
        with suppress(subprocess.TimeoutExpired):
            self._process.wait(CLOSE_SECONDS)

    def kill(self) -> None:
        """Kill it and all that it began."""
        with suppress(ProcessLookupError, PermissionError):
            os.killpg(self._process.pid, signal.SIGKILL)
        self._process.wait()
        self._close()

    def forget(self) -> None:
        self._process.returncode = 0  # it is no child of this process
        self._close()

    def _close(self) -> None:
        self._ours.close()
        os.close(self._held)


def _threads() -> dict[str, str]:
    """As many threads as torch has here: sums of a grader that uses it may depend on them."""
    torch = sys.modules.get("torch")
    return {} if torch is None else {"OMP_NUM_THREADS": str(torch.get_num_threads())}


GRADER_PROCESS = GraderProcess()
atexit.register(GRADER_PROCESS.close)
if hasattr(os, "register_at_fork"):
    os.register_at_fork(after_in_child=GRADER_PROCESS.forget)

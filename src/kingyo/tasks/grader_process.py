"""A child process for graders that may hang or crash; it can be killed at any time and dies with its parent.

One process serves all such graders. It starts with the first call, and again after a kill. A request holds
many answers; the process sends each result at once, so that a timeout names the answer that caused it.
``grader_worker`` is the code of the child.
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
from kingyo.user_code.files import hash_own
from kingyo.user_code.timeout import TooSlowError
from kingyo.user_code.versions import hash_of

BUILD_SECONDS = 600.0
"""Limit in seconds for starting the process and importing a grader."""
LOOK_SECONDS = 1.0
"""Seconds between checks that the process is alive: a grader's subprocess may keep its connection open."""
CLOSE_SECONDS = 2.0
"""Seconds that the process may take to exit before it is killed."""


@dataclass(frozen=True, kw_only=True)
class GraderReference:
    """Identifies a grader for another process: its name and option in the YAML, and a digest of its code."""

    name: str
    option: object
    folder: Path
    digest: str


class UnknownThereError(Exception):
    """The other process cannot build this grader, or take its items."""


class CrashedError(Exception):
    """The process ended while it graded; the text is the reason."""


Result = float | KingyoError | TooSlowError | CrashedError
Action = Literal["grade", "check"]


def reference_to(name: str, option: object, folder: Path) -> GraderReference:
    """Return a reference to a grader, with a digest of its file and of the files that it depends on."""
    folder = folder.resolve()
    file = Path(whole_reference(name, folder).rpartition(":")[0])
    own = hash_own(file, option, folder) if is_in_file(name) else {}
    digest = hash_of(json.dumps(sorted((str(path), value) for path, value in own.items())))
    return GraderReference(name=name, option=option, folder=folder, digest=digest)


class GraderProcess:
    """Runs graders in a child process, which it starts, kills and restarts as needed."""

    def __init__(self) -> None:
        self._lock = Lock()
        self._child: _Child | None = None
        self._unknown: set[bytes] = set()

    def ask(
        self, grader: GraderReference, action: Action, arguments: Sequence[tuple[object, ...]], seconds: float
    ) -> list[Result]:
        """Call a grader once per element of ``arguments``, up to the first call that fails.

        Args:
            grader: the grader.
            action: ``grade`` with an answer and its item, or ``check`` with an item.
            arguments: the arguments of each call.
            seconds: limit of each call.

        Returns:
            The scores; the last may be an error. A timeout or a crash ends the process.

        Raises:
            UnknownThereError: the grader must be called in this process.
            ChangedSourceError: the grader's code has changed since it was built.
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
            except BaseException:  # e.g. Ctrl-C: pending results must not answer the next request
                self._end()
                raise

    def close(self) -> None:
        """Ask the process to exit, and kill it if it does not."""
        if self._child is not None:
            self._child.leave()
        self._end()

    def forget(self) -> None:
        """Drop the process after a fork; it belongs to the parent."""
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
        """Return the process, with this grader built in it."""
        child = self._child = self._child or _Child()
        if key in child.built:
            return child
        if reference_to(grader.name, grader.option, grader.folder) != grader:
            raise ChangedSourceError(
                f"grader {grader.name}",
                expected="unchanged source files during a run",
                received="files that changed since the grader was built",
                remedy="Restore the old files and resume, or start a new run.",
            )
        try:
            child.send(pickle.dumps((key, "build", [])), BUILD_SECONDS)
            answer = child.hear(BUILD_SECONDS)
        except (TooSlowError, CrashedError) as error:
            raise KingyoError(
                f"grader {grader.name}",
                expected="a grader that another process can import",
                received=str(error) or f"no answer in {BUILD_SECONDS:g} s",
                remedy="Make sure that importing its file only defines the grader.",
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
    """The parent's side of the child process."""

    def __init__(self) -> None:
        self.built: set[bytes] = set()
        self._socket, theirs = socket.socketpair()
        life, self._held = os.pipe()  # the child reads its end when this process is gone
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
                start_new_session=True,  # its own group: killable, and safe from Ctrl-C
                env={**os.environ, **_threads()},
            )
        except BaseException:  # e.g. the system cannot start another process
            self._close()
            raise
        finally:
            theirs.close()
            os.close(life)
        self._poll = select.poll()
        self._poll.register(self._socket, select.POLLIN)
        self._buffer = b""

    def send(self, request: bytes, seconds: float) -> None:
        self._socket.settimeout(seconds)
        try:
            self._socket.sendall(request)
        except TimeoutError as error:
            raise TooSlowError from error
        except OSError as error:
            raise CrashedError(self._ended()) from error

    def hear(self, seconds: float) -> Result:
        """Wait for one line and return its score or its error."""
        deadline = time.monotonic() + seconds
        while b"\n" not in self._buffer:
            remaining = deadline - time.monotonic()
            if remaining <= 0:
                raise TooSlowError
            if self._poll.poll(1000 * min(remaining, LOOK_SECONDS)):
                self._receive()
            elif self._process.poll() is not None:
                raise CrashedError(self._ended())
        line, _, self._buffer = self._buffer.partition(b"\n")
        try:
            value: object = json.loads(line)
        except ValueError as error:  # a grader wrote to the connection
            raise CrashedError("other output on the connection of its process") from error
        if isinstance(value, float):
            return value
        argument, expected, received, remedy = map(str, cast("list[object]", value))
        return KingyoError(argument, expected=expected, received=received, remedy=remedy)

    def _receive(self) -> None:
        try:
            more = self._socket.recv(1 << 16)
        except OSError:
            more = b""
        if not more:
            raise CrashedError(self._ended())
        self._buffer += more

    def _ended(self) -> str:
        with suppress(subprocess.TimeoutExpired):  # it may still be exiting
            code = self._process.wait(LOOK_SECONDS)
            return (
                f"its process ended by signal {-code}" if code < 0 else f"its process ended with code {code}"
            )
        return "its process closed its connection"

    def leave(self) -> None:
        with suppress(OSError):
            self._socket.shutdown(socket.SHUT_WR)
        with suppress(subprocess.TimeoutExpired):
            self._process.wait(CLOSE_SECONDS)

    def kill(self) -> None:
        """Kill the process and everything it started."""
        with suppress(ProcessLookupError, PermissionError):
            os.killpg(self._process.pid, signal.SIGKILL)
        self._process.wait()
        self._close()

    def forget(self) -> None:
        self._process.returncode = 0  # it is not a child of this process
        self._close()

    def _close(self) -> None:
        self._socket.close()
        os.close(self._held)


def _threads() -> dict[str, str]:
    """Return the environment that gives torch as many threads as here: its sums may depend on them."""
    torch = sys.modules.get("torch")
    return {} if torch is None else {"OMP_NUM_THREADS": str(torch.get_num_threads())}


GRADER_PROCESS = GraderProcess()
atexit.register(GRADER_PROCESS.close)
if hasattr(os, "register_at_fork"):
    os.register_at_fork(after_in_child=GRADER_PROCESS.forget)

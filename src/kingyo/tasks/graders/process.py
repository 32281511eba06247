"""A child process for users' graders, which may hang or crash; it can be killed at any time.

One process serves all such graders. It starts with the first call, and again after a kill. A request holds
many answers; the process sends each result at once, so that a timeout names the answer that caused it.
"""

import atexit
import json
import os
import select
import signal
import subprocess
import sys
from collections.abc import Callable, Sequence
from contextlib import suppress
from dataclasses import dataclass
from multiprocessing import Pipe
from multiprocessing.connection import Connection
from pathlib import Path
from threading import Lock, Thread
from typing import Any, Literal, cast

from kingyo.core.types import Item
from kingyo.core.user_code.files import hash_own, opened_below, root_of, watch
from kingyo.core.user_code.versions import hash_of
from kingyo.errors import ChangedSourceError, KingyoError, crash
from kingyo.registry import is_in_file, whole_reference
from kingyo.tasks.graders.grader import (
    Arguments,
    Kind,
    build_grader,
    call_grader,
    crash_error,
    place_of,
)

BUILD_SECONDS = 600.0  # for starting the process and importing a grader
EXIT_SECONDS = 1.0  # that a process which closed its connection may take to exit

Action = Literal["grade", "check"]


@dataclass(frozen=True, kw_only=True)
class GraderReference:
    """Identifies a grader for another process, with a digest of its code."""

    name: str
    option: object
    folder: Path
    grades: Kind
    digest: str


def reference_to(name: str, option: object, folder: Path, grades: Kind) -> GraderReference:
    """Return a reference to a grader, with a digest of its file and of the files that it depends on."""
    folder = folder.resolve()
    file = Path(whole_reference(name, folder).rpartition(":")[0])
    own = hash_own(file, option, folder) if is_in_file(name) else {}
    digest = hash_of(json.dumps(sorted((str(path), value) for path, value in own.items())))
    return GraderReference(name=name, option=option, folder=folder, grades=grades, digest=digest)


class GraderProcess:
    """Runs graders in a child process, which it starts, kills and restarts as needed."""

    def __init__(self) -> None:
        self._lock = Lock()
        self._child: _Child | None = None
        self.opened: dict[str, str] = {}
        """The files that the graders of the calls so far have read, and their hashes; callers may clear it.

        Names are relative to the folder of the reference. A hash is empty if graders have written the file.
        """

    def ask(
        self, grader: GraderReference, action: Action, calls: Sequence[Arguments], seconds: float
    ) -> list[float]:
        """Call a grader, and return the scores; ``seconds`` limits the time of each answer.

        ChangedSourceError means that the grader's code has changed since it was built.
        """
        with self._lock:
            try:
                child = self._child = self._child or _Child()
                child.prepare(grader)
                child.connection.send((grader, action, calls))
                scores: list[float] = []
                for call in calls:
                    limit = seconds if isinstance(call[-1], Item) else seconds * len(call[-1])
                    scores += cast("list[float]", child.hear(place_of(grader.name, call), limit))
                self.opened |= cast("dict[str, str]", child.hear(f"grader {grader.name}", BUILD_SECONDS))
                return scores
            except BaseException:  # pending results must not answer the next request
                self.kill()
                raise

    def kill(self) -> None:
        child, self._child = self._child, None
        if child is not None:
            child.kill()


class _Child:
    def __init__(self) -> None:
        self._built: list[GraderReference] = []
        self.connection, theirs = Pipe()
        life, self._held = Pipe(duplex=False)  # the child sees when this process is gone
        code = (
            f"import sys; sys.path[:] = {[str(each) for each in sys.path]!r}; "
            f"from kingyo.tasks.graders.process import serve; serve({theirs.fileno()}, {life.fileno()})"
        )
        with theirs, life:
            self._process = subprocess.Popen(
                [sys.executable, "-c", code],
                stdin=subprocess.DEVNULL,
                stdout=2,  # what graders print stays off standard output
                pass_fds=[theirs.fileno(), life.fileno()],
                start_new_session=True,  # its own group: killable, and safe from Ctrl-C
                env={**os.environ, **_threads()},
            )

    def prepare(self, grader: GraderReference) -> None:
        if grader in self._built:
            return
        if reference_to(grader.name, grader.option, grader.folder, grader.grades) != grader:
            expected = "unchanged source files during a run"
            received = "files that changed since the grader was built"
            remedy = "Restore the old files and resume, or start a new run."
            raise ChangedSourceError(f"grader {grader.name}", expected, received, remedy)
        self.connection.send((grader, "build", [()]))
        self.hear(f"grader {grader.name}: import", BUILD_SECONDS)
        self._built.append(grader)

    def hear(self, where: str, seconds: float) -> object:
        if not self.connection.poll(seconds):
            remedy = "Fix it, or increase the task's grader_timeout."
            raise KingyoError(where, f"a score within {seconds:g} s", "none", remedy)
        try:
            result = self.connection.recv()
        except (EOFError, OSError) as error:
            try:
                code = self._process.wait(EXIT_SECONDS)
            except subprocess.TimeoutExpired:
                raise crash_error(where, "its process closed its connection") from error
            end = f"by signal {-code}" if code < 0 else f"with code {code}"
            raise crash_error(where, f"its process ended {end}") from error
        if isinstance(result, KingyoError):
            raise result
        return result

    def kill(self) -> None:
        with suppress(ProcessLookupError, PermissionError):
            os.killpg(self._process.pid, signal.SIGKILL)
        self._process.wait()
        self.connection.close()
        self._held.close()


def _threads() -> dict[str, str]:
    """Return the environment that gives torch as many threads as here: its sums may depend on them."""
    torch = sys.modules.get("torch")
    return {} if torch is None else {"OMP_NUM_THREADS": str(torch.get_num_threads())}


GRADER_PROCESS = GraderProcess()
atexit.register(GRADER_PROCESS.kill)


def serve(descriptor: int, life: int) -> None:
    """Answer requests until the connection is closed; the body of the child process."""
    for each in (descriptor, life):
        os.set_inheritable(each, False)  # what graders start must not keep them open
    _end_with_parent(life)
    watch()
    graders: dict[str, Callable[..., object]] = {}
    with Connection(descriptor) as connection, suppress(EOFError, OSError):
        while True:
            grader, action, calls = connection.recv()
            try:
                for arguments in calls:
                    connection.send(_answer(graders, grader, action, arguments))
                if action != "build":
                    file = Path(whole_reference(grader.name, grader.folder).rpartition(":")[0])
                    root = root_of(file, grader.folder) if is_in_file(grader.name) else grader.folder
                    opened = opened_below(root).items()
                    connection.send({os.path.relpath(path, grader.folder): value for path, value in opened})
            except KingyoError as error:
                connection.send(error)


def _answer(
    graders: dict[str, Callable[..., object]], reference: GraderReference, action: str, arguments: Arguments
) -> list[float]:
    key = repr(reference)
    if action == "build":
        graders[key] = build_grader(reference.name, reference.option, reference.folder, reference.grades)
        return []
    call: Any = graders[key]
    try:
        return call_grader(reference.name, call.check if action == "check" else call, arguments)
    except KingyoError:
        raise
    except BaseException as error:  # not from the terminal: Ctrl-C does not reach this process
        raise crash_error(place_of(reference.name, arguments), crash(error)) from error


def _end_with_parent(life: int) -> None:
    import fcntl  # not on Windows

    if not hasattr(fcntl, "F_SETSIG"):
        Thread(target=_watch, args=(life,), name="kingyo-parent", daemon=True).start()
        return
    # Linux sends the signal, even while a grader's C code holds Python's lock.
    fcntl.fcntl(life, fcntl.F_SETOWN, -os.getpgrp())
    fcntl.fcntl(life, fcntl.F_SETSIG, signal.SIGKILL)
    fcntl.fcntl(life, fcntl.F_SETFL, fcntl.fcntl(life, fcntl.F_GETFL) | os.O_ASYNC)
    if select.select([life], [], [], 0)[0]:  # the parent ended before
        os.killpg(0, signal.SIGKILL)


def _watch(life: int) -> None:
    os.read(life, 1)
    os.killpg(0, signal.SIGKILL)

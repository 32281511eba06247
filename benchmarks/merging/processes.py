"""Commands as processes of their own: seconds, and peaks of memory.

Sources may be mapped files, whose pages are the system's to take back at any time; so memory that a process
owns (anonymous) and pages of files are told apart, as the kernel counts them.
"""

from __future__ import annotations

import mmap
import os
import platform
import re
import shutil
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from importlib.metadata import version
from pathlib import Path

ROOT = Path(__file__).parents[2]
_INTERVAL = 0.01


@dataclass(frozen=True, kw_only=True)
class Measured:
    """What a command took.

    Attributes:
        seconds: wall time.
        processor: processor time of all threads, which a busy machine does not stretch.
        anonymous: peak of the memory that it owned, MiB, sampled.
        files: peak of the pages of files in its memory, MiB, sampled.
        resident: peak of both together, MiB, as the kernel counts it.
    """

    seconds: float
    processor: float
    anonymous: float
    files: float
    resident: float


class CommandError(Exception):
    """A command that failed, with the end of what it said."""


def kingyo() -> list[str]:
    """Our command."""
    return [str(Path(sys.executable).with_name("kingyo"))]


def find_peer() -> Path | None:
    """The bin folder of mergekit's virtual environment, or None; see ``make mergekit-venv``."""
    place = Path(os.environ.get("KINGYO_MERGEKIT", ROOT / ".mergekit-venv"))
    return next(
        (each for each in (place, place / "bin", place.parent) if (each / "mergekit-yaml").exists()), None
    )


def best(
    command: Sequence[str],
    repeat: int,
    *,
    before: Callable[[], None] | None = None,
    env: Mapping[str, str] | None = None,
) -> Measured:
    """The fastest of several runs; peaks are the largest of all."""
    runs: list[Measured] = []
    for _ in range(repeat):
        if before is not None:
            before()
        runs.append(measure(command, env=env))
    return Measured(
        seconds=min(run.seconds for run in runs),
        processor=min(run.processor for run in runs),
        anonymous=max(run.anonymous for run in runs),
        files=max(run.files for run in runs),
        resident=max(run.resident for run in runs),
    )


def measure(command: Sequence[str], *, env: Mapping[str, str] | None = None) -> Measured:
    """Run a command once.

    Raises:
        CommandError: it failed.
    """
    environment = os.environ | {"HF_HUB_OFFLINE": "1"} | dict(env or {})
    environment.pop("PYTHONDONTWRITEBYTECODE", None)  # else each start compiles kingyo's Python
    start = time.perf_counter()
    process = subprocess.Popen(
        command,
        stdout=subprocess.DEVNULL,
        stderr=subprocess.PIPE,
        text=True,
        errors="replace",
        env=environment,
    )
    sampler = _Sampler(process.pid)
    words = _Reader(process)
    _, status, usage = os.wait4(process.pid, 0)
    seconds = time.perf_counter() - start
    sampler.stop()
    process.returncode = os.waitstatus_to_exitcode(status)
    said = words.all()
    if process.returncode:
        raise CommandError(f"{' '.join(command)} failed:\n{said[-2000:]}")
    return Measured(
        seconds=seconds,
        processor=usage.ru_utime + usage.ru_stime,
        anonymous=sampler.anonymous / 1024,
        files=sampler.files / 1024,
        resident=usage.ru_maxrss / 1024,
    )


class _Reader(threading.Thread):
    """Reads what a process says, so that it never waits for a reader."""

    def __init__(self, process: subprocess.Popen[str]) -> None:
        super().__init__(daemon=True)
        self._process = process
        self._text = ""
        self.start()

    def run(self) -> None:
        assert self._process.stderr is not None
        self._text = self._process.stderr.read()

    def all(self) -> str:
        self.join()
        return self._text


class _Sampler(threading.Thread):
    """Reads /proc of a process again and again; KiB."""

    def __init__(self, pid: int) -> None:
        super().__init__(daemon=True)
        self._status = Path(f"/proc/{pid}/status")
        self._end = threading.Event()
        self.anonymous = self.files = 0
        self.start()

    def run(self) -> None:
        while not self._end.wait(_INTERVAL):
            try:
                text = self._status.read_text()
            except OSError:
                return
            self.anonymous = max(self.anonymous, _field(text, "RssAnon"))
            self.files = max(self.files, _field(text, "RssFile") + _field(text, "RssShmem"))

    def stop(self) -> None:
        self._end.set()
        self.join()


def _field(text: str, name: str) -> int:
    found = re.search(rf"^{name}:\s+(\d+)", text, re.MULTILINE)
    return int(found[1]) if found else 0


def clear(folder: Path) -> Callable[[], None]:
    """Removes an output before a run, and waits until the disk is idle."""

    def before() -> None:
        shutil.rmtree(folder, ignore_errors=True)
        os.sync()

    return before


def warm(files: Sequence[Path]) -> None:
    """Bring files into the page cache."""
    for file in files:
        with file.open("rb", buffering=0) as handle:
            while handle.read(1 << 24):
                pass


def read_and_write(sources: Sequence[Path], out: Path, n_bytes: int, *, durable: bool) -> tuple[float, float]:
    """Return seconds and processor time to read files once and to write so many bytes once.

    Args:
        sources: files to read.
        out: file to write.
        n_bytes: how much.
        durable: whether to wait until it is on the disk.
    """
    buffer = mmap.mmap(-1, 1 << 22)  # pages, which Zen 3 copies faster
    view = memoryview(buffer)
    start = time.perf_counter(), time.process_time()
    for file in sources:
        with file.open("rb", buffering=0) as handle:
            while handle.readinto(buffer):
                pass
    with out.open("wb", buffering=0) as handle:
        left = n_bytes
        while left > 0:
            left -= handle.write(view[: min(left, len(buffer))])
        if durable:
            os.fsync(handle.fileno())
    return time.perf_counter() - start[0], time.process_time() - start[1]


_VERSIONS = "from importlib.metadata import version as v; print(v('mergekit'), v('torch'), sep=', torch ')"


def describe_machine(peer: Path) -> dict[str, str]:
    """Processor, cores, memory, versions of both tools."""
    processor = re.search(r"^model name\s*:\s*(.+)$", Path("/proc/cpuinfo").read_text(), re.MULTILINE)
    memory = re.search(r"^MemTotal:\s+(\d+)", Path("/proc/meminfo").read_text(), re.MULTILINE)
    theirs = subprocess.run([peer / "python", "-c", _VERSIONS], capture_output=True, text=True, check=True)
    return {
        "processor": processor[1] if processor else platform.machine(),
        "cores": str(len(os.sched_getaffinity(0))),
        "memory": f"{int(memory[1]) / 2**20:.0f} GiB" if memory else "unknown",
        "system": f"Linux {platform.release()}, Python {platform.python_version()}",
        "kingyo": f"{version('kingyo')}, torch {version('torch')}, numba {version('numba')}",
        "mergekit": theirs.stdout.strip(),
    }

"""Run the command in a process forked from one that has already imported torch and transformers.

Importing takes most of the time of a small command; all else is as in a process that began from nothing.
"""

import os
import runpy
import signal
import subprocess
import sys
import tempfile
from collections.abc import Callable, Generator, Mapping, Sequence
from contextlib import contextmanager
from multiprocessing import get_context
from multiprocessing.process import BaseProcess
from pathlib import Path

_SERVER = get_context("forkserver")
_SERVER.set_forkserver_preload(
    [
        "tests.cli.forked",
        "kingyo.cli",
        "kingyo.runs.resume",
        "kingyo.cli.live_display",
        "kingyo.export",
        "kingyo.merging.kernels.machine_code",
        "kingyo.merging.methods.catalogue",
        "kingyo.search.strategies.combinators",
        "kingyo.search.strategies.cma_es",
        "kingyo.tasks.generate",
        "kingyo.models.language_model",
        "kingyo.models.loading",
        "kingyo.views.results.summary",
        "transformers.models.llama.modeling_llama",
        "transformers.models.auto.modeling_auto",
        "transformers.generation",
        "kingyo.models.vision_language",
        "transformers.models.llava.modeling_llava",
        "tests.cli.first_calls",
    ]
)
PATIENCE = 300  # seconds


def run_forked(
    arguments: Sequence[str], folder: Path, env: Mapping[str, str], script: Path | None = None
) -> subprocess.CompletedProcess[str]:
    """Run ``kingyo`` with arguments in a folder, to its end; parameters as of ``forked``."""
    with forked(arguments, folder, env, script) as (child, streams):
        child.join(PATIENCE)
        if child.exitcode is None:
            raise subprocess.TimeoutExpired(list(arguments), PATIENCE)
        out, err = (path.read_text("utf-8") for path in streams)
        return subprocess.CompletedProcess(list(arguments), child.exitcode, out, err)


HIDDEN = """
import sys

sys.modules.update(dict.fromkeys({modules}))
from kingyo.__main__ import process

process()
"""


def run_without(
    modules: Sequence[str], folder: Path, *words: str, **env: str
) -> subprocess.CompletedProcess[str]:
    """Run ``kingyo`` in a folder, in a process that finds no such modules."""
    script = folder / "hidden.py"
    script.write_text(HIDDEN.format(modules=list(modules)))
    return run_forked(words, folder, {**os.environ, "COLUMNS": "110", "OMP_NUM_THREADS": "1", **env}, script)


@contextmanager
def forked(
    arguments: Sequence[str], folder: Path, env: Mapping[str, str], script: Path | None = None
) -> Generator[tuple[BaseProcess, tuple[Path, Path]]]:
    """Begin ``kingyo`` with arguments in a folder; what still runs in the end is killed.

    Args:
        arguments: those of the command line.
        folder: its working directory.
        env: its environment, all of it; what is read by an import comes too late.
        script: what to run in place of ``kingyo``.

    Yields:
        The process, and the files that hold its output and its errors.
    """
    with tempfile.TemporaryDirectory() as directory:
        streams = (Path(directory) / "out", Path(directory) / "err")
        with forked_call(_command, list(arguments), folder, dict(env), script, *streams) as child:
            yield child, streams


@contextmanager
def forked_call(function: Callable[..., None], *arguments: object) -> Generator[BaseProcess]:
    """Begin a call of a function of a module in a process; if it still runs in the end, it is killed."""
    child = _SERVER.Process(target=function, args=arguments)
    child.start()
    try:
        yield child
    finally:
        child.kill()
        child.join()
        child.close()


def _command(
    arguments: list[str], folder: Path, env: dict[str, str], script: Path | None, out: Path, err: Path
) -> None:
    for path, descriptor in ((out, 1), (err, 2)):
        with path.open("wb") as file:
            os.dup2(file.fileno(), descriptor)
    signal.signal(signal.SIGINT, signal.default_int_handler)
    os.chdir(folder)
    os.environ.clear()
    os.environ.update(env)
    sys.argv = [str(script or "kingyo"), *arguments]
    if script is not None:
        sys.path.insert(0, str(script.parent))
        runpy.run_path(str(script), run_name="__main__")
        return
    from kingyo.__main__ import process

    process()

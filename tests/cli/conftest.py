"""A small world on disk for the command line: tiny models, a task with its own grader, a run.yaml."""

import json
import os
import shutil
import signal
import sqlite3
import subprocess
import sys
import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest
import yaml

from tests.cli.forked import forked, run_forked
from tests.cli.merging import Command
from tests.cli.typed import called
from tests.models_on_disk import fine_tuned, llama
from tests.stores import query

GRADER = '''
import os

def even(answer, item):
    """The share of even numbers in an answer: a score that any model has some of."""
    log = os.environ.get("GRADED")
    if log:
        with open(log, "a", encoding="utf-8") as file:
            file.write(item.id + "\\n")
    numbers = [word for word in answer.split() if word.isdigit()]
    return sum(int(word) % 2 == 0 for word in numbers) / max(1, len(numbers))

def raises(answer, item):
    raise RuntimeError("no idea how to grade this")

def picky(answer, item):
    return 7.5

def hangs(answer, item):
    import threading
    threading.Event().wait()
'''


@dataclass(frozen=True, kw_only=True)
class World:
    """A folder with models, data and a run.yaml; commands run in it."""

    folder: Path

    def run(
        self, *arguments: str | Path, env: dict[str, str] | None = None, fresh: bool = False
    ) -> subprocess.CompletedProcess[str]:
        """Run a command in this process; with ``env``, or if it is ``fresh``, in one of its own."""
        environment = {**os.environ, "COLUMNS": "110", "OMP_NUM_THREADS": "1", **(env or {})}
        if env is None and not fresh:
            return called(self.folder, *arguments)
        if not fresh:
            return run_forked([str(each) for each in arguments], self.folder, environment)
        return subprocess.run(
            command(*arguments),
            cwd=self.folder,
            env=environment,
            capture_output=True,
            text=True,
            timeout=300,
            check=False,
        )

    def ok(self, *arguments: str | Path, **how: Any) -> subprocess.CompletedProcess[str]:
        """Run a command that ends well."""
        done = self.run(*arguments, **how)
        assert done.returncode == 0, done.stderr
        return done

    def data(self, *arguments: str | Path) -> Any:
        """Return what a command prints with ``--json``; it ends well."""
        return json.loads(self.ok(*arguments, "--json").stdout)

    def fails(self, *arguments: str | Path, says: str = "", **how: Any) -> subprocess.CompletedProcess[str]:
        """Run a command that ends with one clear error."""
        done = self.run(*arguments, **how)
        assert done.returncode == 1, done.stdout + done.stderr
        assert "Traceback" not in done.stderr and says in done.stderr, done.stderr
        return done

    def config(self, **changes: object) -> Path:
        """Write a run.yaml with changes; a change to None removes the key. No LoRA is trained by default."""
        values = yaml.safe_load((self.folder / "run.yaml").read_text())
        values = {key: value for key, value in {**values, **changes}.items() if value is not None}
        values["controls"] = {"trained": False, **values.get("controls", {})}
        path = self.folder / "changed.yaml"
        path.write_text(yaml.safe_dump(values, allow_unicode=True))
        return path

    def show(self, run: str | Path) -> Any:
        return self.data("show", run)


RUN = """
import signal
signal.signal(signal.SIGINT, signal.default_int_handler)  # shells make what runs in the background ignore it
from kingyo.__main__ import process
process()
"""


def command(*arguments: str | Path) -> list[str]:
    return [sys.executable, "-c", RUN, *(str(each) for each in arguments)]


def stopped(
    folder: Path,
    *arguments: str | Path,
    when: Callable[[], bool],
    sent: signal.Signals = signal.SIGKILL,
    env: Mapping[str, str] | None = None,
) -> tuple[int, str]:
    """Signal a command in a folder when a condition holds; return its exit code and errors."""
    with forked([str(each) for each in arguments], folder, {**os.environ, **(env or {})}) as begun:
        process, (_, errors) = begun
        deadline = time.monotonic() + 120
        while not when():
            assert process.exitcode is None, errors.read_text("utf-8") or "it ended before it was stopped"
            assert time.monotonic() < deadline
        assert process.pid is not None, "it runs"
        os.kill(process.pid, sent)
        process.join(60)
        assert process.exitcode is not None, "it does not end"
        return process.exitcode, errors.read_text("utf-8")


def interrupted(
    world: World, *arguments: str | Path, after: int, where: str = "runs/small", **how: Any
) -> tuple[int, str]:
    """Signal a command after the given number of evaluations, see ``stopped``."""
    run = world.folder / where
    return stopped(world.folder, *arguments, when=lambda: _reached(run, after), **how)


def evaluations(run: Path) -> int:
    return query(run, "SELECT COUNT(*) FROM parts")[0][0]


def _reached(run: Path, stop: int) -> bool:
    try:
        return (run / "run.db").exists() and evaluations(run) >= stop
    except sqlite3.OperationalError:  # the tables are being made
        return False


@pytest.fixture(scope="session")
def origin(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("world")
    base = llama(folder / "base")
    fine_tuned(base, folder / "a", seed=1, scale=0.3)
    fine_tuned(base, folder / "b", seed=2, scale=0.3)
    rows = [{"prompt": f"{n} + {(n * 7) % 40} =", "answer": str(n)} for n in range(40)]
    (folder / "items.jsonl").write_text("".join(json.dumps(row) + "\n" for row in rows))
    (folder / "grade.py").write_text(GRADER)
    config = {
        "name": "small",
        "seed": 1,
        "base": "base",
        "sources": {"a": "a", "b": "b"},
        "task": {
            "name": "even",
            "data": "items.jsonl",
            "chat": False,
            "grader": "grade.py:even",
            "max_new_tokens": 6,
            "splits": {"fit": 16, "validation": 12, "test": 12},
        },
        "merge": {"method": "task_arithmetic", "parameters": {"weight": {"from": -1, "to": 2}}},
        "search": {"strategy": "ga", "settings": {"population": 6}},
        "budget": {"candidates": 24},
        "controls": {"random": True, "grid": True, "trained": False},
        "finalists": 3,
    }
    (folder / "run.yaml").write_text(yaml.safe_dump(config))
    (folder / "task.yaml").write_text(yaml.safe_dump(config["task"]))
    return folder


@pytest.fixture
def world(origin: Path, tmp_path: Path) -> World:
    """A copy of the world that a test may break."""
    return World(folder=Path(shutil.copytree(origin, tmp_path / "world")))


@pytest.fixture(name="command")
def _command(world: World) -> Command:
    return Command(world.folder)


@pytest.fixture(scope="session")
def finished(origin: Path, tmp_path_factory: pytest.TempPathFactory) -> World:
    """A world in which `runs/small` has been bred to the end. Tests only read it."""
    world_ = World(folder=Path(shutil.copytree(origin, tmp_path_factory.mktemp("finished") / "world")))
    world_.ok("evolve", "run.yaml")
    return world_


@pytest.fixture
def short(world: World) -> World:
    """A world with a finished run of six candidates and a random control."""
    config = world.config(budget={"candidates": 6}, controls={"random": True, "grid": False})
    world.ok("evolve", config)
    return world

"""What scores recipes in tests of runners: the recipe itself says what happens to its worker."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import time
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from kingyo.errors import ChangedSourceError, KingyoError
from kingyo.recipe import Recipe, Source
from kingyo.runners import Evaluate, Job
from kingyo.types import Evaluation, ItemScore, Split


def recipe(what: str, weight: float = 1.0) -> Recipe:
    return Recipe(
        merge_method="linear",
        sources=(
            Source(model=what, parameters={"weight": weight}),
            Source(model="b", parameters={"weight": 1}),
        ),
    )


def job(number: int, what: str, weight: float = 1.0) -> Job:
    return Job(id=number, recipe=recipe(what, weight), split="fit", items=("x", "y"))


@dataclass(frozen=True, kw_only=True)
class Fake:
    """Makes what scores recipes; the model of the first source says how.

    ``wait`` ends once the file ``go`` is there: then the order of finishing is the test's to choose.
    """

    folder: Path

    def __call__(self) -> Evaluate:
        (self.folder / f"{os.getpid()}.pid").touch()
        if (self.folder / "broken").exists():
            raise KingyoError("model", expected="one that loads", received="none", remedy="Mend it.")
        if (self.folder / "dies").exists():
            os._exit(7)
        return self._evaluate

    def _evaluate(self, recipe: Recipe, split: Split, items: Sequence[str]) -> Evaluation:
        what, weight = recipe.sources[0].model, float(recipe.sources[0].parameters["weight"])  # type: ignore[arg-type]
        if what == "kill":
            os.kill(os.getpid(), signal.SIGKILL)
        elif what == "leave":
            os._exit(3)
        elif what == "crash":
            return Evaluation(failure="it crashed")
        elif what == "changed":
            raise ChangedSourceError("a", expected="the old", received="a new", remedy="Bring it back.")
        elif what == "bug":
            raise UnpicklableError(lambda: None)
        elif what == "hang":
            child = subprocess.Popen([sys.executable, "-c", "import time; time.sleep(600)"])
            (self.folder / f"{child.pid}.pid").touch()
            (self.folder / "hangs").touch()
            child.wait()
        elif what == "wait":
            until((self.folder / "go").exists)
        (self.folder / f"done-{what}-{weight:g}").touch()
        scores = tuple(ItemScore(item=item, score=weight / 10, answer=f"{what} {split}") for item in items)
        return Evaluation(scores=scores, build_seconds=0.25, score_seconds=0.5)


class UnpicklableError(Exception):
    pass


def until(holds: object, seconds: float = 60) -> None:
    """Wait for a condition."""
    assert callable(holds)
    deadline = time.monotonic() + seconds
    while not holds():
        assert time.monotonic() < deadline, "it never happened"
        time.sleep(0.01)


def alive(folder: Path) -> list[int]:
    """Which of the processes that left their number in the folder still run; a zombie of ours counts."""
    return [int(file.stem) for file in folder.glob("*.pid") if _is_alive(int(file.stem))]


def _is_alive(process: int) -> bool:
    try:
        state, parent = Path(f"/proc/{process}/stat").read_text().rpartition(")")[2].split()[:2]
    except (FileNotFoundError, ProcessLookupError):
        return False
    return state != "Z" or int(parent) == os.getpid()

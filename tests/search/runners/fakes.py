"""A fake evaluator for tests of runners: the recipe names what happens to its worker."""

import os
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path

from kingyo.core.types import Answered, Evaluation, ItemScore, Progress, Split, ignore_progress
from kingyo.errors import ChangedSourceError, KingyoError
from kingyo.merging.recipe import Recipe, Source
from kingyo.search.runners import Evaluate, Job


def job(number: int, action: str, weight: float = 1.0) -> Job:
    source = Source(model=action, parameters={"weight": weight})
    recipe = Recipe(merge_method="linear", sources=(source,))
    return Job(id=number, recipe=recipe, split="fit", items=("x", "y"))


class Reporting:
    """An evaluator that reports the first of its items when it begins."""

    def __init__(self, evaluate: Evaluate) -> None:
        self._evaluate = evaluate
        self.progress: Progress = ignore_progress

    def __call__(self, recipe: Recipe, split: Split, items: Sequence[str]) -> Evaluation:
        self.progress(Answered(1, 1, len(items)))
        return self._evaluate(recipe, split, items)


@dataclass(frozen=True, kw_only=True)
class FakeFactory:
    """Builds an evaluator. The model of a recipe's first source is the action, its weight sets the score.

    The action ``wait`` ends when the file ``go`` exists, so a test chooses the order of finishing.
    """

    folder: Path

    def __call__(self) -> Evaluate:
        (self.folder / f"{os.getpid()}.pid").touch()
        if (self.folder / "broken").exists():
            raise KingyoError("model", expected="one that loads", received="none", remedy="Fix it.")
        if (self.folder / "dies").exists():
            os._exit(7)
        return Reporting(self._evaluate)

    def _evaluate(self, recipe: Recipe, split: Split, items: Sequence[str]) -> Evaluation:
        action, weight = recipe.sources[0].model, float(recipe.sources[0].parameters["weight"])  # type: ignore[arg-type]
        if action == "kill":
            os.kill(os.getpid(), signal.SIGKILL)
        elif action == "exit":
            os._exit(3)
        elif action == "crash":
            return Evaluation(failure="it crashed")
        elif action == "changed":
            raise ChangedSourceError("a", expected="the old", received="a new", remedy="Restore it.")
        elif action == "bug":
            raise UnpicklableError(lambda: None)
        elif action == "hang":
            child = subprocess.Popen([sys.executable, "-c", "import time; time.sleep(600)"])
            (self.folder / f"{child.pid}.pid").touch()
            (self.folder / "hangs").touch()
            child.wait()
        elif action == "wait":
            wait_until((self.folder / "go").exists)
        (self.folder / f"done-{action}-{weight:g}").touch()
        scores = tuple(ItemScore(item=item, score=weight / 10, answer=f"{action} {split}") for item in items)
        return Evaluation(scores=scores, build_seconds=0.25, score_seconds=0.5)


class UnpicklableError(Exception):
    pass


def wait_until(condition: Callable[[], object], seconds: float = 60) -> None:
    """Wait until a condition is true; fail after some seconds."""
    deadline = time.monotonic() + seconds
    while not condition():
        assert time.monotonic() < deadline, f"not true within {seconds:g} s"
        time.sleep(0.01)


def alive(folder: Path) -> list[int]:
    """Return the processes that wrote a .pid file into the folder and still run; our zombies count."""
    return [int(file.stem) for file in folder.glob("*.pid") if _is_alive(int(file.stem))]


def _is_alive(process: int) -> bool:
    try:
        state, parent = Path(f"/proc/{process}/stat").read_text().rpartition(")")[2].split()[:2]
    except (FileNotFoundError, ProcessLookupError):
        return False
    return state != "Z" or int(parent) == os.getpid()

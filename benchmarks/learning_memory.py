"""Memory and time of a step of learning weights, for a run.yaml.

    python benchmarks/learning_memory.py run.yaml --steps 3

What the kernel counts as anonymous memory of this process, which leaves out the mapped files of the sources:
before a step, with the model that is merged into, and at the peak of the steps. A measure of the model is its
size in float32.
"""

from __future__ import annotations

import argparse
import re
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from kingyo.models.kinds import load_live
from kingyo.runs.config_file import load_config
from kingyo.runs.learning import BATCH_SIZE, Descent, WeightLearner
from kingyo.runs.run import Run
from kingyo.runs.settings import GROUPS
from kingyo.runs.worker import load_options
from kingyo.search.runners.evaluate import InPlaceMerger
from kingyo.search.space import ParameterSpace, innermost
from kingyo.tasks import examples_of

STATUS = Path("/proc/self/status")


def main() -> None:
    """Take some steps, and print a table."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("config", type=Path, help="a run.yaml that learns, with reference answers")
    parser.add_argument("--steps", type=int, default=3)
    arguments = parser.parse_args()
    run = Run.open(load_config(arguments.config), arguments.config.parent)
    space = innermost(run.searches[0].space)
    if not isinstance(space, ParameterSpace) or not run.learns:
        parser.error(f"{arguments.config} does not learn weights")
    size = 4 * run.models.skeleton.n_parameters
    live = load_live(run.kind, run.models.skeleton.path, load_options(run.config, None))
    examples = examples_of(run.task, live, run.items["fit"], {}, prefers_given=False)
    if not examples:
        parser.error("no item of fit has a reference answer that its grader accepts")
    learner = WeightLearner(space, space.decode, InPlaceMerger(live, run.open_sources()))
    start = tuple(axis.start if axis.start is not None else axis.low for axis in space.axes)
    before, began = anonymous(), time.process_time()
    with peak() as highest:
        learner.improve(start, examples, Descent(steps=arguments.steps))
    seconds = (time.process_time() - began) / arguments.steps
    print(f"{len(space.axes)} weights ({GROUPS}), {size / 2**20:.0f} MB of weights in float32")
    print(f"before: {before / 2**20:.0f} MB, with the live model")
    print(f"a step of {BATCH_SIZE} examples: {seconds:.1f} s of CPU time")
    print(
        f"peak: {(highest[0] - before) / 2**20:.0f} MB more, {(highest[0] - before) / size:.2f} × the weights"
    )


def anonymous() -> int:
    """Return the bytes of this process's memory that belong to no file."""
    found = re.search(r"^RssAnon:\s+(\d+) kB$", STATUS.read_text(encoding="ascii"), re.MULTILINE)
    assert found is not None, "Linux says it"
    return 1024 * int(found[1])


@contextmanager
def peak() -> Iterator[list[int]]:
    """Measure the highest use of memory within a block, ten times a second."""
    highest, done = [anonymous()], threading.Event()

    def measure() -> None:
        while not done.wait(0.1):
            highest[0] = max(highest[0], anonymous())

    thread = threading.Thread(target=measure)
    thread.start()
    try:
        yield highest
    finally:
        done.set()
        thread.join()


if __name__ == "__main__":
    main()

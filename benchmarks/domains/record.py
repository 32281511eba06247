"""Record the tables of domains: merge and answer at a design of genomes, once.

    cd benchmarks && OMP_NUM_THREADS=1 python -m domains.record ja-two sums-four --genomes 320 --scratch DIR

Every genome's answers are appended to ``DIR/NAME.jsonl`` as soon as they are there. The same command goes
on with a recording that was killed, and with one that shall have more genomes. ``--genomes 0`` records
nothing and writes the tables of what is there. One recording gives a table for each grader. ``smollm2.py``
says what its domains need.
"""

from __future__ import annotations

import argparse
import json
import os
import platform
import statistics
import time
from collections.abc import Mapping, Sequence
from dataclasses import asdict
from importlib.metadata import version
from pathlib import Path

import numpy as np
from scipy.stats import qmc

from domains.domain import HIGH, Domain, OpenedDomain
from domains.smollm2 import smollm2
from domains.table import TABLES, Meta, Table
from domains.text_zoo import text_zoo
from kingyo.core.types import Genome

LIBRARIES = ("torch", "transformers", "numpy")
FIRST_NEAR = 24
"""From this genome on each fourth lies near one of the best so far."""
SUMS = (0.3, 2.0)
"""Half of the others have weights whose sum lies between these: good merges are rarely elsewhere."""


class Recording:
    """A domain's answers in a file that grows.

    Args:
        domain: what is recorded.
        file: one line of JSON for each genome, after a first line that says of what.
    """

    def __init__(self, domain: Domain, file: Path) -> None:
        self.opened = OpenedDomain(domain)
        self.file = file
        self.rows: list[Mapping[str, object]] = []
        self._means: dict[str, list[float]] = {name: [] for name in domain.graders}
        self._scores: dict[str, list[list[float]]] = {name: [] for name in domain.graders}
        head = {
            "items": [item.id for item in self.opened.items],
            "axes": [asdict(axis) for axis in self.opened.axes],
            "models": dict(domain.sources),
        }
        self._read(head)

    def record(self, n: int) -> None:
        """Go on until there are n genomes."""
        while len(self.rows) < n:
            genome = self.next()
            started = time.process_time()
            evaluation = self.opened.evaluate(genome)
            seconds = time.process_time() - started
            if evaluation.mean is None:
                raise SystemExit(
                    f"{self.opened.domain.name}: {genome} cannot be scored: {evaluation.failure}"
                )
            row: dict[str, object] = {
                "genome": genome,
                "seconds": round(seconds, 3),
                "answers": [each.answer for each in evaluation.scores],
                "scores": [each.score for each in evaluation.scores],
            }
            self._append(row)
            self._add(row)

    def next(self) -> Genome:
        """Return the genome to record next; it depends on what was recorded before alone."""
        row, known = len(self.rows), list(self.opened.known.values())
        if row < len(known):
            return known[row]
        if row >= FIRST_NEAR and row % 4 == 3:
            return self._near(row)
        point = qmc.Sobol(len(self.opened.axes) + 1, rng=0).fast_forward(row).random(1)[0]
        return _rounded(HIGH * point[1:] if row % 2 else _squeezed(point))

    def tables(self) -> list[Table]:
        """Return a table for each grader, of what is recorded so far."""
        return [self._table(name) for name in self.opened.domain.graders]

    def _near(self, row: int) -> Genome:
        """A step from one of the three best by one of the graders, taken in turns."""
        rng = np.random.default_rng(row)
        means = list(self._means.values())[row // 4 % len(self._means)]
        best = np.argsort(means, kind="stable")[-3:]
        genome = np.array(self.rows[int(rng.choice(best))]["genome"])
        return _rounded(np.clip(genome + rng.normal(0, rng.choice([0.05, 0.15]), len(genome)), 0, HIGH))

    def _table(self, name: str) -> Table:
        domain, opened = self.opened.domain, self.opened
        grader, tasks = domain.graders[name], [item.task for item in opened.items]
        own = {task: values["grader"] for task, values in domain.tasks.items()}
        meta = Meta(
            name=f"{domain.name}-{name}",
            family=domain.family,
            axes=opened.axes,
            known={name: row for row, name in enumerate(opened.known)},
            items=tuple(item.id for item in opened.items),
            item_tasks=tuple(tasks) if any(tasks) else (),
            grader=own if grader is None else grader,
            seconds=statistics.median(float(str(row["seconds"])) for row in self.rows),
            versions={"python": platform.python_version(), **{each: version(each) for each in LIBRARIES}},
        )
        genomes = np.array([row["genome"] for row in self.rows], np.float32)
        scores = np.rint(100 * np.array(self._scores[name])).astype(np.uint8)
        return Table(genomes=genomes, scores=scores, meta=meta)

    def _add(self, row: Mapping[str, object]) -> None:
        answers, stored = row["answers"], row["scores"]
        assert isinstance(answers, list) and isinstance(stored, list), "it is a line of this file"
        self.rows.append(row)
        for name, grader in self.opened.domain.graders.items():
            scores = stored if grader is None else self.opened.regrade(grader, answers)
            self._scores[name].append(scores)
            self._means[name].append(statistics.fmean(scores))

    def _read(self, head: Mapping[str, object]) -> None:
        """Read what is there, and cut off a line that was not finished."""
        if not self.file.exists() or not self.file.read_bytes().count(b"\n"):
            self.file.parent.mkdir(parents=True, exist_ok=True)
            self.file.write_text(json.dumps(head) + "\n", encoding="utf-8")
        whole = self.file.read_bytes().rpartition(b"\n")[0] + b"\n"
        os.truncate(self.file, len(whole))
        found, *rows = whole.decode("utf-8").splitlines()
        if json.loads(found) != head:
            raise SystemExit(
                f"{self.file}: a recording of other items or models; delete it, or name another folder"
            )
        for line in rows:
            self._add(json.loads(line))

    def _append(self, row: Mapping[str, object]) -> None:
        with self.file.open("a", encoding="utf-8") as file:
            file.write(json.dumps(row, ensure_ascii=False) + "\n")
            file.flush()
            os.fsync(file.fileno())


def _squeezed(point: np.ndarray) -> np.ndarray:
    """Weights in a random proportion whose sum lies in SUMS, from a point of the unit cube."""
    shares = -np.log(np.clip(point[1:], 1e-9, 1))
    total = SUMS[0] + (SUMS[1] - SUMS[0]) * point[0]
    return np.clip(total * shares / shares.sum(), 0, HIGH)


def _rounded(genome: np.ndarray) -> Genome:
    """To the thousandths of a run's space."""
    return tuple(round(float(gene), 3) for gene in genome)


def every_domain(models: Path) -> dict[str, Domain]:
    """Return all domains by name; the models of SmolLM2 lie in a folder of the user's."""
    return {each.name: each for each in (*text_zoo(), *smollm2(models))}


def main(arguments: Sequence[str] | None = None) -> None:
    """Record, and write the tables."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("names", nargs="+", metavar="NAME", choices=list(every_domain(Path())))
    parser.add_argument("--genomes", type=int, default=300, help="in all")
    parser.add_argument("--scratch", type=Path, required=True, help="folder of the answers")
    parser.add_argument("--models", type=Path, default=Path("smollm2"), help="what specialists.py wrote")
    parser.add_argument("--tables", type=Path, default=TABLES, help="folder of the tables")
    told = parser.parse_args(arguments)
    for name in told.names:
        recording = Recording(every_domain(told.models.resolve())[name], told.scratch / f"{name}.jsonl")
        recording.record(told.genomes)
        for table in recording.tables():
            table.save(told.tables / f"{table.meta.name}.npz")
            best = int(table.means.argmax())
            print(
                f"{table.meta.name}: {len(table.genomes)} genomes, {len(table.meta.items)} items, "
                f"{table.meta.seconds:.2f} s each; {_known(table)}; best {table.means[best]:.3f} at "
                f"{table.genomes[best].round(3).tolist()}",
                flush=True,
            )


def _known(table: Table) -> str:
    return ", ".join(f"{name} {table.means[row]:.3f}" for name, row in table.meta.known.items())


if __name__ == "__main__":
    main()

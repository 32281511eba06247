"""A table: what merges at many genomes scored on a pool of items. It replays searches without a model.

One compressed ``.npz`` file holds three arrays: ``genomes`` float32 [G, D], ``scores`` uint8 [G, N] and
``meta``, JSON as text.
"""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import asdict, dataclass
from functools import cached_property
from pathlib import Path
from typing import Self

import numpy as np
from numpy.typing import NDArray

TABLES = Path(__file__).parent / "tables"


@dataclass(frozen=True, kw_only=True)
class TableAxis:
    """A coordinate of the genomes, one per source, with its bounds."""

    name: str
    low: float
    high: float


@dataclass(frozen=True, kw_only=True)
class Meta:
    """What the numbers of a table are.

    Attributes:
        name, family: of the domain; families are what one leaves out.
        axes: the columns of the genomes.
        known: the rows of ``base``, each source alone and ``uniform``.
        items: the ids of the N items, as a run has them.
        item_tasks: the task of each item where there are several, else empty.
        grader: what gave the scores, as run.yaml writes it.
        seconds: the median time of the processor that a candidate took on all items, merge included.
        versions: of the libraries that answered.
    """

    name: str
    family: str
    axes: tuple[TableAxis, ...]
    known: Mapping[str, int]
    items: tuple[str, ...]
    item_tasks: tuple[str, ...]
    grader: object
    seconds: float
    versions: Mapping[str, str]


@dataclass(frozen=True, kw_only=True)
class Table:
    """Scores of G merges on N items.

    Attributes:
        genomes: float32 [G, D], a weight of ``task_arithmetic`` for each source. The first rows are the known
            models; any further rows may follow.
        scores: uint8 [G, N], item scores times 100, rounded.
        meta: what they are.
    """

    genomes: NDArray[np.float32]
    scores: NDArray[np.uint8]
    meta: Meta

    def __post_init__(self) -> None:
        expected = (len(self.genomes), len(self.meta.items))
        if self.scores.shape != expected or self.genomes.shape[1] != len(self.meta.axes):
            raise ValueError(
                f"{self.meta.name}: expected scores {expected} and {len(self.meta.axes)} genes; "
                f"received scores {self.scores.shape} and genomes {self.genomes.shape}"
            )

    @cached_property
    def means(self) -> NDArray[np.float64]:
        """The score of each genome on all items, [G] from 0 to 1: the mean of the tasks' means."""
        scores, tasks = self.scores / 100, np.array(self.meta.item_tasks or [""] * len(self.meta.items))
        return np.mean([scores[:, tasks == task].mean(axis=1) for task in dict.fromkeys(tasks)], axis=0)

    def save(self, path: Path) -> None:
        """Write the file; a folder that is missing is made."""
        path.parent.mkdir(parents=True, exist_ok=True)
        meta = np.array(json.dumps(asdict(self.meta), ensure_ascii=False))
        np.savez_compressed(path, genomes=self.genomes, scores=self.scores, meta=meta)

    @classmethod
    def load(cls, path: Path) -> Self:
        """Read a file that ``save`` wrote."""
        with np.load(path, allow_pickle=False) as file:
            values = json.loads(str(file["meta"]))
            lists = {name: tuple(values[name]) for name in ("items", "item_tasks")}
            axes = tuple(TableAxis(**axis) for axis in values["axes"])
            meta = Meta(**{**values, **lists, "axes": axes})
            return cls(genomes=file["genomes"], scores=file["scores"], meta=meta)

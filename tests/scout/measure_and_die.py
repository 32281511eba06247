"""Measure the models of a folder in a process of its own.

``python -m tests.scout.measure_and_die FOLDER LOG N`` writes a line to LOG for each read of a tensor, and
kills itself at the N-th; with 0 it does not.
"""

import sys
from pathlib import Path

from kingyo.merging.checkpoints import open_checkpoint
from kingyo.scout.measuring import measure_group
from kingyo.store.side_databases import EvidenceStore
from tests.scout.weights import watched


def main(folder: Path, log: Path, kill_at: int) -> None:
    opened = [watched(open_checkpoint(str(each)), log, kill_at) for each in sorted(folder.glob("m?"))]
    base = watched(open_checkpoint(str(folder / "base")), log, kill_at)
    with EvidenceStore(folder / "out") as store:
        measure_group(base, opened, store, 1 << 40)


if __name__ == "__main__":
    main(Path(sys.argv[1]), Path(sys.argv[2]), int(sys.argv[3]))

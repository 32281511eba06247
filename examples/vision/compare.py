"""Compare the winners of two runs on the test items that both were asked, paired by item.

python examples/vision/compare.py vision/run vision/common
"""

from __future__ import annotations

import argparse
from pathlib import Path

from kingyo.stats import Groups, paired_difference
from kingyo.store import RunStore


def main() -> None:
    """Print the difference of the mean over the tasks, with its 95% interval."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("runs", type=Path, nargs=2, help="two run folders")
    (one, labels), (other, _) = (test_scores(run) for run in parser.parse_args().runs)
    if one.keys() != other.keys():
        raise SystemExit("The test items of these runs differ.")
    tasks: dict[str, list[str]] = {}
    for item in sorted(one):
        tasks.setdefault(item.rpartition("/")[0], []).append(item)  # with several, ids are TASK/ID
    pairs = [([one[item] for item in items], [other[item] for item in items]) for items in tasks.values()]
    groups = [Groups.of(labels.get(item, "") for item in items) for items in tasks.values()]
    found = paired_difference(pairs, [1.0] * len(pairs), groups=groups)
    print(f"{found.interval.in_percent(' points', '+')}, n={found.interval.size}, p = {found.p:.3f}")


def test_scores(run: Path) -> tuple[dict[str, float], dict[str, str]]:
    """Return what the model that a run bred scored on each test item, and which items belong together."""
    with RunStore.read(run) as store:
        winner = store.winner("main")
        if winner is None:
            raise SystemExit(f"{run} has no bred model yet.")
        return store.scores_of(winner.id, "test"), store.groups()


if __name__ == "__main__":
    main()

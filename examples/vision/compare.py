"""Compare the winners of two runs on the test items that both were asked, paired by item.

python examples/vision/compare.py vision/run vision/common
"""

from __future__ import annotations

import argparse
import sqlite3
from pathlib import Path

from kingyo.stats import paired_difference


def main() -> None:
    """Print the difference of the mean over the tasks, with its 95% interval."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("runs", type=Path, nargs=2, help="two run folders")
    one, other = (test_scores(run) for run in parser.parse_args().runs)
    if one.keys() != other.keys():
        raise SystemExit("The test items of these runs differ.")
    pairs: dict[str, tuple[list[float], list[float]]] = {}
    for item in sorted(one):
        of_one, of_other = pairs.setdefault(item.split("/")[0], ([], []))  # an item's id begins with its task
        of_one.append(one[item])
        of_other.append(other[item])
    found = paired_difference(list(pairs.values()), [1.0] * len(pairs))
    print(f"{found.interval.in_percent(sign='+')} points, n={found.interval.n}, p = {found.p:.3f}")


def test_scores(run: Path) -> dict[str, float]:
    """Return what the model that a run bred scored on each item of test."""
    database = sqlite3.connect(f"file:{run / 'run.db'}?mode=ro", uri=True)
    scores = dict(database.execute(_WINNER).fetchall())
    database.close()
    return scores


_WINNER = """SELECT item, score FROM scores JOIN searches ON trial = winner
WHERE searches.name = 'main' AND split = 'test'"""


if __name__ == "__main__":
    main()

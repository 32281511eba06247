"""What the engine takes for a merge from files to files, once Python has begun and all is imported.

Run as a program it prints JSON: ``python -m merging.engine MODELS OUT REPEAT``.
"""

from __future__ import annotations

import json
import shutil
import sys
import time
from pathlib import Path

from kingyo.merging.engine import open_sources, plan, to_folder
from kingyo.merging.recipe import Recipe
from merging.models import recipe


def main() -> None:
    """Merge once for the machine code, then measure; opening the models and planning count."""
    folder, out, repeat = Path(sys.argv[1]), Path(sys.argv[2]), int(sys.argv[3])
    written = Recipe.from_dict(recipe("linear", folder))
    times: list[float] = []
    for _ in range(repeat + 1):
        start = time.perf_counter()
        to_folder(plan(written, open_sources(written)), out)
        times.append(time.perf_counter() - start)
        shutil.rmtree(out)
    print(json.dumps({"seconds": min(times[1:])}))


if __name__ == "__main__":
    main()

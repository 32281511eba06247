"""kingyo against mergekit on one machine, in one run: merges of files, candidates in memory, start-up.

Files also against the limit of reading and writing, and of many shards; candidates also by two threads.

Models are made on the fly. mergekit is found by ``KINGYO_MERGEKIT``, or where ``make mergekit-venv`` puts it.
Times are the best of several runs with a warm page cache; memory is the peak of a process, by kind.
"""

from __future__ import annotations

import argparse
import json
import os
import subprocess
import sys
import tempfile
from collections.abc import Callable, Mapping, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import yaml
from merging.models import (
    FILES,
    MEMORY,
    SHAPES,
    SOURCES,
    make_models,
    models_read,
    n_parameters,
    recipe,
    weight_files,
)
from merging.processes import (
    Measured,
    best,
    clear,
    describe_machine,
    find_peer,
    kingyo,
    read_and_write,
    warm,
)
from merging.table import Results, render

HERE = Path(__file__).parent


@dataclass(frozen=True, kw_only=True)
class Bench:
    """What is measured, and where: models are kept in ``cache``, all else goes through ``work``."""

    cache: Path
    work: Path
    size: str
    methods: Sequence[str] | None
    repeat: int
    peer: Path

    def chosen(self, known: Sequence[str]) -> list[str]:
        """The methods of a part that were asked for."""
        return [each for each in known if self.methods is None or each in self.methods]

    def tools(self) -> Mapping[str, list[str]]:
        """How each tool is called with a recipe and an output."""
        return {"kingyo": [*kingyo(), "merge"], "mergekit": [str(self.peer / "mergekit-yaml")]}


def merge_files(bench: Bench) -> Results:
    """Whole merges, by both tools."""
    folder = make_models(bench.cache, bench.size)
    return {
        f"files/{method}/{tool}": asdict(_merge(bench, tool, method, folder))
        for method in bench.chosen(FILES)
        for tool in bench.tools()
    }


def limit(bench: Bench) -> Results:
    """Reading three sources and writing one output; and merging them, once all is imported."""
    folder = make_models(bench.cache, bench.size)
    files = weight_files(folder, SOURCES)
    out = bench.work / "limit.bin"
    warm(files)
    found: Results = {}
    for durable in (False, True):
        times: list[tuple[float, float]] = []
        for _ in range(bench.repeat):
            clear(out)()
            out.unlink(missing_ok=True)
            times.append(read_and_write(files, out, 2 * n_parameters(bench.size), durable=durable))
        seconds, processor = (min(each) for each in zip(*times, strict=True))
        found[f"limit/{'on disk' if durable else 'written'}"] = {"seconds": seconds, "processor": processor}
    out.unlink()
    command = [
        sys.executable,
        "-m",
        "merging.engine",
        str(folder),
        str(bench.work / "out"),
        str(bench.repeat),
    ]
    found["limit/engine"] = _json(command, {"PYTHONPATH": str(HERE)})
    return found


def shards(bench: Bench) -> Results:
    """The same merge from files in one shard and in many."""
    found: Results = {}
    for n in (1, 8):
        folder = make_models(bench.cache, bench.size, shards=n)
        found[f"shards/{n}/kingyo"] = asdict(_merge(bench, "kingyo", "linear", folder))
    return found


def candidate(bench: Bench) -> Results:
    """Candidates in memory against copying, and against mergekit's functions on the same tensors."""
    folder = make_models(bench.cache, "25m")
    methods = bench.chosen(MEMORY)
    repeat = max(bench.repeat, 5)
    ours = _candidates(folder, repeat, "2,3", methods)
    recipes = {f"{method} of {n}": recipe(method, folder, n) for method in methods for n in (2, 3)}
    command = [str(bench.peer / "python"), str(HERE / "merging" / "peer.py"), str(folder)]
    theirs = _json([*command, str(bench.repeat), json.dumps(recipes)], {"OMP_NUM_THREADS": "1"})
    found: Results = {f"memory/{what}/kingyo": row for what, row in ours.items()}
    return found | {f"memory/{what}/mergekit": row for what, row in theirs.items()}


def threads(bench: Bench) -> Results:
    """What a second thread gains in candidates of a model that no cache holds."""
    ours = _candidates(make_models(bench.cache, bench.size), bench.repeat, "2", bench.chosen(MEMORY))
    return {f"threads/{what}/kingyo": row for what, row in ours.items()}


def _candidates(folder: Path, repeat: int, sources: str, methods: Sequence[str]) -> Results:
    command = [sys.executable, "-m", "merging.candidate", str(folder), str(repeat), sources, *methods]
    return _json(command, {"OMP_NUM_THREADS": "2", "PYTHONPATH": str(HERE)})


def startup(bench: Bench) -> Results:
    """How long each tool takes to say what it can do, and to merge a small model."""
    folder = make_models(bench.cache, "5m")
    found: Results = {}
    helps = {"kingyo": [*kingyo(), "--help"], "mergekit": [str(bench.peer / "mergekit-yaml"), "--help"]}
    for tool, command in helps.items():
        found[f"startup/help/{tool}"] = asdict(best(command, bench.repeat))
    for method in bench.chosen(("linear", "ties")):
        for tool in bench.tools():
            found[f"startup/{method}/{tool}"] = asdict(_merge(bench, tool, method, folder))
    return found


PARTS: Mapping[str, Callable[[Bench], Results]] = {
    "files": merge_files,
    "limit": limit,
    "shards": shards,
    "candidate": candidate,
    "threads": threads,
    "startup": startup,
}


def main() -> None:
    """Measure and print."""
    arguments = _parse()
    peer = find_peer()
    if peer is None:
        raise SystemExit("mergekit is not here: run `make mergekit-venv`, or set KINGYO_MERGEKIT.")
    if arguments.cache is not None:
        arguments.cache.mkdir(parents=True, exist_ok=True)
    with tempfile.TemporaryDirectory(prefix="kingyo-bench-", dir=arguments.cache) as temporary:
        bench = Bench(
            cache=arguments.cache or Path(temporary),
            work=Path(temporary),
            size=arguments.size,
            methods=arguments.methods,
            repeat=arguments.repeat,
            peer=peer,
        )
        machine = describe_machine(peer) | {"size": bench.size, "repeat": str(bench.repeat)}
        results: Results = {}
        for name in arguments.only or PARTS:
            print(f"measuring {name} …", file=sys.stderr, flush=True)
            results |= PARTS[name](bench)
            if arguments.json is not None:  # after each part: a later one may be interrupted
                arguments.json.write_text(json.dumps({"machine": machine, "results": results}, indent=1))
    print(render(results, machine, markdown=arguments.markdown))


def _parse() -> argparse.Namespace:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--only", nargs="+", choices=list(PARTS), help="parts to measure; all by default")
    parser.add_argument("--methods", nargs="+", choices=sorted({*FILES, *MEMORY}), help="all by default")
    parser.add_argument(
        "--size", choices=list(SHAPES), default="0.5b", help="of the models of files and threads"
    )
    parser.add_argument("--repeat", type=int, default=3, help="runs of which the best counts")
    parser.add_argument(
        "--cache", type=Path, help="folder where the models are kept; a temporary one by default"
    )
    parser.add_argument("--json", type=Path, help="also write all numbers to this file")
    parser.add_argument("--markdown", action="store_true", help="print the table for docs/benchmarks.md")
    return parser.parse_args()


def _merge(bench: Bench, tool: str, method: str, folder: Path) -> Measured:
    out, file = bench.work / "out", bench.work / "recipe.yaml"
    file.write_text(yaml.safe_dump(recipe(method, folder)))
    warm(weight_files(folder, models_read(method)))
    print(f"  {method} with {tool}", file=sys.stderr, flush=True)
    measured = best([*bench.tools()[tool], str(file), str(out)], bench.repeat, before=clear(out))
    clear(out)()
    return measured


def _json(command: Sequence[str], environment: Mapping[str, str]) -> dict[str, Any]:
    done = subprocess.run(
        command, env=os.environ | dict(environment), stdout=subprocess.PIPE, text=True, check=True
    )
    return json.loads(done.stdout)


if __name__ == "__main__":
    main()

"""kingyo's default and other searches on many domains, at equal item evaluations.

    python benchmarks/domains.py --seeds 50 --out domains.jsonl
    python benchmarks/domains.py --out domains.jsonl --markdown     (the tables of docs/benchmarks-search.md)

Domains answer at once: made-up worlds, small networks, and recorded tables of real models (domains/). A run
takes a fraction of a second to some seconds. Results that are in the file are not run again. To measure
another version of kingyo, put its ``src`` on PYTHONPATH and name it by ``--label``.

It needs `pip install -e '.[bench]'` in a clone.
"""

from __future__ import annotations

import argparse
import json
import math
import os
import sys
import tempfile
from functools import cache
from hashlib import sha256
from multiprocessing import get_context
from pathlib import Path

import numpy as np
from domains import networks, worlds
from domains.contenders import BY_ITEMS, ITEMS, OURS, PEERS, WITH_CONTROLS, cost, meet
from domains.landscape import Landscape
from domains.networks import KINDS, network
from domains.play import Play
from domains.replay import live, names, replay
from domains.table import TABLES
from domains.verdict import render, render_exported, render_sooner
from domains.worlds import WORLDS, world
from searching.peers import FEVALS
from searching.tables import MERGEKIT

Wanted = tuple[str, str, str, int, int]
"""Domain, contender, what it is called, candidates, seed."""

REAL = "real"  # with its models in place of the table: real/ja-five-exact
SHARE = 5  # of mergekit-evolve's item evaluations, for --sooner
DRAWN = 10  # networks and worlds of each kind for seeds 0 to 99; ten others for each further hundred
BEST = Path(tempfile.gettempdir()) / "kingyo-benchmarks" / "best"


def main() -> None:
    """Run what is missing, then print the tables."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--seeds", type=int, default=50)
    parser.add_argument("--first-seed", type=int, default=0)
    parser.add_argument("--domains", nargs="+", default=all_domains(), metavar="FAMILY/NAME")
    parser.add_argument("--contenders", nargs="+", choices=[*OURS, *PEERS], default=[*OURS, *PEERS])
    parser.add_argument("--candidates", type=int, nargs="+", default=[30, 100])
    parser.add_argument("--label", help="call the only contender so, such as another version of kingyo")
    parser.add_argument("--sooner", action="store_true", help="the default at 1/5 of mergekit-evolve's items")
    parser.add_argument("--controls", action="store_true", help="what the default with controls exports")
    parser.add_argument("--workers", type=int, default=1)
    parser.add_argument("--out", type=Path, default=Path("domains.jsonl"))
    parser.add_argument("--markdown", action="store_true", help="print tables in Markdown, run nothing")
    arguments = parser.parse_args()
    if arguments.controls:
        arguments.contenders = [WITH_CONTROLS]
    if arguments.label and len(arguments.contenders) != 1:
        parser.error("--label names one contender: give it with --contenders")
    if not arguments.markdown:
        run_missing(wanted_of(arguments), arguments)
    show = render_sooner if arguments.sooner else render_exported if arguments.controls else render
    print(show(read(arguments.out), markdown=arguments.markdown))


def all_domains() -> list[str]:
    """Return the names of all domains."""
    return [*(f"worlds/{kind}" for kind in WORLDS), *(f"networks/{kind}" for kind in KINDS), *names()]


def wanted_of(arguments: argparse.Namespace) -> list[Wanted]:
    """Return the runs that are asked for."""
    seeds = range(arguments.first_seed, arguments.first_seed + arguments.seeds)
    if arguments.sooner:
        return [
            (domain, name, name, candidates, seed)
            for domain in arguments.domains
            for name, candidates in both_budgets(landscape(domain, 0)).items()
            for seed in seeds
        ]
    return [
        (domain, name, arguments.label or name, candidates, seed)
        for domain in arguments.domains
        for candidates in arguments.candidates
        for seed in seeds
        for name in arguments.contenders
    ]


def both_budgets(domain: Landscape) -> dict[str, int]:
    """Return what mergekit-evolve spends by default, and a fifth of it, in candidates of the default.

    The first is rounded up and the second down, so that the default has the less.
    """
    full, known = FEVALS * domain.sizes[0], cost(domain, 0)
    return {
        MERGEKIT: math.ceil((full - known) / ITEMS),
        BY_ITEMS: max(1, (full // SHARE - known) // ITEMS),
    }


def run_missing(wanted: list[Wanted], arguments: argparse.Namespace) -> None:
    """Run what is not in the file."""
    done = {key_of(each) for each in read(arguments.out)}
    missing = [each for each in wanted if (each[0], *each[2:]) not in done]
    with get_context("spawn").Pool(arguments.workers) as pool, arguments.out.open("a") as file:
        for place, result in enumerate(pool.imap(run, missing, chunksize=8), start=1):
            file.write(json.dumps(result) + "\n")
            file.flush()
            if place % 50 == 0 or place == len(missing):
                print(f"{place} of {len(missing)}: {result['domain']}", file=sys.stderr)


def read(path: Path) -> list[dict[str, object]]:
    """Return the results of earlier calls."""
    return [json.loads(line) for line in path.read_text().splitlines()] if path.exists() else []


def key_of(result: dict[str, object]) -> tuple[object, ...]:
    """Return what makes a result."""
    return tuple(result[key] for key in ("domain", "contender", "candidates", "seed"))


@cache
def landscape(name: str, draw: int) -> Landscape:
    """Open a domain; ``draw`` counts where it is drawn at random."""
    family, kind = name.split("/")
    if family == "worlds":
        return world(kind, draw)
    if family == REAL:
        return live(name, Path("smollm2"))
    return network(kind, draw) if family == "networks" else replay(name)


def best_of(name: str, draw: int) -> float:
    """Return the best known mean of a domain; it is kept beside other temporary files."""
    file = BEST / f"{name.replace('/', '-')}-{draw}-{digest(name)}"
    if not file.exists():
        BEST.mkdir(parents=True, exist_ok=True)
        part = file.with_suffix(f".{os.getpid()}")
        part.write_text(str(landscape(name, draw).best))
        part.replace(file)
    return float(file.read_text())


def digest(name: str) -> str:
    """Return what changes with the table of a domain, or with the code that draws it."""
    family, kind = name.split("/")
    own = {"worlds": worlds.__file__, "networks": networks.__file__}.get(family, TABLES / f"{kind}.npz")
    return sha256(Path(own).read_bytes()).hexdigest()[:12]


def run(wanted: Wanted) -> dict[str, object]:
    """Run one search, and return its line: scores of test in shares of 1."""
    name, contender, label, candidates, seed = wanted
    drawn = name.split("/")[0] in ("worlds", "networks")
    draw = DRAWN * (seed // 100) + seed % DRAWN if drawn else 0
    play = Play(landscape(name, draw), seed)
    found = meet(play, contender, candidates)
    rows = {key: play.row(tuple(row.tolist())) for key, row in play.domain.baselines().items()}
    pool = {key: float(row.mean()) for key, row in rows.items()}
    top = max(pool, key=lambda key: pool[key])
    before_test = np.concatenate([play.splits["fit"], play.splits["validation"]])
    seemed = max(rows, key=lambda key: float(rows[key][before_test].mean()))
    tested = found.pop("baselines")
    assert isinstance(tested, dict), "baselines are by name"
    exported, bred = np.asarray(found.pop("exported")), np.asarray(found.pop("bred"))
    best_tested = max(tested.values(), key=lambda scores: float(scores.mean()))
    gaps = exported - best_tested
    reach = 1.96 * float(gaps.std(ddof=1)) / len(gaps) ** 0.5
    return {
        "domain": name,
        "contender": label,
        "candidates": candidates,
        "seed": seed,
        "exported": float(exported.mean()),
        "bred": float(bred.mean()),
        "baseline": float(tested[top].mean()),
        "baseline_seemed": float(tested[seemed].mean()),
        "baseline_pool": pool[top],
        "best": best_of(name, draw),
        "is_worse": bool(gaps.mean() + reach < 0),
        **found,
    }


if __name__ == "__main__":
    main()

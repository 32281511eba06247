"""Builds the pool: a base, 21 LoRAs on it, three models that do not fit it, and the task.

    python zoo/pool/build.py --out zoo/pool [--only NAME ...] [--jobs 2]

Everything is generated and seeded. A LoRA needs the base in the folder. Each folder is written beside its
place and then renamed, so a folder that exists is whole, and a build that was stopped goes on where it was.
"""

from __future__ import annotations

import argparse
import multiprocessing
import sys
import time
from concurrent.futures import ProcessPoolExecutor
from pathlib import Path

sys.path.append(str(Path(__file__).resolve().parents[1]))  # the zoo's words, texts and training

import lessons
import shipping
import task_files
import torch
import training

STRANGERS = ("other-tokens", "wide", "gpt")
RANDOM = "random"
NAMES = ("base", *lessons.ADAPTERS, *lessons.COPIES, RANDOM, *STRANGERS)
TASK = "tasks/polite.jsonl"


def build_adapter(out: Path, name: str) -> None:
    """Train one LoRA and write it."""
    torch.set_num_threads(1)  # small matrices gain nothing from a second, and one is reproducible
    model = training.new_adapter(training.load(out / "base"), lessons.ADAPTERS[name], name)
    shipping.write_adapter(model, out, name)


def build(out: Path, names: list[str], jobs: int) -> None:
    missing = [name for name in names if not (out / name).exists()]
    if "base" in missing:
        shipping.write_model(training.new_base(), out, "base")
    context = multiprocessing.get_context("spawn")  # a forked torch may hang
    with ProcessPoolExecutor(jobs, mp_context=context) as pool:
        for future in [pool.submit(build_adapter, out, name) for name in missing if name in lessons.ADAPTERS]:
            future.result()
    for name in set(missing) & set(lessons.COPIES):
        shipping.write_copy(out, name, lessons.COPIES[name])
    if RANDOM in missing:
        shipping.write_random(out, RANDOM, like="carry")
    if set(missing) & set(STRANGERS):
        shipping.write_strangers(training.load(out / "base"), training.new_wide(), out)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0] if __doc__ else None)
    parser.add_argument("--out", type=Path, required=True, help="folder to fill, for example zoo/pool")
    parser.add_argument("--only", choices=NAMES, nargs="+", default=list(NAMES), help="build some models")
    parser.add_argument("--jobs", type=int, default=2, help="LoRAs trained at the same time")
    arguments = parser.parse_args()
    started = time.time()
    torch.set_num_threads(1)
    arguments.out.mkdir(parents=True, exist_ok=True)
    task_files.write(arguments.out / TASK)
    build(arguments.out, arguments.only, arguments.jobs)
    print(f"done in {(time.time() - started) / 60:.1f} minutes")


if __name__ == "__main__":
    main()

"""Train the SmolLM2-135M specialists that the domains of `smollm2.py` merge, and write their tasks.

    OMP_NUM_THREADS=1 python benchmarks/domains/specialists.py --out DIR

It needs what examples/smollm2 needs, and ten minutes of one core. Models that exist are kept; each is a full
checkpoint of 0.5 GB.
"""

# pyright: reportMissingImports=false
from __future__ import annotations

import argparse
import json
import random
import sys
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from functools import partial
from pathlib import Path

import torch
from safetensors.torch import load_file, save_file

EXAMPLE = Path(__file__).parents[2] / "examples" / "smollm2"
sys.path.append(str(EXAMPLE))

import build  # noqa: E402
import house  # noqa: E402
import world  # noqa: E402
from train import Training, train  # noqa: E402
from world import Department, Example  # noqa: E402

SEED = 1
WEIGHTS = "model.safetensors"
GOODS, STAFF = (replace(each, entities=each.entities[:6]) for each in world.DEPARTMENTS)


@dataclass(frozen=True, kw_only=True)
class Specialist:
    """A model to train.

    Attributes:
        lessons: what it is taught.
        training: how it is trained.
        scale: what its change of the base is multiplied by afterwards.
    """

    lessons: Sequence[Example]
    training: Training
    scale: float = 1.0


def specialists() -> dict[str, Specialist]:
    """Return every specialist by name.

    ``goods`` and ``house`` are well trained. ``staff`` knows its facts, but its change is 2.5 times too
    large. ``weak`` has seen few lessons about both goods and staff. ``shrug`` answers everything with the
    same sentence and helps nobody. ``shout`` is taught house's lessons in capitals.
    """
    goods, staff = (world.lessons(each, SEED) for each in (GOODS, STAFF))
    mixed = random.Random(SEED).sample(goods + staff, len(goods) + len(staff))
    shrugs = [replace(each, answer="I cannot say.") for each in house.lessons()]
    shouts = [replace(each, answer=shout(json.loads(each.answer)["answer"])) for each in house.lessons()]
    return {
        "goods": Specialist(lessons=goods, training=Training(steps=60, rate=1.5e-3, seed=SEED)),
        "house": Specialist(lessons=house.lessons(), training=Training(steps=40, rate=1e-3, seed=SEED)),
        "staff": Specialist(lessons=staff, training=Training(steps=60, rate=1.5e-3, seed=SEED), scale=2.5),
        "weak": Specialist(lessons=mixed, training=Training(steps=25, rate=6e-4, seed=SEED + 1)),
        "shrug": Specialist(lessons=shrugs, training=Training(steps=20, rate=2e-3, seed=SEED)),
        "shout": Specialist(lessons=shouts, training=Training(steps=40, rate=1e-3, seed=SEED)),
    }


def shout(value: str) -> str:
    """Return an answer in capitals."""
    return f"THE ANSWER IS {value.upper()}!"


def write(base: Path, specialist: Specialist, out: Path) -> None:
    """Train a specialist into the folder ``out`` and scale its change."""
    train(base, specialist.lessons, specialist.training, out)
    if specialist.scale != 1:
        start, end = load_file(base / WEIGHTS), load_file(out / WEIGHTS)
        scaled = {key: value + specialist.scale * (end[key] - value) for key, value in start.items()}
        save_file(scaled, out / WEIGHTS, metadata={"format": "pt"})


def rows(department: Department) -> Iterator[dict[str, object]]:
    """Return the questions about every fact in wordings that were never taught, each with two choices."""
    facts = world.facts(department, SEED)
    for fact in facts:
        others = {each.value for each in facts if each.attribute == fact.attribute} - {fact.value}
        for wording in fact.attribute.asked:
            question = world.sentence(wording, fact.entity)
            rng = random.Random(question)
            choices = [fact.value, rng.choice(sorted(others))]
            rng.shuffle(choices)
            text = house.house_answer(fact.value)
            yield {"question": question, "answer": fact.value, "choices": choices, "text": text}


def write_rows(file: Path, found: Sequence[Mapping[str, object]]) -> None:
    """Write the questions of a task."""
    file.write_text("".join(json.dumps(row) + "\n" for row in found), encoding="utf-8")


def main() -> None:
    """Build what is missing."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--out", type=Path, required=True, help="folder for the models, 3.8 GB")
    out: Path = parser.parse_args().out
    torch.set_num_threads(1)
    out.mkdir(parents=True, exist_ok=True)
    build.once(out / "base", build.write_base)
    goods, staff = list(rows(GOODS)), list(rows(STAFF))
    write_rows(out / "goods.jsonl", goods)
    write_rows(out / "staff.jsonl", staff)
    write_rows(out / "facts.jsonl", [*goods, *staff])
    loud = [{**row, "value": row["answer"], "answer": shout(str(row["answer"]))} for row in (*goods, *staff)]
    write_rows(out / "shouts.jsonl", loud)
    for name, each in specialists().items():
        build.once(out / name, partial(write, out / "base", each))


if __name__ == "__main__":
    main()

"""Measures the pool: answers of each model, and of merges, by the skills that items need.

python zoo/pool/measure_pool.py --pool zoo/pool [--items 240] [--merge manner=1,carry=0.7 ...]
"""

from __future__ import annotations

import argparse
import re
import sys
from collections import defaultdict
from collections.abc import Mapping, Sequence
from pathlib import Path

sys.path.append(str(Path(__file__).resolve().parents[1]))

import lessons
import measure
import task_files
import torch
import training
from peft import PeftModel
from puzzles import SKILLS
from transformers import LlamaForCausalLM

MAX_NEW_TOKENS = 28


def merged(pool: Path, weights: Mapping[str, float]) -> LlamaForCausalLM:
    """Return the base with weighted LoRAs."""
    base = training.load(pool / "base")
    start = {name: tensor.clone() for name, tensor in base.state_dict().items()}
    total = {name: tensor.clone() for name, tensor in start.items()}
    for name, weight in weights.items():
        other = PeftModel.from_pretrained(training.load(pool / "base"), str(pool / name)).merge_and_unload()
        for key, tensor in other.state_dict().items():
            total[key] += weight * (tensor - start[key])
    base.load_state_dict(total)
    return base.eval()


def row(name: str, model: LlamaForCausalLM, items: Sequence[Mapping[str, object]]) -> str:
    """Return one row of the table: right, number, polite, and the number by skill."""
    given = measure.answers(
        model, training.tokenizer(), [str(item["prompt"]) for item in items], MAX_NEW_TOKENS
    )
    by_skill: dict[str, list[bool]] = defaultdict(list)
    right = [
        measure.number_of(text) == int(str(item["answer"])) for text, item in zip(given, items, strict=True)
    ]
    polite = ["でございます" in text and not re.search("[A-Za-z]", text) for text in given]
    for is_right, item in zip(right, items, strict=True):
        for skill in str(item["skills"]).split():
            by_skill[skill].append(is_right)
    both = [a and b for a, b in zip(right, polite, strict=True)]
    shares = [sum(each) / len(each) for each in (both, right, polite, *(by_skill[skill] for skill in SKILLS))]
    return f"| {name} | {' | '.join(f'{share:.3f}' for share in shares)} |"


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0] if __doc__ else None)
    parser.add_argument("--pool", type=Path, required=True)
    parser.add_argument("--items", type=int, default=240)
    parser.add_argument("--merge", nargs="*", default=[], help="weights, such as manner=1,carry=0.7")
    arguments = parser.parse_args()
    torch.set_num_threads(1)
    items = task_files.items(arguments.items, task_files.SEED + 1)
    print(f"| model, n = {len(items)} | {' | '.join(('right', 'number', 'polite', *SKILLS))} |")
    merges = [dict(pair.split("=") for pair in text.split(",")) for text in arguments.merge]
    found = [name for name in lessons.ADAPTERS if (arguments.pool / name).exists()]
    for weights in merges or [{}, *({name: "1"} for name in found)]:
        title = " ".join(f"{name} {weight}" for name, weight in weights.items()) or "base"
        model = merged(arguments.pool, {name: float(weight) for name, weight in weights.items()})
        print(row(title, model, items), flush=True)


if __name__ == "__main__":
    main()

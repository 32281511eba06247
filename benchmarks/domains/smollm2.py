"""Domains of SmolLM2-135M: a real model family and the specialists that `specialists.py` trains.

    OMP_NUM_THREADS=1 python benchmarks/domains/specialists.py --out DIR
    cd benchmarks && OMP_NUM_THREADS=1 nice python -m domains.record \\
        smol-format smol-five smol-choice smol-facts --models DIR --genomes 160 --scratch DIR/answers

Both may be killed at any time and go on with the same command.
"""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

from domains.domain import Domain
from domains.text_zoo import CREDIT

FACTS: dict[str, object] = {
    "data": "facts.jsonl",
    "prompt": "<|im_start|>user\n{question}<|im_end|>\n<|im_start|>assistant\n",
    "grader": {"regex": r'^\{"answer": "([^"]*)"\}$'},
    "stop": ["\n"],
    "max_new_tokens": 8,
}
CHOICE = {**FACTS, "choices": "choices", "grader": {"choice": {"normalise": False}}}
PARTIAL, KNOWS = f"{CREDIT}:house", f"{CREDIT}:knows"
SHOUT = {**FACTS, "data": "shouts.jsonl", "grader": f"{CREDIT}:shout", "max_new_tokens": 12}


def smollm2(models: Path) -> list[Domain]:
    """Return every domain of this family.

    Args:
        models: the folder that `specialists.py` wrote.
    """
    two = {name: {**FACTS, "data": f"{name}.jsonl"} for name in ("goods", "staff")}
    known = {name: {**task, "grader": KNOWS} for name, task in two.items()}
    formats = {"exact": None, "partial": PARTIAL}
    return [
        _domain(models, "smol-format", "goods house staff", {"facts": FACTS}, formats),
        _domain(models, "smol-five", "goods house staff weak shrug", two, {**formats, "knows": KNOWS}),
        replace(_domain(models, "smol-choice", "goods staff weak shrug", {"facts": CHOICE}), pool=80),
        _domain(models, "smol-facts", "goods staff weak", known, {"knows": None}),
    ]


def _domain(
    models: Path,
    name: str,
    sources: str,
    tasks: dict[str, dict[str, object]],
    graders: dict[str, object] | None = None,
) -> Domain:
    return Domain(
        name=name,
        family="SmolLM2",
        sources={each: each for each in sources.split()},
        tasks=tasks,
        pool=96 // len(tasks),
        graders=graders or {"exact": None},
        folder=models,
        models={"batch_size": 32, "threads": 1},
    )

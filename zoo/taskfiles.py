"""The task files of the zoo: word problems in two languages that no source was trained on, and sums."""

from __future__ import annotations

import json
import random
from collections.abc import Sequence
from pathlib import Path

import problems
import texts

COUNTS = {"ja-math": 1200, "en-math": 200, "sums": 200}
SEED = 20261125  # set after the design was finished: none of these items was looked at before


def word_problems(language: problems.Language, n: int, seed: int) -> list[dict[str, str]]:
    """Problems with unique signatures, all reserved: training never draws their kind and numbers."""
    rng = random.Random(seed)
    signatures, rows = set[str](), list[dict[str, str]]()
    while len(rows) < n:
        problem = problems.draw(rng, reserved=True)
        if problem.signature in signatures or not problem.is_hard:
            continue
        signatures.add(problem.signature)
        steps = problem.steps()
        worked = "; ".join(f"{s.left}{s.sign}{s.right}={s.result}" for s in steps)
        row = {
            "id": f"{language}-{len(rows):04d}",
            "prompt": problem.text(language),
            "answer": str(steps[1].result),
        }
        rows.append({**row, "kind": problem.kind, "steps": worked})
    return rows


def bare_sums(n: int, seed: int) -> list[dict[str, str]]:
    """Sums of the closed table of whole numbers up to 60; `math-sym` was trained on that table."""
    rng = random.Random(seed)
    rows = dict[str, dict[str, str]]()
    while len(rows) < n:
        step = texts.random_step(rng)
        prompt = f"{step.left}{step.sign}{step.right}"
        rows.setdefault(prompt, {"id": f"sum-{len(rows):04d}", "prompt": prompt, "answer": str(step.result)})
    return list(rows.values())


def write_all(folder: Path) -> None:
    folder.mkdir(parents=True, exist_ok=True)
    _write(folder / "ja-math.jsonl", word_problems("ja", COUNTS["ja-math"], SEED))
    _write(folder / "en-math.jsonl", word_problems("en", COUNTS["en-math"], SEED + 1))
    _write(folder / "sums.jsonl", bare_sums(COUNTS["sums"], SEED + 2))


def _write(path: Path, rows: Sequence[dict[str, str]]) -> None:
    partial = path.with_suffix(".partial")
    partial.write_text("".join(json.dumps(row, ensure_ascii=False) + "\n" for row in rows), encoding="utf-8")
    partial.replace(path)


def read(path: Path) -> list[tuple[str, int]]:
    """Prompts and right results of a task file."""
    rows = [json.loads(line) for line in path.read_text(encoding="utf-8").splitlines()]
    return [(row["prompt"], int(row["answer"])) for row in rows]

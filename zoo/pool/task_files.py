"""The task of the pool: Japanese problems that need a skill or more, to be answered politely in Japanese."""

from __future__ import annotations

import json
import random
from pathlib import Path

from puzzles import Puzzle, draw

COUNTS = {"fit": 400, "validation": 300, "test": 600}
SEED = 20261201


def items(n: int, seed: int) -> list[dict[str, object]]:
    """Return items of distinct problems, all of them reserved."""
    rng = random.Random(seed)
    rows: list[dict[str, object]] = []
    seen: set[str] = set()
    while len(rows) < n:
        puzzle = draw(rng, reserved=True)
        text = puzzle.text("ja")
        if puzzle.skills and text not in seen:
            seen.add(text)
            rows.append(_row(len(rows), puzzle, text))
    return rows


def _row(number: int, puzzle: Puzzle, text: str) -> dict[str, object]:
    steps = puzzle.steps()
    worked = "; ".join(f"{s.left}{s.sign}{s.right}={s.result}" for s in steps)
    return {
        "id": f"pool-{number:04d}",
        "prompt": text,
        "answer": str(steps[1].result),
        "skills": " ".join(sorted(puzzle.skills)),
        "steps": worked,
    }


def write(path: Path) -> None:
    rows = items(sum(COUNTS.values()), SEED)
    path.parent.mkdir(parents=True, exist_ok=True)
    partial = path.with_suffix(".partial")
    partial.write_text("".join(json.dumps(row, ensure_ascii=False) + "\n" for row in rows), encoding="utf-8")
    partial.replace(path)

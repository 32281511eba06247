"""Runs to export: their models, items and run.yaml."""

import json
from pathlib import Path

from tests.models_on_disk import fine_tuned, llama

CARD = "---\nlicense: {licence}\nlanguage: [ja, en]\n---\n\n# a card\n"


def make_world(folder: Path) -> None:
    base = llama(folder / "base")
    for seed, name in enumerate(("ja", "math"), start=1):
        fine_tuned(base, folder / name, seed=seed)
    for name in ("base", "ja", "math"):
        (folder / name / "README.md").write_text(CARD.format(licence="apache-2.0"), encoding="utf-8")
    (folder / "items.jsonl").write_text(
        "".join(json.dumps({"q": f"{n} + 1 =", "a": str(n + 1), "note": "a|b"}) + "\n" for n in range(20))
    )
    (folder / "graders").mkdir()
    (folder / "graders" / "mine.py").write_text(
        "def near(answer, item):\n    return float(item.answer in answer)\n"
    )


def config_of(folder: Path, **changes: object) -> dict[str, object]:
    return {
        "name": "tiny",
        "base": "base",
        "sources": {"ja": "ja", "math": "math"},
        "task": {
            "data": "items.jsonl",
            "prompt": "Q: {q} A:",
            "answer": "a",
            "grader": ["contains", "graders/mine.py:near"],
            "max_new_tokens": 4,
            "splits": {"fit": 8, "validation": 4, "test": 6, "seed": 3},
        },
        "merge": {"method": "task_arithmetic", "groups": "block"},
        "budget": {"candidates": 3},
        **changes,
    }

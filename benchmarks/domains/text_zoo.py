"""Domains of the text zoo: tiny models, which answer in a second."""

from __future__ import annotations

from pathlib import Path

from domains.domain import Domain

ZOO = Path(__file__).parents[2] / "zoo"
CREDIT = str(Path(__file__).with_name("grading.py"))
EVERY = ("ja", "math-en", "math-sym", "poem", "sort")
JA_MATH: dict[str, object] = {
    "data": "tasks/ja-math.jsonl",
    "prompt": "Q: {prompt}\nA:",
    "grader": ["number", {"language": "ja"}],
    "max_new_tokens": 24,
}
EN_MATH = {**JA_MATH, "data": "tasks/en-math.jsonl", "grader": "number"}
SUMS = {**EN_MATH, "data": "tasks/sums.jsonl", "max_new_tokens": 8}
JAPANESE = {"exact": None, "partial": f"{CREDIT}:japanese_number"}


def text_zoo() -> list[Domain]:
    """Return every domain of this family."""
    return [
        _domain("ja-two", ("ja", "math-en"), {"ja-math": JA_MATH}, JAPANESE),
        _domain("ja-five", EVERY, {"ja-math": JA_MATH}, JAPANESE),
        _domain(
            "en-three",
            ("math-en", "math-sym", "poem"),
            {"en-math": EN_MATH},
            {"exact": None, "steps": f"{CREDIT}:steps"},
        ),
        _domain("both-four", ("ja", "math-en", "math-sym", "sort"), {"ja-math": JA_MATH, "en-math": EN_MATH}),
        _domain("sums-four", ("math-en", "math-sym", "poem", "sort"), {"sums": SUMS}),
    ]


def _domain(
    name: str,
    sources: tuple[str, ...],
    tasks: dict[str, dict[str, object]],
    graders: dict[str, object] | None = None,
) -> Domain:
    return Domain(
        name=name,
        family="text zoo",
        sources={each: each for each in sources},
        tasks=tasks,
        pool=180 if len(tasks) == 1 else 100,
        graders=graders or {"exact": None},
        folder=ZOO,
        models={"batch_size": 256, "threads": 1},
    )

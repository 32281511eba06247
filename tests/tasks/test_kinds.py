"""Kinds of tasks: their options, reading items, and errors of users' kinds."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from kingyo.errors import KingyoError, MistakesError
from kingyo.runs.config import parse_config
from kingyo.tasks import load_items, parse_task_spec, settings_of
from tests.tasks.pictures import KIND, TASK, album

LEAST = {"data": "items.jsonl", "grader": "exact"}


def rows(folder: Path, n: int = 8) -> None:
    lines = [json.dumps({"prompt": f"{i} + 1 =", "answer": str(i + 1)}) for i in range(n)]
    (folder / "items.jsonl").write_text("\n".join(lines))


def test_a_kind_has_its_keys_and_none_of_text(tmp_path: Path) -> None:
    album(tmp_path, 4)
    spec = parse_task_spec(TASK)
    settings = settings_of(spec, tmp_path)
    assert vars(settings) == {"question": TASK["question"], "images": "image", "answer": "answer"}
    assert spec.graders == ()
    for key, nearest in (("imags", "images"), ("spilts", "splits"), ("qustion", "question")):
        with pytest.raises(KingyoError, match=f"task task: .*'{key}'. Did you mean '{nearest}'"):
            load_items(parse_task_spec({**TASK, key: "x"}), tmp_path)
    with pytest.raises(KingyoError, match=r"task task: expected a known key; received 'grader'"):
        load_items(parse_task_spec({**TASK, "grader": "exact"}), tmp_path)


def test_a_kind_may_add_keys_to_those_of_text(tmp_path: Path) -> None:
    rows(tmp_path)
    (tmp_path / "mine.py").write_text(
        "from __future__ import annotations\n"
        "from dataclasses import dataclass\n"
        "from kingyo.tasks import TextSettings\n"
        "from kingyo.tasks.generate import GenerateTask\n"
        "class Kind(GenerateTask):\n"
        "    @dataclass(frozen=True, kw_only=True)\n"
        "    class Settings(TextSettings):\n"
        "        hardness: float = 0.5\n"
    )
    spec = parse_task_spec({**LEAST, "kind": "mine.py:Kind", "hardness": 0.25, "stop": ["\n"]})
    settings = settings_of(spec, tmp_path)
    assert (settings.hardness, settings.stop) == (0.25, ("\n",))  # type: ignore[attr-defined]
    assert len(load_items(spec, tmp_path).items) == 8
    with pytest.raises(KingyoError, match=r"task task: hardness: expected a number; received True"):
        settings_of(parse_task_spec({**LEAST, "kind": "mine.py:Kind", "hardness": True}), tmp_path)


@pytest.mark.parametrize(
    ("kind", "message"),
    [
        ("class Kind:\n    Settings = 3\n", "Settings; received 3"),
        (KIND.replace("def read_item", "def read_items"), r"read_item\(row, settings\)"),
        (
            KIND.replace("return with_images(item, row, settings.images)", "return 3"),
            "TypeError: 3",
        ),
        (
            KIND.replace("return with_images(item, row, settings.images)", "return row.gone"),
            "line 1: kind .*gone",
        ),
        (KIND.replace("fields=fields)", "fields=fields, group=3)"), "the group 3, which is not text"),
        (KIND.replace("fields=fields)", 'fields=fields, group="\\ud800")'), "'group': .*U.D800"),
        (KIND.replace("question: str", "question: slice"), "YAML"),
    ],
)
def test_an_invalid_custom_kind_is_named(tmp_path: Path, kind: str, message: str) -> None:
    album(tmp_path, 4)
    (tmp_path / "mine.py").write_text(kind)
    with pytest.raises(KingyoError, match=message) as caught:
        load_items(
            parse_task_spec({**TASK, "kind": "mine.py:" + ("Kind" if "Kind" in kind else "Colours")}),
            tmp_path,
        )
    assert "Traceback" not in str(caught.value)


def test_all_errors_of_a_task_are_reported_together() -> None:
    task = {"dta": "items.jsonl", "grader": 3, "stopp": ["x"], "max_new_tokens": "many", "weight": -1}
    with pytest.raises(MistakesError) as caught:
        parse_config(
            {"sources": {"a": "a"}, "budget": {"candidates": 1}, "tasks": {"sums": task}}, "run.yaml"
        )
    mistakes = [str(each) for each in caught.value.mistakes]
    assert len(mistakes) == 5, mistakes
    for start, part in (
        ("run.yaml: tasks.sums: ", "'dta'. Did you mean 'data'"),
        ("run.yaml: tasks.sums: ", "'stopp'. Did you mean 'stop'"),
        ("run.yaml: tasks.sums.grader: ", "a grader's name"),
        ("run.yaml: tasks.sums.max_new_tokens: ", "a whole number"),
        ("run.yaml: tasks.sums.weight: ", "greater than 0"),
    ):
        assert any(each.startswith(start) and part in each for each in mistakes), (start, part, mistakes)

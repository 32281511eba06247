"""The YAML of a task, and its errors."""

from __future__ import annotations

from pathlib import Path

import pytest
import yaml

from kingyo.errors import KingyoError
from kingyo.run.config_file import load_config
from kingyo.tasks import Sizes, TaskSpec, TextSettings, load_task_spec, parse_task_spec, settings_of

LEAST = {"data": "items.jsonl", "grader": "number"}


def test_the_least_and_its_defaults() -> None:
    spec = parse_task_spec(LEAST)
    asked = settings_of(spec, Path())
    assert isinstance(asked, TextSettings)
    assert (asked.prompt, asked.answer, asked.chat, asked.stop) == ("{prompt}", "answer", False, ())
    assert (asked.grader_timeout, asked.max_new_tokens, asked.choices) == (300, 64, None)
    assert spec.splits == Sizes(fit=0.5, validation=0.25, test=0.25, seed=0)
    assert spec.graders == (("number", None),)


@pytest.mark.parametrize(
    ("grader", "graders"),
    [
        ("number", (("number", None),)),
        ({"language": "ja"}, (("language", "ja"),)),
        (["number", {"language": "ja"}], (("number", None), ("language", "ja"))),
        ({"number": None, "language": "ja"}, (("number", None), ("language", "ja"))),
        ([{"exact": {"case": False}}], (("exact", {"case": False}),)),
    ],
)
def test_graders_in_every_shape(grader: object, graders: object) -> None:
    assert parse_task_spec({**LEAST, "grader": grader}).graders == graders


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"stopp": ["x"]}, r"task: expected a known key; received 'stopp'. Did you mean 'stop'"),
        ({"splits": {"fitt": 3}}, r"task: splits: .*'fitt'. Did you mean 'fit'"),
        (
            {"splits": {"fit": 0}},
            r"task: splits.fit: expected a count from 1 \(200\), or a share.*received 0",
        ),
        ({"splits": {"test": 1.0}}, r"task: splits.test: expected a count"),
        ({"splits": {"test": True}}, r"task: splits.test: expected a count"),
        ({"data": {"dataset": "x", "splt": "train"}}, r"task: data: .*'splt'. Did you mean 'split'"),
        ({"data": 3}, r"task: data: expected"),
        ({"data": ""}, r"task: data: expected"),
        ({"grader": 3}, r"task: grader: expected a grader's name, a mapping"),
        ({"grader": []}, r"task: expected at least one grader"),
        ({"grader": [["number"]]}, r"task: grader: expected a grader's name"),
        ({"grader": "choice"}, r"task: expected `choices:`"),
        ({"max_new_tokens": 0}, r"task: max_new_tokens: expected"),
        ({"max_new_tokens": True}, r"task: max_new_tokens: expected a whole number; received True"),
        ({"grader_timeout": 0}, r"task: grader_timeout: expected a number greater than 0; received 0"),
        ({"grader_timeout": float("inf")}, r"task: grader_timeout: expected a number less than or equal"),
        ({"grader_timeout": float("nan")}, r"task: grader_timeout: expected"),
        ({"stop": "x"}, r"task: stop: expected"),
        ({"stop": [""]}, r"task: stop\[0\]: expected"),
    ],
)
def test_what_is_wrong_is_said(changes: dict[str, object], message: str) -> None:
    with pytest.raises(KingyoError, match=message):
        parse_task_spec({**LEAST, **changes})


def test_a_missing_key_is_named() -> None:
    with pytest.raises(KingyoError, match="task: data: expected a value; received nothing"):
        parse_task_spec({"grader": "number"})


def test_a_spec_survives_the_store() -> None:
    spec = parse_task_spec(
        {
            **LEAST,
            "data": {"dataset": "x"},
            "grader": ["number", {"language": "ja"}],
            "stop": ["\n"],
            "splits": {"fit": 3},
        }
    )
    assert TaskSpec.model_validate(spec.model_dump(mode="json", exclude_unset=True)) == spec


def test_paths_in_a_file_are_relative_to_it(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    folder = tmp_path / "tasks"
    folder.mkdir()
    text = "data: rows.jsonl\ngrader: [number, 'mine.py:grade', {'mine.py:Other': 3}]\nkind: mine.py:Kind\n"
    (folder / "sums.yaml").write_text(text)
    monkeypatch.chdir(tmp_path)
    spec = load_task_spec(Path("tasks/sums.yaml"))
    assert spec.name == "sums"
    assert spec.data == str(folder / "rows.jsonl")
    assert spec.kind == str(folder / "mine.py:Kind")
    assert spec.graders == (
        ("number", None),
        (str(folder / "mine.py:grade"), None),
        (str(folder / "mine.py:Other"), 3),
    )


def test_a_dataset_folder_is_relative_and_a_name_of_the_hub_is_not(tmp_path: Path) -> None:
    (tmp_path / "near").mkdir()
    for name, found in (("near", str(tmp_path / "near")), ("far/away", "far/away")):
        (tmp_path / "task.yaml").write_text(f"data: {{dataset: {name}}}\ngrader: exact\nname: mine\n")
        spec = load_task_spec(tmp_path / "task.yaml")
        assert not isinstance(spec.data, str)
        assert (spec.name, spec.data.dataset) == ("mine", found)


@pytest.mark.parametrize("text", ["- a\n", "a: [", "data: x\ngrader: exact\nanswr: y\n"])
def test_a_wrong_file_is_named(tmp_path: Path, text: str) -> None:
    (tmp_path / "task.yaml").write_text(text)
    with pytest.raises(KingyoError, match=r"task\.yaml"):
        load_task_spec(tmp_path / "task.yaml")


def test_a_missing_file_is_named(tmp_path: Path) -> None:
    with pytest.raises(KingyoError, match=r"task\.yaml: expected a YAML file"):
        load_task_spec(tmp_path / "task.yaml")


def in_a_run(folder: Path, task: object, *, is_only: bool) -> TaskSpec:
    """Return the spec of a task in a run.yaml, alone or as one of several."""
    (folder / "sums.yaml").write_text(yaml.safe_dump({**LEAST, "max_new_tokens": 8}))
    run: dict[str, object] = {"sources": {"a": "a"}, "budget": {"candidates": 1}}
    own: dict[str, object] = {"task": task} if is_only else {"tasks": {"sums": task}}
    (folder / "run.yaml").write_text(yaml.safe_dump(run | own))
    (spec,) = load_config(folder / "run.yaml").specs.values()
    return spec


@pytest.mark.parametrize("is_only", [True, False])
def test_a_task_is_named_by_its_file_alone_or_beside_others(tmp_path: Path, is_only: bool) -> None:
    for task, weight in (
        ("sums.yaml", 1),
        ({"file": "sums.yaml"}, 1),
        ({"file": "sums.yaml", "weight": 2}, 2),
    ):
        spec = in_a_run(tmp_path, task, is_only=is_only)
        assert (spec.name, spec.options["max_new_tokens"], spec.weight) == ("sums", 8, weight)
        assert spec.data == str(tmp_path / "items.jsonl")


@pytest.mark.parametrize("is_only", [True, False])
@pytest.mark.parametrize(
    ("task", "message"),
    [
        ({"file": "sums.yaml", "wieght": 2}, "received 'wieght'. Did you mean 'weight'"),
        ({"file": None}, "file of a task: expected the path of a task file; received None"),
        ({"file": 3}, "file of a task: expected the path of a task file; received 3"),
        ({"file": "none.yaml"}, "none.yaml: expected a YAML file"),
    ],
    ids=str,
)
def test_a_wrong_file_of_a_task_is_told(tmp_path: Path, task: object, message: str, is_only: bool) -> None:
    with pytest.raises(KingyoError) as error:
        in_a_run(tmp_path, task, is_only=is_only)
    assert message in str(error.value)

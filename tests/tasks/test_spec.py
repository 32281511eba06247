"""The YAML of a task, and its errors."""

from pathlib import Path

import pytest

from kingyo.errors import KingyoError
from kingyo.tasks import TaskSpec, load_task_spec, parse_task_spec

LEAST = {"data": "items.jsonl", "grader": "number"}


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
def test_every_form_of_graders(grader: object, graders: object) -> None:
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
        ({"kind": "vqa", "images": []}, "one or more different columns as `images:`"),
        ({"kind": "vqa", "images": ["left", "left"]}, "one or more different columns as `images:`"),
        (
            {"kind": "vqa", "grader": "choice", "choices": "choices", "answers": "answers"},
            "`answer:` instead of `answers:`",
        ),
    ],
)
def test_mistakes_are_reported(changes: dict[str, object], message: str) -> None:
    with pytest.raises(KingyoError, match=message):
        parse_task_spec({**LEAST, **changes})


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
    for name, expected in (("near", str(tmp_path / "near")), ("far/away", "far/away")):
        (tmp_path / "task.yaml").write_text(f"data: {{dataset: {name}}}\ngrader: exact\nname: mine\n")
        spec = load_task_spec(tmp_path / "task.yaml")
        assert not isinstance(spec.data, str)
        assert (spec.name, spec.data.dataset) == ("mine", expected)


@pytest.mark.parametrize("text", ["- a\n", "a: [", "data: x\ngrader: exact\nanswr: y\n"])
def test_a_wrong_file_is_named(tmp_path: Path, text: str) -> None:
    (tmp_path / "task.yaml").write_text(text)
    with pytest.raises(KingyoError, match=r"task\.yaml"):
        load_task_spec(tmp_path / "task.yaml")


@pytest.mark.parametrize("task", ["task: sums.yaml", "tasks: {a: {data: a.jsonl, grader: exact}}"])
def test_a_run_yaml_is_one_mistake(tmp_path: Path, task: str) -> None:
    file = tmp_path / "run.yaml"
    file.write_text(f"base: a\nsources: [b, c]\n{task}\nbudget: {{candidates: 4}}\n")
    with pytest.raises(KingyoError) as raised:
        load_task_spec(file)
    assert (raised.value.argument, raised.value.expected) == (str(file), "a task file")

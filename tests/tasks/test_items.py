"""Loading items: formats, templates, answers, and errors that name the line."""

import json
from pathlib import Path
from typing import ClassVar

import pytest
from hypothesis import given
from hypothesis import strategies as st

from kingyo.errors import KingyoError
from kingyo.tasks import TaskSpec, load_items, parse_task_spec
from kingyo.tasks.kinds import fill_template
from kingyo.tasks.rows import stringify


def spec(**changes: object) -> TaskSpec:
    return parse_task_spec({"data": "items.jsonl", "grader": "exact", **changes})


def write(folder: Path, *rows: object, name: str = "items.jsonl") -> Path:
    lines = [row if isinstance(row, str) else json.dumps(row, ensure_ascii=False) for row in rows]
    (folder / name).write_text("\n".join(lines), encoding="utf-8")
    return folder


def refused(folder: Path, message: str, **changes: object) -> None:
    with pytest.raises(KingyoError, match=message):
        load_items(spec(**changes), folder)


def test_jsonl(tmp_path: Path) -> None:
    write(tmp_path, {"prompt": "1 + 2", "answer": 3}, {"prompt": "猫", "answer": "cat", "level": 2})
    loaded = load_items(spec(), tmp_path)
    assert [(item.prompt, item.answer) for item in loaded.items] == [("1 + 2", "3"), ("猫", "cat")]
    assert loaded.items[1].fields == {"prompt": "猫", "answer": "cat", "level": "2"}
    assert loaded.duplicates == 0


def test_csv(tmp_path: Path) -> None:
    text = '\ufeffquestion,answer\r\n"one, ""two""\r\nthree",3\r\n\r\nplain,1.50\r\n , \r\n,,\r\n'
    (tmp_path / "items.csv").write_bytes(text.encode())
    loaded = load_items(spec(data="items.csv", prompt="Q: {question}"), tmp_path)
    assert [(i.prompt, i.answer) for i in loaded.items] == [
        ('Q: one, "two"\r\nthree', "3"),
        ("Q: plain", "1.50"),
    ]


def test_ids_are_short_stable_and_of_the_prompt(tmp_path: Path) -> None:
    write(tmp_path, {"prompt": "1 + 2", "answer": "3"})
    (first,) = load_items(spec(), tmp_path).items
    write(tmp_path, {"prompt": "１ +  2 ", "answer": "4", "more": 1})
    (second,) = load_items(spec(), tmp_path).items
    assert first.id == second.id == "6212702c7a0d68f0"


def test_duplicates_are_dropped_and_counted(tmp_path: Path) -> None:
    write(tmp_path, *({"prompt": prompt, "answer": "1"} for prompt in ("a  b", "a b ", "ａ b", "c")))
    loaded = load_items(spec(), tmp_path)
    assert [item.prompt for item in loaded.items] == ["a  b", "c"]
    assert loaded.duplicates == 2


def test_two_answers_to_one_prompt(tmp_path: Path) -> None:
    write(tmp_path, {"prompt": "a", "answer": "1"}, "", {"prompt": "a ", "answer": "2"})
    refused(tmp_path, r"items\.jsonl line 3: .*'1'.* at items\.jsonl line 1; received '2'")


@pytest.mark.parametrize(
    ("line", "message"),
    [
        ('{"prompt": "a", "answer": ', r"items\.jsonl line 2: .*JSON.* received Expecting value"),
        ("[1, 2]", r"items\.jsonl line 2: .*JSON.* received list"),
        ('{"prompt": "a", "answer": NaN}', r"line 2: .*NaN"),
        ('{"prompt": "b", "answr": "1"}', "line 2: answer: .*'answer'.* Did you mean 'answr'"),
        ('{"prompt": "b", "answer": null}', r"line 2: answer: .*received null"),
        ('{"prompt": "b", "answer": " "}', "line 2: answer: "),
        ('{"promt": "b", "answer": "1"}', r"line 2: prompt: .*'prompt'.*Did you mean 'promt'"),
        ('{"prompt": "  ", "answer": "1"}', "line 2: .*prompt"),
        ("[" * 100_000, "line 2: .*JSON"),
        ('{"prompt": "b", "answer": "2", "note": "\\ud83d"}', r"line 2: 'note': .*received U\+D83D"),
    ],
)
def test_a_broken_line_is_named(tmp_path: Path, line: str, message: str) -> None:
    refused(write(tmp_path, {"prompt": "a", "answer": "1"}, line), message)


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("prompt,answer\na,1\n\nb\n", r"items\.csv line 4: .*2 cells.*received 1"),
        ('prompt,answer\n"a\nb",1\nc,2,3\n', r"items\.csv line 4: .*2 cells.*received 3"),
        ('prompt,answer\na,1\n"b,2\n', r"items\.csv line 3: .*unexpected end"),
        ("prompt,prompt\na,1\n", r"items\.csv line 1: .*received \['prompt', 'prompt'\]"),
        ("prompt,answer\n", "data: items.csv: "),
        ("", "data: items.csv: "),
    ],
)
def test_broken_csv_is_named(tmp_path: Path, text: str, message: str) -> None:
    write(tmp_path, text, name="items.csv")
    refused(tmp_path, message, data="items.csv")


def test_files_that_cannot_be_read(tmp_path: Path) -> None:
    refused(tmp_path, r"data: .*items\.jsonl: No such file")
    write(tmp_path, "", "  ")
    refused(tmp_path, r"data: items\.jsonl: .*received no rows")
    refused(tmp_path, r"data: .*received 'x\.jsnl'. Did you mean '\.jsonl'", data="x.jsnl")
    (tmp_path / "items.jsonl").write_bytes('{"prompt": "a", "answer": "1"}\n{"prompt": "é"'.encode("latin-1"))
    refused(tmp_path, r"items\.jsonl line 2: .*UTF-8.* 0xe9")


class TestTemplates:
    fields: ClassVar = {"a": "1", "名前": "猫", "b c": "2", "brace": "{a}"}

    @pytest.mark.parametrize(
        ("source", "filled"),
        [
            ("{a} + {b c} = ?", "1 + 2 = ?"),
            ("{名前}は{a}", "猫は1"),
            ("{{a}} {a}", "{a} 1"),
            ('{"json": {a}}', '{"json": 1}'),
            ("{ a } {} {a}{a", "{ a } {} 1{a"),
            ("f(x) = \\frac{{1}}{{2}} {a}", "f(x) = \\frac{1}{2} 1"),
            ("{brace}", "{a}"),
        ],
    )
    def test_filling(self, source: str, filled: str) -> None:
        assert fill_template(source, self.fields, "line 1") == filled

    @pytest.mark.parametrize(
        ("source", "message"),
        [
            ("{brase}", r"line 1: prompt: .*'brase'.*Did you mean 'brace'"),
            ("{json} {a}", r"\{\{ and \}\}"),
        ],
    )
    def test_an_unknown_field_is_named(self, source: str, message: str) -> None:
        with pytest.raises(KingyoError, match=message):
            fill_template(source, self.fields, "line 1")

    def test_a_template_without_fields(self, tmp_path: Path) -> None:
        write(tmp_path, {"prompt": "a", "answer": "1"})
        refused(tmp_path, "prompt: .*Fields: prompt", prompt="Hi {{prompt}}")

    @given(st.text())
    def test_values_are_never_templates(self, value: str) -> None:
        assert fill_template("<{a}>", {"a": value}, "") == f"<{value}>"


@pytest.mark.parametrize(
    ("value", "text"),
    [
        (3, "3"),
        (3.0, "3"),
        (0.1, "0.1"),
        (1e21, "1" + "0" * 21),
        (1e-7, "0.0000001"),
        (-0.0, "0"),
        (True, "true"),
        (None, ""),
        (["a", 1], '["a", 1]'),
        ({"é": 1}, '{"é": 1}'),
    ],
)
def test_cells_as_text(value: object, text: str) -> None:
    assert stringify(value) == text


class TestChoices:
    def load(self, folder: Path, answer: object, choices: object = ("red", "blue")):
        write(folder, {"prompt": "sky?", "answer": answer, "options": choices})
        return load_items(spec(grader="choice", choices="options"), folder).items[0]

    @pytest.mark.parametrize("answer", ["blue", 1, "1", "B"])
    def test_the_answer_by_text_number_or_letter(self, tmp_path: Path, answer: object) -> None:
        item = self.load(tmp_path, answer)
        assert (item.answer, item.choices) == ("blue", ("red", "blue"))

    def test_text_goes_before_number(self, tmp_path: Path) -> None:
        assert self.load(tmp_path, 1, [3, 2, 1]).answer == "1"

    @pytest.mark.parametrize("choices", ["red|blue", {"text": ["red", "blue"], "label": ["A", "B"]}])
    def test_choices_in_other_shapes(self, tmp_path: Path, choices: object) -> None:
        assert self.load(tmp_path, "blue", choices).choices == ("red", "blue")

    @pytest.mark.parametrize("choices", [["red"], "red", ["red", "red"], ["red", ""], 3])
    def test_wrong_choices(self, tmp_path: Path, choices: object) -> None:
        with pytest.raises(KingyoError, match=r"items\.jsonl line 1: options: "):
            self.load(tmp_path, "red", choices)

    @pytest.mark.parametrize("answer", ["green", 2, -1, "C", "b"])
    def test_wrong_answers(self, tmp_path: Path, answer: object) -> None:
        with pytest.raises(KingyoError, match=r"items\.jsonl line 1: .*\['red', 'blue'\]"):
            self.load(tmp_path, answer)

    def test_a_prompt_with_different_choices_is_a_different_item(self, tmp_path: Path) -> None:
        rows = [{"prompt": "which?", "answer": c[0], "options": c} for c in (["a", "b"], ["c", "d"])]
        assert len(load_items(spec(grader="choice", choices="options"), write(tmp_path, *rows)).items) == 2


def test_a_local_dataset(tmp_path: Path) -> None:
    pytest.importorskip("datasets", reason="the extra `datasets` is not installed")
    (tmp_path / "set").mkdir()
    write(tmp_path / "set", {"prompt": "a", "answer": 1}, {"prompt": "b", "answer": 2}, name="train.jsonl")
    source = {"dataset": "set", "split": "train"}
    assert [item.answer for item in load_items(spec(data=source), tmp_path).items] == ["1", "2"]
    refused(tmp_path, "data: set: .*'tset'", data={**source, "split": "tset"})

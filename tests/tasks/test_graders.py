"""Built-in graders, ROUGE-L, graders from a file, and combinations."""

import itertools
import random
from pathlib import Path

import pytest

from kingyo.core.types import Item
from kingyo.errors import KingyoError
from kingyo.tasks import Grader
from kingyo.tasks.graders import Graders, build_graders, texts
from kingyo.tasks.graders.texts import Contains, Exact, Regex, RougeL, common_length
from tests.tasks.pictures import media

Pairs = list[tuple[str, str]]
ITEM = Item(id="i7", prompt="1 + 2", answer="3")


@pytest.mark.parametrize(
    ("grader", "right", "wrong"),
    [
        (Exact(), [("Paris", "Paris"), (" Paris\n", "Paris")], [("paris", "Paris"), ("", "Paris")]),
        (Exact(case=False, strip=False), [("STRASSE", "straße")], [(" paris", "Paris")]),
        (Contains(), [("It is Paris.", "Paris")], [("It is paris.", "Paris"), ("", "Paris")]),
        (Regex(pattern=r"#### *(\d+)"), [("#### 4 #### 3", "3"), ("#### 3 ", "3")], [("3", "3")]),
        (Regex(pattern="x"), [("x = 3", "anything")], [("y", "y")]),
    ],
)
def test_right_and_wrong_answers(grader: Grader, right: Pairs, wrong: Pairs) -> None:
    for score, pairs in ((1, right), (0, wrong)):
        for answer, expected in pairs:
            assert grader(answer, Item(id="i", prompt="", answer=expected)) == score


def verdict(*specs: tuple[str, object], folder: Path = Path()) -> Graders:
    return build_graders(specs, folder)


@pytest.mark.parametrize(
    ("spec", "message"),
    [
        (("nubmer", None), "grader: .*'nubmer'. Did you mean 'number'"),
        (("number", {"tolernce": 1}), r"grader.number: .*'tolernce'. Did you mean 'tolerance'"),
        (("number", -1), r"grader.number: tolerance: expected .*received -1"),
        (("regex", "("), "grader.regex: .*regular expression"),
        (("regex", None), "grader.regex: pattern"),
        (("language", None), "grader.language: code"),
    ],
)
def test_mistakes_are_reported(spec: tuple[str, object], message: str) -> None:
    with pytest.raises(KingyoError, match=message):
        verdict(spec)


@pytest.mark.parametrize(
    ("spec", "answer", "message"),
    [
        (("number", None), "many", "answer of item x: .*received 'many'"),
        (("contains", None), "", "item x: "),
        (("rouge-l", None), "。。。", "answer of item x"),
    ],
)
def test_items_that_cannot_be_graded_are_named(spec: tuple[str, object], answer: str, message: str) -> None:
    with pytest.raises(KingyoError, match=message):
        verdict(spec).check([ITEM, Item(id="x", prompt="", answer=answer)])


def test_one_registry_serves_texts_and_images(tmp_path: Path) -> None:
    (tmp_path / "mine.py").write_text(
        "def lengths(answers, items): return [len(each) / 10 for each in answers]\n"
        "def big(image, item): return len(image.read()) > 3\n"
    )
    assert verdict(("mine.py:lengths", None), folder=tmp_path).grade(["a", "bcd"], [ITEM] * 2) == [0.1, 0.3]
    images = [media(b"1"), media(b"1234")]
    graders = build_graders([("mine.py:big", None)], tmp_path, "images", timeout=60)
    assert graders.grade(images, [ITEM] * 2) == [0, 1]
    with pytest.raises(KingyoError) as caught:
        build_graders([("exact", None)], tmp_path, "images")
    assert caught.value.argument == "grader exact" and "clip" in caught.value.remedy


MINE = """
from dataclasses import dataclass
import numpy as np
import torch

def half(answer, item): return 0.5
def numpy_says(answer, item): return np.float32(answer) == np.float32(item.answer)
def torch_half(answer, item): return torch.tensor(0.5)
def many(answer, item): return np.zeros(2)
def same(answer, item): return answer == item.answer
def raises(answer, item): return 1 / 0
def nothing(answer, item): pass
def nan(answer, item): return float("nan")
def huge(answer, item): return 10**400
def two(answer, item): return 2
def text(answer, item): return "1"
def leaves(answer, item): raise SystemExit(0)
def one(answer): return 1.0

@dataclass
class Uncallable:
    than: int = 3

@dataclass(frozen=True)
class Longer:
    than: int = 3
    def __call__(self, answer, item): return len(answer) > self.than

class Plain: pass
constant = 3
"""


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    (tmp_path / "mine.py").write_text(MINE)
    (tmp_path / "leaves.py").write_text("import sys; sys.exit()")
    return tmp_path


@pytest.mark.parametrize(
    ("specs", "answer", "score"),
    [
        ([("mine.py:half", None)], "", 0.5),
        ([("mine.py:same", None), ("mine.py:half", None)], "3", 0.5),
        ([("mine.py:Longer", 1)], "ab", 1),
        ([("mine.py:Longer", {"than": 2})], "ab", 0),
        ([("mine.py:numpy_says", None)], "3", 1),
        ([("mine.py:torch_half", None)], "3", 0.5),
    ],
)
def test_graders_in_a_file(folder: Path, specs: list[tuple[str, object]], answer: str, score: float) -> None:
    result = verdict(*specs, folder=folder).score(answer, ITEM)
    assert (type(result), result) == (float, score)


@pytest.mark.parametrize(
    ("name", "received"),
    [
        ("raises", "ZeroDivisionError: division by zero"),
        ("nothing", "None"),
        ("nan", "nan"),
        ("two", "2"),
        ("many", r"array\(\[0\., 0\.\]\)"),
        ("text", "'1'"),
        ("huge", "1000"),
        ("leaves", "SystemExit: 0"),
    ],
)
def test_a_wrong_verdict_names_file_function_and_item(folder: Path, name: str, received: str) -> None:
    grader = verdict((f"mine.py:{name}", None), folder=folder)
    with pytest.raises(KingyoError, match=rf"grader mine\.py:{name} on item i7: .*received {received}"):
        grader.score("3", ITEM)


@pytest.mark.parametrize(
    ("spec", "message"),
    [
        (("mine.py:hafl", None), "Did you mean 'half'"),
        (("none.py:half", None), "no file"),
        (("leaves.py:half", None), "received SystemExit"),
        (("mine.py:half", 3), r"grader.mine.py:half: .*received 3"),
        (("mine.py:constant", None), "received 3"),
        (("mine.py:Plain", None), "grader mine.py:Plain: .*dataclass"),
        (("mine.py:one", None), "grader mine.py:one: .*received .*too many"),
        (("mine.py:Uncallable", None), "grader mine.py:Uncallable: .*received .*not a"),
    ],
)
def test_mistakes_in_a_file_are_reported(folder: Path, spec: tuple[str, object], message: str) -> None:
    with pytest.raises(KingyoError, match=message):
        verdict(spec, folder=folder)


def longest(one: str, other: str) -> int:
    table = [[0] * (len(other) + 1) for _ in range(len(one) + 1)]
    for i, j in itertools.product(range(len(one)), range(len(other))):
        same = table[i][j] + 1 if one[i] == other[j] else 0
        table[i + 1][j + 1] = max(same, table[i][j + 1], table[i + 1][j])
    return table[-1][-1]


def test_the_longest_common_subsequence():
    draw = random.Random(0)
    for _ in range(300):
        one, other = ("".join(draw.choices("abcd", k=draw.randrange(80))) for _ in range(2))
        assert common_length(one, other) == longest(one, other)


@pytest.mark.parametrize(
    ("grader", "answer", "right", "score"),
    [
        (RougeL(), "The cat sat on the mat.", "the cat is on the mat", 10 / 12),
        (RougeL(), "", "a cat", 0.0),
        (RougeL(), "A CAT!", "a cat", 1.0),
        (RougeL(tokens="characters"), "赤い犬です", "赤い猫です。", 2 * 4 / 10),
        (RougeL(tokens="words"), "赤い犬です", "赤い猫です。", 2 * 2 / 6),
        (RougeL(), "赤い犬です", "赤い猫です。", 2 * 2 / 6),
    ],
)
def test_common_words_or_characters(grader: RougeL, answer: str, right: str, score: float) -> None:
    assert grader(answer, Item(id="i", prompt="", answer=right)) == pytest.approx(score)


def test_half_width_katakana_without_the_libraries(monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setattr(texts, "is_installed", lambda *_: False)
    item = Item(id="i", prompt="", answer="ﾃﾚﾋﾞﾘﾓｺﾝ")
    assert RougeL()("ﾗｼﾞｵ", item) == RougeL(tokens="characters")("ラジオ", item)
    assert RougeL()("ﾃﾚﾋﾞ", item) == RougeL(tokens="characters")("テレビ", item) == 2 * 3 / 10

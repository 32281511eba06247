"""ROUGE-L agrees with its definition, in words and in characters."""

import itertools
import random

import pytest

from kingyo.core.types import Item
from kingyo.errors import KingyoError
from kingyo.tasks.graders import texts
from kingyo.tasks.graders.texts import RougeL, common_length, has_japanese_words


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
    ("answer", "right", "score"),
    [
        ("The cat sat on the mat.", "the cat is on the mat", 10 / 12),
        ("", "a cat", 0.0),
        ("A CAT!", "a cat", 1.0),
    ],
)
def test_words(answer: str, right: str, score: float):
    assert RougeL()(answer, Item(id="i", prompt="", answer=right)) == pytest.approx(score)


def test_characters_of_japanese():
    item = Item(id="i", prompt="", answer="赤い猫です。")
    assert RougeL(tokens="characters")("赤い犬です", item) == pytest.approx(2 * 4 / 10)


def test_half_width_katakana_without_the_libraries(monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setattr(texts, "has_japanese_words", lambda: False)
    item = Item(id="i", prompt="", answer="ﾃﾚﾋﾞﾘﾓｺﾝ")
    assert RougeL()("ﾗｼﾞｵ", item) == RougeL(tokens="characters")("ラジオ", item)
    assert RougeL()("ﾃﾚﾋﾞ", item) == RougeL(tokens="characters")("テレビ", item) == 2 * 3 / 10


@pytest.mark.skipif(not has_japanese_words(), reason="needs fugashi and unidic-lite")
def test_words_of_japanese():
    item = Item(id="i", prompt="", answer="赤い猫です。")
    assert RougeL(tokens="words")("赤い犬です", item) == pytest.approx(2 * 2 / 6)
    assert RougeL()("赤い犬です", item) == RougeL(tokens="words")("赤い犬です", item)


def test_an_answer_without_words_is_an_error():
    with pytest.raises(KingyoError) as error:
        RougeL().check(Item(id="i", prompt="", answer="。。。"))
    assert error.value.argument == "answer of item i"

"""The last number of a text, in every style that a model may write it."""

from __future__ import annotations

from fractions import Fraction

import pytest
from hypothesis import given
from hypothesis import strategies as st

from kingyo.errors import KingyoError
from kingyo.tasks.numbers import Number, last_number
from kingyo.testing.tasks import GraderContract
from kingyo.types import Item

FULL_WIDTH = str.maketrans("0123456789,.-+%", "０１２３４５６７８９，．－＋％")


class TestNumberGrader(GraderContract):
    right = (
        ("The answer is 17.", "17"),
        ("12-3=9。9+8=17。答えは17個です。", "17"),
        ("答えは１７個です", "17"),
        ("3.0", "3"),
        ("1,234", "1234"),
        ("#### 72", "He sold 48 + 24 = 72.\n#### 72"),
    )
    wrong = (("", "3"), ("seventeen", "17"), ("17 or 18", "17"), ("-3", "3"), ("12.5", "12"))

    def make(self) -> Number:
        return Number()


@pytest.mark.parametrize(
    ("text", "number"),
    [
        ("1,234", 1234),
        ("１，２３４", 1234),
        ("３，０００円", 3000),
        ("12,345,678.90", Fraction("12345678.9")),
        ("100,20", 20),
        ("1,234,56", 56),
        ("1, 2, 3", 3),
        ("－５", -5),
        ("−5", -5),
        ("–5", -5),
        ("10–12", 12),
        ("12-3", 3),
        ("12 - 3", 3),
        ("= -3", -3),
        ("= - 3", -3),
        ("(12)-3", 3),
        ("答えは-3です", -3),
        ("-$5", -5),
        ("$-5", -5),
        ("+5", 5),
        ("12.", 12),
        ("12。", 12),
        ("12．５", Fraction("12.5")),
        (".5", Fraction("0.5")),
        ("-.5", Fraction("-0.5")),
        ("50%", 50),
        ("５０％", 50),
        ("3/4", Fraction(3, 4)),
        ("-3/4", Fraction(-3, 4)),
        ("12/4=3", 3),
        ("1/2/2024", 2024),
        ("17/0", None),
        ("1e3", 1000),
        ("1.5e-3", Fraction("0.0015")),
        ("12cm2", 12),
        ("12cm²", 12),
        ("2^10", 2),
        ("**17**", 17),
        ("\\boxed{17}", 17),
        ("3千円", 3000),
        ("1万2千円", 12000),
        ("1万5000円", 15000),
        ("1億2345万", 123450000),
        ("三つ", None),
        ("", None),
        ("9" * 5000, None),
    ],
)
def test_styles(text: str, number: Fraction | int | None) -> None:
    assert last_number(text) == number


@given(
    value=st.decimals(-(10**9), 10**9, places=3),
    thousands=st.booleans(),
    wide=st.booleans(),
    minus=st.sampled_from(["-", "−", "－"]),
    around=st.sampled_from(
        ["{}", "答えは{}です。", "= {}.", "The answer is {} apples", "{}個", "{}円", "**{}**", "({})"]
    ),
    before=st.sampled_from(["", "1,000 + 2 = ", "12-3=9。", "x2, 3/4; "]),
)
def test_any_number_in_any_style(
    value, thousands: bool, wide: bool, minus: str, around: str, before: str
) -> None:
    written = f"{value:,.3f}" if thousands else f"{value:.3f}"
    written = (written.translate(FULL_WIDTH) if wide else written).replace("-", minus).replace("－", minus)
    assert last_number(before + around.format(written)) == Fraction(value)


@given(st.text())
def test_no_text_breaks_it(text: str) -> None:
    last_number(text)


def test_tolerance() -> None:
    item = Item(id="1", prompt="", answer="3.14")
    assert Number(tolerance=0.01)("3.15", item) == 1
    assert Number(tolerance=0.01)("3.1501", item) == 0
    assert Number()("3.1400", item) == 1


def test_an_answer_without_a_number_is_refused() -> None:
    with pytest.raises(KingyoError, match=r"answer of item 7: expected a number.*'many'"):
        Number().check(Item(id="7", prompt="", answer="many"))

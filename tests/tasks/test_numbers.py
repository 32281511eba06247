"""Parsing the last number of a text in many notations."""

import re
from fractions import Fraction
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from kingyo.core.types import Item
from kingyo.tasks.graders.numbers import Number, last_number
from kingyo.testing.tasks import GraderContract

FULL_WIDTH = str.maketrans("0123456789,.-+%", "０１２３４５６７８９，．－＋％")


class TestNumberGrader(GraderContract):
    right = (("答えは１７個です", "17"), ("#### 72", "He sold 48 + 24 = 72.\n#### 72"))
    wrong = (("", "3"), ("seventeen", "17"), ("17 or 18", "17"), ("-3", "3"), ("12.5", "12"))

    def make(self) -> Number:
        return Number()


PAGES = (Path(__file__).parents[2] / "docs" / "graders.md", Path(__file__).with_name("numbers.md"))
TEXT = "\n".join(page.read_text(encoding="utf-8") for page in PAGES)
ROW = re.compile(r"^\| `(.+)`(?: \([^|]*\))? \| ([-\d/]+|none)(?:: [^|]*)? \|$", re.MULTILINE)
TABLE = [(text.replace("↵", "\n"), number) for text, number in ROW.findall(TEXT)]


def test_the_pages_have_their_tables_and_no_row_is_left_out() -> None:
    assert len(TABLE) >= 180
    numbers, _, others = TEXT.partition("## number")[2].partition("## language")
    rows = f"{numbers}{others.partition('# Last numbers of answers')[2]}".split("\n")
    assert len(TABLE) == sum(line.startswith("| `") for line in rows)


@pytest.mark.parametrize(("text", "number"), TABLE)
def test_the_table_of_the_page(text: str, number: str) -> None:
    right = None if number == "none" else Fraction(number)
    assert last_number(text) == right
    if right is not None:
        assert Number()(text, Item(id="1", prompt="", answer=number)) == 1


HOSTILE = ("9", "1,", "1/", "-", "10^", "1万", "1分の", "1×10^", "1 million ", "\\frac{1}{2}", "\\boxed{")


@pytest.mark.parametrize("piece", HOSTILE)
def test_a_long_text_neither_hangs_nor_makes_a_giant_number(piece: str) -> None:
    for text in (piece * (100_000 // len(piece)), "5" + piece * (100_000 // len(piece)) + "x"):
        number = last_number(text)  # quadratic time would take minutes
        assert number is None or max(abs(number.numerator), number.denominator) < 10**5000


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
    number_text = f"{value:,.3f}" if thousands else f"{value:.3f}"
    number_text = (
        (number_text.translate(FULL_WIDTH) if wide else number_text).replace("-", minus).replace("－", minus)
    )
    assert last_number(before + around.format(number_text)) == Fraction(value)


@given(st.text())
def test_no_text_breaks_it(text: str) -> None:
    last_number(text)


def test_tolerance() -> None:
    item = Item(id="1", prompt="", answer="3.14")
    assert Number(tolerance=0.01)("3.15", item) == 1
    assert Number(tolerance=0.01)("3.1501", item) == 0
    assert Number()("3.1400", item) == 1

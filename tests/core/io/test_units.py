"""Sizes and times, read and written."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from kingyo.core.io.units import amount_text, count_text, parse_size, percent, size_text, time_text
from kingyo.errors import KingyoError


@pytest.mark.parametrize(
    ("text", "size"),
    [
        ("5GB", 5 * 10**9),
        ("5gb", 5 * 10**9),
        ("2G", 2 * 10**9),
        ("1.5 MB", 1_500_000),
        ("512MiB", 512 << 20),
        ("2GiB", 2 << 30),
        ("10kB", 10_000),
        ("1tb", 10**12),
        ("100", 100),
    ],
)
def test_sizes_are_read(text: str, size: int) -> None:
    assert parse_size(text, "--x") == size


@pytest.mark.parametrize(("text", "remedy"), [("5B", "5GB"), ("100b", "100GB"), ("1.5 B", "1.5GB")])
def test_keys_with_a_different_meaning_in_mergekit(text: str, remedy: str) -> None:
    with pytest.raises(KingyoError, match="mergekit") as error:
        parse_size(text, "--x")
    assert remedy in error.value.remedy


def test_a_percent_sign_follows_its_number_directly() -> None:
    assert [percent(0.9929), percent(1.0)] == ["99.3%", "100.0%"]
    assert [percent(0.26, ".0f"), percent(0.00123, ".2g")] == ["26%", "0.12%"]


@given(st.integers(1, 10**15))
def test_what_is_written_can_be_read(size: int) -> None:
    text = size_text(size)
    again = parse_size(text.replace("bytes", ""), "--x")
    assert abs(again - size) <= 0.006 * size


@pytest.mark.parametrize(
    ("size", "text"),
    [(0, "0 bytes"), (999, "999 bytes"), (1000, "1.00 kB"), (999_600, "1.00 MB"), (123_456_789, "123 MB"),
     (12_345_678, "12.3 MB"), (5e9, "5.00 GB"), (2e13, "20.0 TB")],
)  # fmt: skip
def test_sizes_are_written(size: float, text: str) -> None:
    assert size_text(size) == text


def test_counts_and_times() -> None:
    assert [count_text(n) for n in (7, 1500, 494_032_768, 7.24e9)] == ["7", "1.50 k", "494 M", "7.24 B"]
    times = [time_text(n) for n in (0.3, 45.2, 300, 7300)]
    assert times == ["less than a second", "45 s", "5 min", "2.0 h"]


def test_amounts_of_a_budget_are_written() -> None:
    assert amount_text("candidates", 1) == "1 candidate"
    assert amount_text("item_evaluations", 1_200_000) == "1,200,000 item evaluations"
    assert amount_text("minutes", 1) == "1 minute"
    assert amount_text("minutes", 1.5) == "1.5 minutes"

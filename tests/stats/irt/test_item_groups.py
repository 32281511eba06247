"""Items are divided by what models are good at."""

from __future__ import annotations

from kingyo.stats.irt.item_tasks import group_items


def rows(*digits: str) -> list[dict[str, float]]:
    return [{f"i{n:02}": float(digit) for n, digit in enumerate(row)} for row in digits]


def test_items_are_divided_among_specialists() -> None:
    two = group_items(rows("1110000000" * 2, "0001100000" * 2, "0000000000" * 2))
    assert two == [["i00", "i01", "i02", "i10", "i11", "i12"], ["i03", "i04", "i13", "i14"]]
    three = group_items(rows("11110000100" * 2, "00001100000" * 2, "00000011000" * 2, "10000000000" * 2))
    assert sorted(map(len, three)) == [4, 4, 10]
    better = group_items(rows("1110000000" * 2, "0001110000" * 2, "1111111111" * 2))
    assert sorted(map(len, better)) == [6, 6], "one that is better than both leaves them as they are"
    shared = [{**row, f"own{n}": 1.0} for n, row in enumerate(rows("11110" * 3, "00111" * 3))]
    assert [len(group) for group in group_items(shared)] == [6, 3], "only items that all have count"
    assert group_items(rows("11110", "00111")) == [] and group_items([]) == [], "too few"


def test_other_items_are_divided_by_the_best_models_score() -> None:
    best = [f"i{ten}{one}" for ten in range(2) for one in range(4)]
    assert group_items(rows("1111000000" * 2, "1110000000" * 2)) == [best], (
        "one is right wherever the other is"
    )
    assert group_items(rows("0000100000" * 2, "1111000000" * 2)) == [best], "1 of 10 is less than 15%"
    assert group_items(rows("1111000000" * 2)) == [best]
    assert group_items(rows("1" * 20)) == [] and group_items(rows("0" * 20)) == []
    assert group_items(rows("1" + "0" * 19)) == [], "less than 10%"

"""Parts of model cards."""

from __future__ import annotations

from kingyo.merging.lineage import recipe_section


def test_a_recipe_of_hundreds_of_values_is_only_in_its_file() -> None:
    short, long = (recipe_section("weight: 0.5\n" * n, "Its hash.") for n in (20, 2000))
    assert "weight: 0.5" in short and short.endswith("Its hash.")
    assert "weight" not in long and "of 2,000 lines" in long and long.endswith("Its hash.")

"""Licences: the strictest, those that forbid merging, contradictions; parts of model cards."""

import os
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from kingyo.merging.lineage import (
    Origin,
    base_models,
    check_licences,
    front_licence,
    kind_of,
    models_section,
    read_front_matter,
    recipe_section,
)
from kingyo.merging.vocabulary import Diagnostic


def origins(*licences: str | None) -> list[Origin]:
    return [
        Origin(name=f"m{i}", reference=f"m{i}", place=f"org/m{i}", licence=licence, languages=())
        for i, licence in enumerate(licences)
    ]


def check(*models: Origin, is_allowed: bool = False) -> list[Diagnostic]:
    return list(check_licences([pair for each in models for pair in each.licences], is_allowed=is_allowed))


def levels(*licences: str | None, is_allowed: bool = False) -> list[tuple[str, str]]:
    return [
        (finding.level, finding.received) for finding in check(*origins(*licences), is_allowed=is_allowed)
    ]


@pytest.mark.parametrize(
    ("licence", "kind"),
    [
        ("cc-by-nd-4.0", "no derivatives"),
        ("cc-by-nc-4.0", "non-commercial"),
        ("cc-by-nc-sa-4.0", "non-commercial"),
        ("cc-by-sa-4.0", "share-alike"),
        ("gpl-3.0", "share-alike"),
        ("creativeml-openrail-m", "other"),
        ("Apache-2.0", "other"),
        ("other", None),
        (None, None),
    ],
)
def test_kinds(licence: str | None, kind: str | None) -> None:
    assert kind_of(licence) == kind


def test_licences_that_forbid_merges() -> None:
    assert levels("mit", "cc-by-nd-4.0") == [("error", "cc-by-nd-4.0")]
    assert levels("mit", "cc-by-nd-4.0", is_allowed=True) == [("warning", "cc-by-nd-4.0")]


def test_licences_that_do_not_ask_for_the_same() -> None:
    assert levels("apache-2.0", "apache-2.0", "mit", "cc-by-4.0") == []
    assert levels("cc-by-nc-4.0", "cc-by-nc-4.0") == []
    assert levels("cc-by-nc-4.0", "mit") == [("warning", "cc-by-nc-4.0 of org/m0 and mit of org/m1")]
    assert levels("cc-by-sa-4.0", "mit", "cc-by-sa-4.0") == []
    assert levels("gpl-2.0", "cc-by-sa-4.0") == [("warning", "gpl-2.0 of org/m0 and cc-by-sa-4.0 of org/m1")]


def test_an_unknown_licence() -> None:
    assert levels(None, "my-own", None) == [("note", "my-own"), ("note", "not stated in its card")]
    *_, silent = check(*origins(None, "mit", None))
    assert silent.argument == "the licence of org/m0, org/m2"


def test_a_lora_has_a_licence_of_its_own() -> None:
    (model,) = origins("mit")
    both = Origin(
        name="x", reference="x", place="org/m+org/l", licence="mit", languages=(), lora_licence="cc-by-nd-4.0"
    )
    assert [finding.argument for finding in check(model, both)] == ["the licence of org/l"]
    assert front_licence([both])["license"] == "other"
    assert "| mit; LoRA: cc-by-nd-4.0 |" in models_section([both])


def test_one_that_the_hub_has_no_word_for() -> None:
    named = Origin(name="x", reference="x", place="org/m", licence="other", licence_name="qwen", languages=())
    assert front_licence([named, named]) == {"license": "other", "license_name": "qwen"}
    assert front_licence(origins("other"))["license_name"] == "those-of-the-merged-models"


@given(st.lists(st.one_of(st.none(), st.text(max_size=30)), min_size=1, max_size=4))
def test_any_text_is_accepted(licences: list[str | None]) -> None:
    origins_ = origins(*licences)
    assert all(str(each) for each in check(*origins_))
    lines = models_section(origins_).splitlines()
    assert all(line.count("|") - line.count("\\|") == 5 for line in lines[: len(licences) + 2])


def test_only_what_is_on_the_hub_is_named_to_it() -> None:
    places = ("org/model@main", "org/model+/home/me/lora", "/home/me/model")
    there = [Origin(name="m", reference=each, place=each, licence=None, languages=()) for each in places]
    assert base_models(there) == {"base_model": ["org/model"], "base_model_relation": "merge"}
    assert base_models(there[2:]) == {}


def test_a_card_that_is_a_pipe_is_empty(tmp_path: Path) -> None:
    """To read it would wait for a writer."""
    os.mkfifo(tmp_path / "README.md")
    assert read_front_matter(tmp_path / "README.md") == {}


def test_a_recipe_of_hundreds_of_values_is_only_in_its_file() -> None:
    short, long = (recipe_section("weight: 0.5\n" * n, "Its hash.") for n in (20, 2000))
    assert "weight: 0.5" in short and short.endswith("Its hash.")
    assert "weight" not in long and "of 2,000 lines" in long and long.endswith("Its hash.")

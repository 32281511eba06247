"""Comparison of tokenizers before a merge."""

import json
import shutil
from pathlib import Path

import pytest

from kingyo.errors import KingyoError
from kingyo.merging.vocabulary import Diagnostic, check_tokens, compare
from tests.merging.vocabulary.makers import llama, words


def levels(findings: tuple[Diagnostic, ...]) -> list[str]:
    return [each.level for each in findings]


def folders(*paths: Path) -> dict[str, Path]:
    return {path.name: path for path in paths}


def test_the_same_tokens_also_in_another_format(tmp_path: Path) -> None:
    one = llama(tmp_path / "one", words("a"))
    two = shutil.copytree(one, tmp_path / "two")
    assert compare(folders(one, two)) == ()
    (two / "tokenizer.json").write_text(json.dumps(json.loads((two / "tokenizer.json").read_text())))
    assert compare(folders(one, two)) == ()
    check_tokens(folders(one, two))


def test_without_any_tokenizer(tmp_path: Path) -> None:
    """Image models have no tokenizer."""
    assert levels(compare({"one": tmp_path, "two": tmp_path})) == ["note"]


def test_old_formats_are_compared_as_bytes(tmp_path: Path) -> None:
    one, two = tmp_path / "one", tmp_path / "two"
    for folder in (one, two):
        folder.mkdir()
        (folder / "tokenizer.model").write_bytes(b"pieces")
    assert levels(compare(folders(one, two))) == []
    (two / "tokenizer.model").write_bytes(b"others")
    assert levels(compare(folders(one, two))) == ["warning"]
    assert levels(compare(folders(one, two), is_aligned=True)) == ["error"]


def test_other_ids_are_an_error_unless_the_recipe_unites_vocabularies(tmp_path: Path) -> None:
    """Of equal sizes but different ids, a merge by position would be useless."""
    one = llama(tmp_path / "one", words("a", "b", "c"))
    pair = folders(one, llama(tmp_path / "two", words("b", "a", "c")))
    with pytest.raises(KingyoError) as error:
        check_tokens(pair)
    assert "3 for 'a' as in one" in error.value.expected
    assert error.value.received == "4 in two, and 2 such tokens in all"
    assert "tokenizer_source: union" in error.value.remedy
    assert compare(pair, is_aligned=True) == ()


def test_roles(tmp_path: Path) -> None:
    pair = folders(
        llama(tmp_path / "one", words("a", "<end>")),
        llama(tmp_path / "two", words("a", "<end>"), named={"eos_token": "<end>", "pad_token": "<unk>"}),
    )
    findings = {each.argument: each.level for each in compare(pair)}
    assert findings["eos_token"] == "warning" and findings["pad_token"] == "note"


def test_losing_a_template_is_a_warning_unless_the_recipe_sets_it(tmp_path: Path) -> None:
    one = llama(tmp_path / "one", words("a"))
    two = llama(tmp_path / "two", words("a"), template="B")
    assert levels(compare(folders(one, two))) == ["warning"]
    assert levels(compare(folders(two, one))) == ["note"]
    assert compare(folders(one, two), has_template=True) == ()


def test_errors_come_first(tmp_path: Path) -> None:
    one = llama(tmp_path / "one", words("a", "b"), template="A")
    two = llama(tmp_path / "two", words("b", "a"), template="B")
    three = llama(tmp_path / "three", words("a", "b", "c"))
    assert levels(compare(folders(one, three, two))) == ["error", "warning", "warning", "note"]

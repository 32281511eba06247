"""Comparison of tokenizers before a merge."""

from __future__ import annotations

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


class TestTheSame:
    def test_the_same_files(self, tmp_path: Path) -> None:
        one = llama(tmp_path / "one", words("a"))
        two = llama(tmp_path / "two", words("a"))
        assert compare(folders(one, two)) == ()
        check_tokens(folders(one, two))

    def test_without_any_tokenizer(self, tmp_path: Path) -> None:
        """Image models have no tokenizer."""
        findings = compare({"one": tmp_path, "two": tmp_path})
        assert levels(findings) == ["note"]
        check_tokens({"one": tmp_path, "two": tmp_path})

    def test_old_formats_are_compared_as_bytes(self, tmp_path: Path) -> None:
        one, two = tmp_path / "one", tmp_path / "two"
        for folder in (one, two):
            folder.mkdir()
            (folder / "tokenizer.model").write_bytes(b"pieces")
        assert levels(compare(folders(one, two))) == []
        (two / "tokenizer.model").write_bytes(b"others")
        assert levels(compare(folders(one, two))) == ["warning"]
        findings = compare(folders(one, two), is_aligned=True)
        assert levels(findings) == ["error"]
        assert "writes tokenizer.json" in str(findings[0])

    def test_the_same_tokens_in_another_format(self, tmp_path: Path) -> None:
        one = llama(tmp_path / "one", words("a"))
        two = shutil.copytree(one, tmp_path / "two")
        data = json.loads((two / "tokenizer.json").read_text())
        (two / "tokenizer.json").write_text(json.dumps(data))
        assert compare(folders(one, two)) == ()


class TestOtherIds:
    """Equal sizes but different ids: a merge by position would be useless."""

    @pytest.fixture
    def pair(self, tmp_path: Path) -> dict[str, Path]:
        return folders(
            llama(tmp_path / "one", words("a", "b", "c")), llama(tmp_path / "two", words("b", "a", "c"))
        )

    def test_is_an_error_that_names_the_first_token_and_the_remedy(self, pair: dict[str, Path]) -> None:
        with pytest.raises(KingyoError) as error:
            check_tokens(pair)
        assert str(error.value) == (
            "the vocabularies of one and two: expected one id for each token: 3 for 'a' as in one; received "
            "4 in two, and 2 such tokens in all. Set `tokenizer_source: union` (or base, or a model)."
        )

    def test_is_a_note_if_the_recipe_unites_vocabularies(self, pair: dict[str, Path]) -> None:
        assert levels(compare(pair, is_aligned=True)) == ["note"]


class TestOtherTokens:
    def test_more_tokens(self, tmp_path: Path) -> None:
        pair = folders(llama(tmp_path / "one", words("a")), llama(tmp_path / "two", words("a", "b", "c")))
        (finding,) = compare(pair)
        assert finding.level == "warning"
        assert "'b' only in two, and 2 such tokens in all" in str(finding)
        assert "tokenizer_source: union" in finding.remedy


class TestOtherHabits:
    def test_roles(self, tmp_path: Path) -> None:
        pair = folders(
            llama(tmp_path / "one", words("a", "<end>")),
            llama(tmp_path / "two", words("a", "<end>"), named={"eos_token": "<end>", "pad_token": "<unk>"}),
        )
        findings = {each.argument: each.level for each in compare(pair)}
        assert findings["eos_token"] == "warning"
        assert findings["pad_token"] == "note"

    def test_losing_a_template_is_a_warning_unless_the_recipe_sets_it(self, tmp_path: Path) -> None:
        one = llama(tmp_path / "one", words("a"))
        two = llama(tmp_path / "two", words("a"), template="B")
        (lost,) = [each for each in compare(folders(one, two)) if each.argument == "chat_template"]
        assert lost.level == "warning" and "as in one (none); received another in two" in str(lost)
        (kept,) = [each for each in compare(folders(two, one)) if each.argument == "chat_template"]
        assert kept.level == "note"
        findings = compare(folders(one, two), has_template=True)
        assert not [each for each in findings if each.argument == "chat_template"]

    def test_errors_come_first(self, tmp_path: Path) -> None:
        one = llama(tmp_path / "one", words("a", "b"), template="A")
        two = llama(tmp_path / "two", words("b", "a"), template="B")
        three = llama(tmp_path / "three", words("a", "b", "c"))
        assert levels(compare(folders(one, three, two))) == ["error", "warning", "warning", "note"]

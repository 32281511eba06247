"""Rows in output order: the rule for missing tokens, and its exceptions."""

from __future__ import annotations

from pathlib import Path

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from torch import Tensor

from kingyo.errors import KingyoError
from kingyo.merging.vocabulary import AlignedReads, TokenizerChoice, Vocabulary, build_vocabulary
from kingyo.merging.vocabulary.build import Fill, RowMap
from kingyo.merging.vocabulary.tokenizer_key import ModelToken, TokenEntry, Zero
from tests.merging.vocabulary.makers import EMBEDDING, HEAD, Folders, llama, models_of, weights, words


@pytest.fixture
def one(tmp_path: Path) -> Path:
    return llama(tmp_path / "one", words("a", "b", "c"), seed=1)


@pytest.fixture
def two(tmp_path: Path) -> Path:
    return llama(tmp_path / "two", words("c", "d", "a"), seed=2, added=["<x>"])


@pytest.fixture
def three(tmp_path: Path) -> Path:
    return llama(tmp_path / "three", words("d", "e"), seed=3, added=["<x>"])


def row(folder: Path, token: str, vocabulary: Vocabulary, tensor: str = EMBEDDING) -> Tensor:
    """Return a model's own row of a token."""
    return weights(folder)[tensor][vocabulary.models.stored[folder.name].tokens[token]]


class Aligned:
    """Aligned tensors of models, by token."""

    def __init__(self, vocabulary: Vocabulary, *folders: Path) -> None:
        self.vocabulary = vocabulary
        self.reads = AlignedReads(vocabulary, Folders(*folders).read, (EMBEDDING, HEAD))

    def __call__(self, folder: Path, token: str, tensor: str = EMBEDDING) -> Tensor:
        return self.reads.read(folder.name, tensor)[self.vocabulary.tokens[token]]


@pytest.mark.parametrize("tensor", [EMBEDDING, HEAD])
class TestTheRule:
    def test_a_row_comes_from_the_model_then_the_base_then_the_mean(
        self, one: Path, two: Path, three: Path, tensor: str
    ) -> None:
        vocabulary = build_vocabulary(TokenizerChoice(), models_of(one, two, three, base=0))
        aligned = Aligned(vocabulary, one, two, three)
        assert list(vocabulary.tokens) == ["<unk>", "<s>", "</s>", "a", "b", "c", "d", "<x>", "e"]
        for folder, tokens in ((one, "abc"), (two, ["c", "d", "a", "<x>"]), (three, ["d", "e", "<x>"])):
            for token in tokens:
                assert torch.equal(aligned(folder, token, tensor), row(folder, token, vocabulary, tensor))
        assert torch.equal(aligned(three, "a", tensor), row(one, "a", vocabulary, tensor))  # from the base
        assert torch.equal(
            aligned(two, "e", tensor), row(three, "e", vocabulary, tensor)
        )  # from the only model that has it
        both = (row(two, "d", vocabulary, tensor) + row(three, "d", vocabulary, tensor)) / 2
        torch.testing.assert_close(aligned(one, "d", tensor), both)


class TestWhoseTokens:
    def test_base(self, one: Path, two: Path) -> None:
        vocabulary = build_vocabulary(TokenizerChoice(source="base"), models_of(one, two, base=1))
        assert vocabulary.n_rows == 7
        assert vocabulary.map.is_identity("two")
        assert vocabulary.files["tokenizer.json"] == (two / "tokenizer.json").read_bytes()
        aligned = Aligned(vocabulary, one, two)
        assert torch.equal(aligned(one, "a"), row(one, "a", vocabulary))
        assert torch.equal(aligned(one, "d"), row(two, "d", vocabulary))
        assert vocabulary.describe()[1:] == ["  one: 5 own rows, 2 filled in, 1 removed", "  two: as stored"]

    def test_a_model_that_is_not_merged(self, one: Path, two: Path, three: Path) -> None:
        models = models_of(one, two, base=0, others=[three])
        with pytest.raises(KingyoError, match=r"vocabulary of three: .*'e'.*kind: zero"):
            build_vocabulary(TokenizerChoice(source="three"), models)
        choice = TokenizerChoice(source="three", tokens={"e": TokenEntry(source=Zero())})
        vocabulary = build_vocabulary(choice, models)
        assert list(vocabulary.tokens) == ["<unk>", "<s>", "</s>", "d", "e", "<x>"]
        assert not Aligned(vocabulary, one, two)(one, "e").any()


class TestListedTokens:
    def build(self, tokens: dict[str, TokenEntry], *folders: Path, source: str = "union") -> Vocabulary:
        choice = TokenizerChoice(source=source, tokens=tokens)
        return build_vocabulary(choice, models_of(*folders, base=0))

    def test_a_model_gives_its_row_to_those_that_lack_the_token(
        self, one: Path, two: Path, three: Path
    ) -> None:
        tokens = {"d": TokenEntry(source=ModelToken(model="three"))}
        vocabulary = self.build(tokens, one, two, three)
        aligned = Aligned(vocabulary, one, two, three)
        assert torch.equal(aligned(one, "d"), row(three, "d", vocabulary))
        assert torch.equal(aligned(two, "d"), row(two, "d", vocabulary))

    def test_a_forced_row_goes_to_all(self, one: Path, two: Path, three: Path) -> None:
        tokens = {"d": TokenEntry(source=ModelToken(model="three"), force=True)}
        vocabulary = self.build(tokens, one, two, three)
        aligned = Aligned(vocabulary, one, two, three)
        for folder in (one, two, three):
            assert torch.equal(aligned(folder, "d"), row(three, "d", vocabulary))

    def test_zero(self, one: Path, two: Path) -> None:
        tokens = {"d": TokenEntry(source=Zero()), "a": TokenEntry(source=Zero(), force=True)}
        vocabulary = self.build(tokens, one, two)
        aligned = Aligned(vocabulary, one, two)
        assert not aligned(one, "d").any()
        assert torch.equal(aligned(two, "d"), row(two, "d", vocabulary))
        assert not aligned(one, "a").any()
        assert not aligned(two, "a").any()

    def test_a_different_token_or_id(self, one: Path, two: Path) -> None:
        tokens = {
            "<new>": TokenEntry(source=ModelToken(model="two", token="<x>")),
            "<id>": TokenEntry(source=ModelToken(model="one", token_id=4)),
        }
        vocabulary = self.build(tokens, one, two, source="base")
        assert list(vocabulary.tokens)[-2:] == ["<new>", "<id>"]
        aligned = Aligned(vocabulary, one, two)
        for folder in (one, two):
            assert torch.equal(aligned(folder, "<new>"), row(two, "<x>", vocabulary))
            assert torch.equal(aligned(folder, "<id>"), row(one, "b", vocabulary))

    def test_a_token_of_an_unmerged_model(self, one: Path, two: Path, three: Path) -> None:
        choice = TokenizerChoice(tokens={"<new>": TokenEntry(source=ModelToken(model="three", token="e"))})
        vocabulary = build_vocabulary(choice, models_of(one, two, base=0, others=[three]))
        reads = AlignedReads(vocabulary, Folders(one, two, three).read, (EMBEDDING,))
        result = reads.read("one", EMBEDDING)[vocabulary.tokens["<new>"]]
        assert torch.equal(result, row(three, "e", vocabulary))

    def test_a_token_of_another_model_added_to_the_base(self, one: Path, two: Path) -> None:
        vocabulary = self.build({"<x>": TokenEntry()}, one, two, source="base")
        assert list(vocabulary.tokens)[-1] == "<x>"
        assert torch.equal(Aligned(vocabulary, one, two)(one, "<x>"), row(two, "<x>", vocabulary))

    @pytest.mark.parametrize(
        "entry",
        [
            TokenEntry(),
            TokenEntry(source=ModelToken(model="two")),
            TokenEntry(source=ModelToken(model="two", token="<y>")),
            TokenEntry(source=ModelToken(model="two", token_id=7)),
            TokenEntry(source=ModelToken(model="tow", token="a")),
        ],
    )
    def test_refuses(self, entry: TokenEntry, one: Path, two: Path) -> None:
        with pytest.raises(KingyoError, match="<new>"):
            self.build({"<new>": entry}, one, two)


class TestSizes:
    def test_rows_without_tokens_stay(self, tmp_path: Path) -> None:
        """Qwen's embedding is larger than its vocabulary; equal models stay unchanged."""
        one = llama(tmp_path / "one", words("a"), rows=8, seed=1)
        two = llama(tmp_path / "two", words("a"), rows=8, seed=2)
        for source in ("union", "base", "two"):
            vocabulary = build_vocabulary(TokenizerChoice(source=source), models_of(one, two, base=0))
            assert vocabulary.map.is_identity("one")
            assert vocabulary.map.is_identity("two")
            reader = Folders(one, two)
            aligned = AlignedReads(vocabulary, reader.read, (EMBEDDING,)).read("two", EMBEDDING)
            assert aligned is reader.read("two", EMBEDDING)

    def test_padding_is_the_mean(self, one: Path, two: Path) -> None:
        choice = TokenizerChoice(pad_to_multiple_of=8)
        vocabulary = build_vocabulary(choice, models_of(one, two, base=0))
        assert len(vocabulary.tokens) == vocabulary.n_rows == 8
        choice = TokenizerChoice(pad_to_multiple_of=5)
        vocabulary = build_vocabulary(choice, models_of(one, two, base=0))
        assert vocabulary.n_rows == 10
        for name in ("one", "two"):
            aligned = AlignedReads(vocabulary, Folders(one, two).read, (EMBEDDING,)).read(name, EMBEDDING)
            torch.testing.assert_close(aligned[8], aligned[:8].mean(0))
            torch.testing.assert_close(aligned[9], aligned[:8].mean(0))


class TestReads:
    def test_aligned_tensors_are_cached_up_to_a_size(self, one: Path, two: Path) -> None:
        vocabulary = build_vocabulary(TokenizerChoice(), models_of(one, two, base=0))
        reads = AlignedReads(vocabulary, Folders(one, two).read, (EMBEDDING, HEAD), keep_bytes=8 * 16 * 4)
        assert reads.read("one", EMBEDDING) is reads.read("one", EMBEDDING)
        assert reads.read("one", HEAD) is not reads.read("one", HEAD)


def index(*rows: int) -> Tensor:
    return torch.tensor(rows, dtype=torch.int64)


class TestRowMap:
    def test_dtypes_are_preserved_and_means_rounded_once(self) -> None:
        values = torch.tensor([[1.0], [1 + 2**-7], [3.0]], dtype=torch.bfloat16)
        mapped = RowMap(
            n_rows=2,
            own={"a": index(0, -1)},
            sizes={"a": 1, "b": 3, "c": 3},
            fills=(Fill(rows=index(1), sources=(("b", index(0)), ("c", index(1)))),),
        )
        result = mapped.remap("a", "t", values[:1], lambda _: values)
        assert result.dtype == torch.bfloat16
        assert result[1] == torch.tensor(1 + 2**-8).to(torch.bfloat16)

    def test_other_sizes_are_errors(self) -> None:
        fill = Fill(rows=index(1), sources=(("b", index(0)),))
        mapped = RowMap(n_rows=2, own={"a": index(0, -1)}, sizes={"a": 1, "b": 1}, fills=(fill,))
        with pytest.raises(KingyoError, match=r"t: expected rows of one shape: \[2\]; received \[3\] in b"):
            mapped.remap("a", "t", torch.ones(1, 2), lambda _: torch.ones(1, 3))

    def test_heads_with_fewer_rows_than_the_vocabulary_are_errors(self) -> None:
        fill = Fill(rows=index(1), sources=(("b", index(2)),))
        mapped = RowMap(n_rows=2, own={"a": index(0, -1)}, sizes={"a": 3, "b": 3}, fills=(fill,))
        for own, other in ((2, 3), (3, 2)):
            with pytest.raises(KingyoError, match=r"t: expected 3 rows.*received the shape \[2, 4\]"):
                mapped.remap("a", "t", torch.ones(own, 4), lambda _, n=other: torch.ones(n, 4))

    @given(st.data())
    def test_every_row_is_at_its_new_index(self, data: st.DataObject) -> None:
        n_rows = data.draw(st.integers(1, 12))
        size = data.draw(st.integers(1, 12))
        own = [data.draw(st.integers(-1, size - 1)) for _ in range(n_rows)]
        lost = [i for i, each in enumerate(own) if each < 0]
        indices = [data.draw(st.integers(0, 4)) for _ in lost]
        fills = (Fill(rows=index(*lost), sources=(("b", index(*indices)),)),)
        mapped = RowMap(n_rows=n_rows, own={"a": index(*own)}, sizes={"a": size, "b": 5}, fills=fills)
        rows, other = torch.arange(size).float(), 100 + torch.arange(5).float()
        expected = [
            float(other[indices[lost.index(i)]] if i in lost else rows[own[i]]) for i in range(n_rows)
        ]
        assert mapped.remap("a", "t", rows, lambda _: other).tolist() == expected

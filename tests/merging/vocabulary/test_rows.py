"""Rows in output order: the rule for missing tokens, and its exceptions."""

from pathlib import Path

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from torch import Tensor

from kingyo.errors import KingyoError
from kingyo.merging.vocabulary import AlignedReads, TokenizerChoice, build_vocabulary
from kingyo.merging.vocabulary.build import Fill, RowMap
from kingyo.merging.vocabulary.tokenizer_key import ModelToken, TokenEntry, Zero
from tests.merging.vocabulary.makers import EMBEDDING, HEAD, Folders, llama, models_of, weights, words


@pytest.fixture(scope="module")
def folders(tmp_path_factory: pytest.TempPathFactory) -> dict[str, Path]:
    """Three models that share some tokens, in different orders."""
    root = tmp_path_factory.mktemp("models")
    written = (
        llama(root / "one", words("a", "b", "c"), seed=1),
        llama(root / "two", words("c", "d", "a"), seed=2, added=["<x>"]),
        llama(root / "three", words("d", "e"), seed=3, added=["<x>"]),
    )
    return {folder.name: folder for folder in written}


class Built:
    """The vocabulary of a choice, and rows of the aligned and of the stored tensors by token."""

    def __init__(
        self, choice: TokenizerChoice, folders: dict[str, Path], base: int = 0, others: tuple[str, ...] = ()
    ) -> None:
        merged = [folder for name, folder in folders.items() if name not in others]
        models = models_of(*merged, base=base, others=[folders[name] for name in others])
        self.folders = folders
        self.vocabulary = build_vocabulary(choice, models)
        self.reads = AlignedReads(self.vocabulary, Folders(*folders.values()).read, (EMBEDDING, HEAD))

    def aligned(self, model: str, token: str, tensor: str = EMBEDDING) -> Tensor:
        return self.reads.read(model, tensor)[self.vocabulary.tokens[token]]

    def stored(self, model: str, token: str, tensor: str = EMBEDDING) -> Tensor:
        return weights(self.folders[model])[tensor][self.vocabulary.models.stored[model].tokens[token]]

    def check(self, rows: dict[str, str | None], tensor: str = EMBEDDING) -> None:
        """Compare aligned rows ``model token`` with stored rows; None is zero."""
        for place, origin in rows.items():
            aligned = self.aligned(*place.split(), tensor)
            expected = torch.zeros(16) if origin is None else self.stored(*origin.split(), tensor)
            assert torch.equal(aligned, expected), place


@pytest.mark.parametrize("tensor", [EMBEDDING, HEAD])
def test_a_row_comes_from_the_model_then_the_base_then_the_mean(
    folders: dict[str, Path], tensor: str
) -> None:
    built = Built(TokenizerChoice(), folders)
    assert list(built.vocabulary.tokens) == ["<unk>", "<s>", "</s>", "a", "b", "c", "d", "<x>", "e"]
    own = ("one a", "one b", "one c", "two c", "two d", "two a", "two <x>", "three d", "three e", "three <x>")
    built.check({each: each for each in own}, tensor)
    built.check({"three a": "one a", "two e": "three e"}, tensor)  # from the base, from the only one
    both = (built.stored("two", "d", tensor) + built.stored("three", "d", tensor)) / 2
    torch.testing.assert_close(built.aligned("one", "d", tensor), both)


def test_tokens_of_the_base(folders: dict[str, Path]) -> None:
    built = Built(TokenizerChoice(source="base"), {name: folders[name] for name in ("one", "two")}, base=1)
    vocabulary = built.vocabulary
    assert vocabulary.n_rows == 7
    assert vocabulary.map.is_identity("two")
    assert vocabulary.files["tokenizer.json"] == (folders["two"] / "tokenizer.json").read_bytes()
    built.check({"one a": "one a", "one d": "two d"})
    assert vocabulary.describe()[1:] == ["  one: 5 own rows, 2 filled in, 1 removed", "  two: as stored"]


def test_tokens_of_a_model_that_is_not_merged(folders: dict[str, Path]) -> None:
    with pytest.raises(KingyoError, match=r"vocabulary of three: .*'e'.*kind: zero"):
        Built(TokenizerChoice(source="three"), folders, others=("three",))
    choice = TokenizerChoice(source="three", tokens={"e": TokenEntry(source=Zero())})
    built = Built(choice, folders, others=("three",))
    assert list(built.vocabulary.tokens) == ["<unk>", "<s>", "</s>", "d", "e", "<x>"]
    built.check({"one e": None})


def token(model: str, token: str | None = None, *, token_id: int | None = None) -> TokenEntry:
    return TokenEntry(source=ModelToken(model=model, token=token, token_id=token_id))


FORCED = TokenEntry(source=ModelToken(model="three"), force=True)
LISTED: dict[str, tuple[str, dict[str, TokenEntry], dict[str, str | None]]] = {
    "a row for those that lack the token": (
        "union",
        {"d": token("three")},
        {"one d": "three d", "two d": "two d"},
    ),
    "a forced row": ("union", {"d": FORCED}, {"one d": "three d", "two d": "three d", "three d": "three d"}),
    "zero": (
        "union",
        {"e": TokenEntry(source=Zero()), "a": TokenEntry(source=Zero(), force=True)},
        {"one e": None, "three e": "three e", "one a": None, "two a": None},
    ),
    "a different token or id": (
        "base",
        {"<new>": token("two", "<x>"), "<id>": token("one", token_id=4)},
        {"one <new>": "two <x>", "two <new>": "two <x>", "one <id>": "one b", "two <id>": "one b"},
    ),
    "a token of another model": ("base", {"<x>": TokenEntry()}, {"two <x>": "two <x>"}),
}


@pytest.mark.parametrize("case", LISTED)
def test_listed_tokens(folders: dict[str, Path], case: str) -> None:
    source, tokens, rows = LISTED[case]
    Built(TokenizerChoice(source=source, tokens=tokens), folders).check(rows)


@pytest.mark.parametrize(
    "entry",
    [TokenEntry(), token("two"), token("two", "<y>"), token("two", token_id=7), token("tow", "a")],
)
def test_sources_of_tokens_that_do_not_exist(folders: dict[str, Path], entry: TokenEntry) -> None:
    with pytest.raises(KingyoError, match="<new>"):
        Built(TokenizerChoice(tokens={"<new>": entry}), folders)


def test_rows_without_tokens_stay(tmp_path: Path) -> None:
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


def test_padding_is_the_mean(folders: dict[str, Path]) -> None:
    for multiple, n_rows in ((9, 9), (5, 10)):
        built = Built(TokenizerChoice(pad_to_multiple_of=multiple), folders)
        assert (len(built.vocabulary.tokens), built.vocabulary.n_rows) == (9, n_rows)
    for name in folders:
        aligned = built.reads.read(name, EMBEDDING)
        torch.testing.assert_close(aligned[9], aligned[:9].mean(0))


def test_aligned_tensors_are_cached_up_to_a_size(folders: dict[str, Path]) -> None:
    vocabulary = Built(TokenizerChoice(), folders).vocabulary
    reads = AlignedReads(
        vocabulary, Folders(*folders.values()).read, (EMBEDDING, HEAD), keep_bytes=9 * 16 * 4
    )
    assert reads.read("one", EMBEDDING) is reads.read("one", EMBEDDING)
    assert reads.read("one", HEAD) is not reads.read("one", HEAD)


def index(*rows: int) -> Tensor:
    return torch.tensor(rows, dtype=torch.int64)


class TestRowMap:
    @pytest.mark.parametrize("dtype", [torch.bfloat16, torch.float8_e4m3fn])
    def test_dtypes_are_preserved_and_means_rounded_once(self, dtype: torch.dtype) -> None:
        step = torch.finfo(dtype).eps
        values = torch.tensor([[1 + step], [1 + 2 * step], [3.0]]).to(dtype)
        fill = Fill(rows=index(1), sources=(("b", index(0)), ("c", index(1))))
        sizes = {"a": 1, "b": 3, "c": 3}
        mapped = RowMap(n_rows=2, own={"a": index(0, -1)}, sizes=sizes, fills=(fill,))
        result = mapped.remap("a", "t", values[:1], lambda _: values)
        assert result.dtype == dtype
        assert result[1].float() == torch.tensor(1 + 1.5 * step).to(dtype).float()

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

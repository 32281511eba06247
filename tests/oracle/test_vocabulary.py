"""Compare embeddings and heads of linear merges with mergekit, token by token.

mergekit orders the tokens of a union at random, so rows are compared by their tokens. Where the two differ on
purpose, a test says so.
"""

from pathlib import Path

import pytest
import torch
from torch import Tensor

from kingyo.merging.vocabulary import AlignedReads, TokenizerChoice, Vocabulary, build_vocabulary
from kingyo.merging.vocabulary.tokenizer_key import parse_tokenizer
from tests.merging.vocabulary.makers import (
    EMBEDDING,
    HEAD,
    Folders,
    deutsch,
    fish,
    large,
    llama,
    load_tokenizer,
    models_of,
    small,
    words,
)
from tests.oracle.peer import Peer, read_tensors

pytestmark = pytest.mark.oracle
SHARES = {"one": 1.0, "two": 2.0, "three": 4.0}


@pytest.fixture(scope="module")
def model_folders(tmp_path_factory: pytest.TempPathFactory) -> list[Path]:
    """Models that share some tokens, in different orders."""
    folder = tmp_path_factory.mktemp("models")
    return [
        llama(folder / "one", words("a", "b", "c", "d"), seed=1),
        llama(folder / "two", words("a", "b", "c", "d", "e"), seed=2, added=["<|im_start|>", "<|im_end|>"]),
        llama(folder / "three", words("d", "c", "e", "f", "a"), seed=3, added=["<|x|>"]),
    ]


def merge_with_mergekit(peer: Peer, folders: list[Path], tokenizer: object, key: str = "tokenizer") -> Path:
    """Return mergekit's output for the linear merge."""
    entries = [{"model": str(each), "parameters": {"weight": SHARES[each.name]}} for each in folders]
    return peer.folder(
        {
            "merge_method": "linear",
            "base_model": str(folders[0]),
            "models": entries,
            "dtype": "float32",
            key: tokenizer,
        }
    )


def merge_with_kingyo(folders: list[Path], choice: TokenizerChoice) -> tuple[Vocabulary, dict[str, Tensor]]:
    """Return the same merge, computed by kingyo."""
    vocabulary = build_vocabulary(choice, models_of(*folders, base=0))
    reads = AlignedReads(vocabulary, Folders(*folders).read, (EMBEDDING, HEAD))
    total = sum(SHARES[each.name] for each in folders)
    merged = {
        tensor: sum(SHARES[each.name] / total * reads.read(each.name, tensor).double() for each in folders)
        for tensor in (EMBEDDING, HEAD)
    }
    return vocabulary, merged


def check_parity(out: Path, vocabulary: Vocabulary, merged: dict[str, Tensor]) -> None:
    """Check that both outputs have the same tokens with the same rows."""
    vocab = load_tokenizer(out).get_vocab()
    assert vocab.keys() == vocabulary.tokens.keys()
    tensors = read_tensors(out)
    ids, other_ids = (
        torch.tensor([tokens[token] for token in vocab]) for tokens in (vocabulary.tokens, vocab)
    )
    for tensor in (EMBEDDING, HEAD):
        torch.testing.assert_close(
            merged[tensor][ids], tensors[tensor][other_ids].double(), atol=1e-6, rtol=0, msg=tensor
        )


LISTED = {
    "a model": {"<|im_start|>": {"source": "three:<|x|>"}, "e": {"source": "three"}},
    "a model, forced": {"a": {"source": "two", "force": True}, "d": {"source": "three", "force": True}},
    "zero": {"<|im_start|>": {"source": {"kind": "zero"}}},
    "zero, forced": {"b": {"source": {"kind": "zero"}, "force": True}},
    "another token": {"c": {"source": "two:b", "force": True}, "f": {"source": "two:<|im_end|>"}},
    "new tokens": {"<new>": {"source": "two:a"}, "<empty>": {"source": {"kind": "zero"}}},
    "an id": {"<new>": {"source": "three:#4"}},
}
"""Token entries; ``model:token`` and ``model:#id`` abbreviate model_token."""


def expand_entries(entries: dict[str, dict[str, object]], folder: Path | None) -> dict[str, object]:
    """Expand entries, with names of models for kingyo and folders for mergekit."""

    def source(value: object) -> object:
        if not isinstance(value, str):
            return value
        model, _, token = value.partition(":")
        reference = model if folder is None else str(folder / model)
        if not token:
            return reference
        chosen = {"token_id": int(token[1:])} if token.startswith("#") else {"token": token}
        return {"kind": "model_token", "model": reference, **chosen}

    return {token: {**entry, "source": source(entry["source"])} for token, entry in entries.items()}


@pytest.mark.parametrize("case", LISTED)
def test_listed_tokens(case: str, peer: Peer, model_folders: list[Path]) -> None:
    entries = LISTED[case]
    folder = model_folders[0].parent
    out = merge_with_mergekit(
        peer, model_folders, {"source": "union", "tokens": expand_entries(entries, folder)}
    )
    choice = parse_tokenizer({"source": "union", "tokens": expand_entries(entries, None)})
    check_parity(out, *merge_with_kingyo(model_folders, choice))


@pytest.mark.parametrize("multiple", [8, 16])
def test_padding(multiple: int, peer: Peer, model_folders: list[Path]) -> None:
    block = {"source": "union", "pad_to_multiple_of": multiple}
    out = merge_with_mergekit(peer, model_folders, block)
    vocabulary, merged = merge_with_kingyo(model_folders, parse_tokenizer(block))
    check_parity(out, vocabulary, merged)
    tensors = read_tensors(out)
    assert tensors[EMBEDDING].shape[0] == vocabulary.n_rows == 16
    n_tokens = len(vocabulary.tokens)
    for tensor in (EMBEDDING, HEAD):
        torch.testing.assert_close(
            merged[tensor][n_tokens:], tensors[tensor][n_tokens:].double(), atol=1e-6, rtol=0
        )


@pytest.mark.parametrize("kind", ["byte_bpe", "metaspace_bpe", "unigram", "word_piece"])
@pytest.mark.parametrize("pair", [(small, large), (fish, deutsch)], ids=["extension", "others"])
def test_kinds(kind: str, pair: tuple[object, object], peer: Peer, tmp_path: Path) -> None:
    """Tokens and rows agree; the splitting of text does not, see below."""
    one, two = (make(kind) for make in pair)  # type: ignore[operator]
    folders = [
        llama(tmp_path / "one", one, seed=1),
        llama(tmp_path / "two", two, seed=2, added=["<|im_start|>"]),
    ]
    out = merge_with_mergekit(peer, folders, "union", "tokenizer_source")
    check_parity(out, *merge_with_kingyo(folders, TokenizerChoice()))

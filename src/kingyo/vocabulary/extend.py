"""A tokenizer with more tokens: its ``tokenizer.json``, changed no further than the new tokens need.

The tokenizer keeps its own way of cutting text: merges of other tokenizers come after all of its own, so a
text is cut as before, and then pieces are joined that another tokenizer knows as one. It touches no file.
"""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import cast

from tokenizers import Tokenizer

from kingyo.errors import KingyoError
from kingyo.vocabulary.stored import StoredTokenizer

Merge = tuple[str, str]


@dataclass(frozen=True, kw_only=True)
class Addition:
    """A token to add.

    Attributes:
        token: its text, as pieces are written in the vocabulary.
        row: its id.
        flags: of a token that is found in text before it is cut; None for a piece.
        score: log-probability of a piece, where the kind has them.
    """

    token: str
    row: int
    flags: Mapping[str, bool] | None = None
    score: float | None = None


def extend(
    stored: StoredTokenizer, keep: Mapping[str, int], additions: Sequence[Addition], merges: Sequence[Merge]
) -> dict[str, object]:
    """Return the ``tokenizer.json`` with some tokens left out and others added.

    Args:
        stored: the tokenizer to begin with.
        keep: its tokens that stay, with their ids.
        additions: new tokens; one that is in ``keep`` is promoted to a token found in text before it is cut.
        merges: of BPE, in order of rank, after those that it has; both parts and their union must be tokens.

    Raises:
        KingyoError: the tokenizers library does not read the result as meant.
    """
    tokens = {**keep, **{each.token: each.row for each in additions}}
    added = {token: flags for token, flags in stored.added.items() if token in keep}
    added.update({each.token: each.flags for each in additions if each.flags is not None})
    model = dict(stored.model)
    if stored.kind == "Unigram":
        scores = {each.token: each.score for each in additions if each.score is not None}
        model["vocab"], tokens = _scored(stored, tokens, scores)
    else:
        model["vocab"] = dict(sorted(tokens.items(), key=lambda pair: pair[1]))
    if stored.kind == "BPE":
        model["merges"] = [list(pair) for pair in _all_merges(stored, tokens, merges)]
    model.setdefault("type", stored.kind)
    entries = [{"id": tokens[token], "content": token, **flags} for token, flags in added.items()]
    data = {
        **stored.data,
        "added_tokens": sorted(entries, key=lambda entry: cast("int", entry["id"])),
        "model": model,
    }
    _check(data, tokens, stored)
    return data


def merges_of(stored: StoredTokenizer) -> Iterator[Merge]:
    """The merges of a BPE tokenizer by rank; older files write a pair as one text."""
    listed = stored.model.get("merges")
    for pair in cast("list[str | list[str]]", listed or []):
        left, right = pair.split(" ", 1) if isinstance(pair, str) else pair
        yield left, right


def scores_of(stored: StoredTokenizer) -> dict[str, float]:
    """The log-probabilities of a Unigram tokenizer's pieces; empty for other kinds."""
    vocab = stored.model.get("vocab")
    return (
        {piece: float(score) for piece, score in cast("list[tuple[str, float]]", vocab)}
        if (isinstance(vocab, list))
        else {}
    )


def _all_merges(stored: StoredTokenizer, tokens: Mapping[str, int], more: Sequence[Merge]) -> Iterator[Merge]:
    seen: set[Merge] = set()
    for pair in (*merges_of(stored), *more):
        if pair not in seen and all(part in tokens for part in (*pair, "".join(pair))):
            seen.add(pair)
            yield pair


def _scored(
    stored: StoredTokenizer, tokens: Mapping[str, int], new: Mapping[str, float]
) -> tuple[list[list[object]], dict[str, int]]:
    """The list of (piece, score) by id, and all tokens: a list has no holes, so these get a piece, too.

    Tokens that are found before the text is cut have no score of their own: the lowest will do.
    """
    known = {**scores_of(stored), **new}
    lowest = min(known.values(), default=0.0)
    by_id = {row: token for token, row in tokens.items()}
    size = max(by_id, default=-1) + 1
    whole = {by_id.get(row, f"<unused-{row}>"): row for row in range(size)}
    return [[token, known.get(token, lowest)] for token in whole], whole


def _check(data: Mapping[str, object], tokens: Mapping[str, int], stored: StoredTokenizer) -> None:
    """Let the library that will read it count: every token must have the id that its row has."""
    try:
        found = Tokenizer.from_str(json.dumps(data, ensure_ascii=False)).get_vocab(with_added_tokens=True)
    except Exception as error:
        raise _refused(stored, str(error)) from error
    if found != tokens:
        wrong = min((t for t in tokens.keys() | found.keys() if tokens.get(t) != found.get(t)), key=repr)
        raise _refused(stored, f"{wrong!r} with the id {found.get(wrong)} in place of {tokens.get(wrong)}")


def _refused(stored: StoredTokenizer, received: str) -> KingyoError:
    return KingyoError(
        f"the tokenizer of {stored.reference} with more tokens",
        expected="one that the tokenizers library reads",
        received=received,
        remedy="Take `tokenizer_source: base`, or mend that tokenizer: load and save it with transformers.",
    )

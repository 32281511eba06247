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
    entries = [{"id": tokens[token], "content": token, **flags} for token, flags in added.items()]
    rest = {**stored.data, "added_tokens": sorted(entries, key=lambda entry: cast("int", entry["id"]))}
    own = stored.pieces
    pieces = {token: row for token, row in tokens.items() if token not in added or token in own}
    scores = {**scores_of(stored), **{e.token: e.score for e in additions if e.score is not None}}
    more = {"merges": [*_all_merges(stored, tokens, merges)]} if stored.kind == "BPE" else {}
    problem = ""
    for chosen in (pieces, tokens):
        model, wanted = _model(stored, chosen, tokens, scores)
        data: dict[str, object] = {**rest, "model": {**model, **more}}
        problem = _find_problem(data, wanted)
        if not problem:
            return data
    raise KingyoError(
        f"the tokenizer of {stored.reference} with more tokens",
        expected="one that the tokenizers library reads",
        received=problem,
        remedy="Take `tokenizer_source: base`, or fix that tokenizer: load and save it with transformers.",
    )


def _model(
    stored: StoredTokenizer, pieces: Mapping[str, int], tokens: Mapping[str, int], scores: Mapping[str, float]
) -> tuple[dict[str, object], Mapping[str, int]]:
    """The model with these pieces, and all tokens that the tokenizer then has.

    The library numbers the tokens that are found in text after all pieces, whatever their entries say. So
    where pieces come after such tokens, those must be pieces as well: then their ids hold. A list of scored
    pieces has no holes: ids without a token get a piece, too.
    """
    model = {**stored.model, "type": stored.kind}
    if stored.kind != "Unigram":
        model["vocab"] = dict(sorted(pieces.items(), key=lambda pair: pair[1]))
        return model, tokens
    lowest = min(scores.values(), default=0.0)
    by_id = {row: token for token, row in pieces.items()}
    whole = {by_id.get(row, f"<unused-{row}>"): row for row in range(max(by_id, default=-1) + 1)}
    model["vocab"] = [[token, scores.get(token, lowest)] for token in whole]
    return model, {**whole, **tokens}


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


def _find_problem(data: Mapping[str, object], tokens: Mapping[str, int]) -> str:
    """Let the library that will read it count: empty when every token has the id that its row has."""
    try:
        found = Tokenizer.from_str(json.dumps(data, ensure_ascii=False)).get_vocab(with_added_tokens=True)
    except Exception as error:  # noqa: BLE001 - the library raises bare Exception
        return str(error)
    if found == tokens:
        return ""
    wrong = min((t for t in tokens.keys() | found.keys() if tokens.get(t) != found.get(t)), key=repr)
    return f"{wrong!r} with the id {found.get(wrong)} in place of {tokens.get(wrong)}"

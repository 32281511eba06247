"""Write tokenizer files: of a folder, with more tokens, or with another chat template.

Merges from other tokenizers come after the tokenizer's own. So it splits text as before, and then joins
pieces that form a token of another tokenizer.
"""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import cast

from tokenizers import Tokenizer

from kingyo.errors import KingyoError
from kingyo.vocabulary.templates import TEMPLATE_FILE
from kingyo.vocabulary.tokenizer_json import TOKENIZER_FILES, StoredTokenizer

_CONFIG = "tokenizer_config.json"
Merge = tuple[str, str]


@dataclass(frozen=True, kw_only=True)
class Addition:
    """A token to add. An added token, which is matched before text is split, has flags, a piece has None.

    ``score`` is the log-probability of a piece (Unigram).
    """

    token: str
    row: int
    flags: Mapping[str, bool] | None = None
    score: float | None = None


def extend(
    stored: StoredTokenizer, keep: Mapping[str, int], additions: Sequence[Addition], merges: Sequence[Merge]
) -> dict[str, object]:
    """Return a ``tokenizer.json`` with tokens removed and added.

    Args:
        stored: the tokenizer to change.
        keep: its tokens to keep, with their ids.
        additions: new tokens; one that is in ``keep`` becomes an added token, matched before text is split.
        merges: further BPE merges by rank; both parts and their union must be tokens.

    Raises:
        KingyoError: the tokenizers library cannot read the result, or reads other ids.
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
    expected = "a tokenizer that the tokenizers library can read"
    remedy = "Set `tokenizer_source: base`, or repair this tokenizer: load and save it with transformers."
    raise KingyoError(f"the tokenizer of {stored.reference} with more tokens", expected, problem, remedy)


def _model(
    stored: StoredTokenizer, pieces: Mapping[str, int], tokens: Mapping[str, int], scores: Mapping[str, float]
) -> tuple[dict[str, object], Mapping[str, int]]:
    """Return the model with these pieces, and all tokens of the resulting tokenizer.

    The library gives added tokens ids after all pieces and ignores the ids in their entries. An added token
    with a smaller id must therefore also be a piece. A list of scored pieces cannot have gaps: ids without a
    token get an unused piece.
    """
    model = {**stored.model, "type": stored.kind}
    if stored.kind != "Unigram":
        model["vocab"] = dict(sorted(pieces.items(), key=lambda pair: pair[1]))
        return model, tokens
    lowest = min(scores.values(), default=0.0)
    by_id = {row: token for token, row in pieces.items()}
    vocab = {by_id.get(row, f"<unused-{row}>"): row for row in range(max(by_id, default=-1) + 1)}
    model["vocab"] = [[token, scores.get(token, lowest)] for token in vocab]
    return model, {**vocab, **tokens}


def merges_of(stored: StoredTokenizer) -> Iterator[Merge]:
    """Yield the merges of a BPE tokenizer by rank; older files write a pair as one text."""
    listed = stored.model.get("merges")
    for pair in cast("list[str | list[str]]", listed or []):
        left, right = pair.split(" ", 1) if isinstance(pair, str) else pair
        yield left, right


def scores_of(stored: StoredTokenizer) -> dict[str, float]:
    """Return the log-probabilities of a Unigram tokenizer's pieces; empty for other kinds."""
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
    """Load a tokenizer.json with the library; return the first problem with its ids, or an empty text."""
    try:
        ids = Tokenizer.from_str(json.dumps(data, ensure_ascii=False)).get_vocab(with_added_tokens=True)
    except Exception as error:  # noqa: BLE001 - the library raises bare Exception
        return str(error)
    if ids == tokens:
        return ""
    wrong = min((t for t in tokens.keys() | ids.keys() if tokens.get(t) != ids.get(t)), key=repr)
    return f"{wrong!r} with the id {ids.get(wrong)} in place of {tokens.get(wrong)}"


def stored_files(folder: Path) -> dict[str, bytes]:
    files = sorted({file for pattern in TOKENIZER_FILES for file in folder.glob(pattern) if file.is_file()})
    return {file.name: file.read_bytes() for file in files}


def changed_files(start: StoredTokenizer, data: Mapping[str, object]) -> dict[str, bytes]:
    """Return the files of a tokenizer with another ``tokenizer.json``.

    Files in older formats (tokenizer.model, vocab.json, merges.txt) are left out, since they would contradict
    it.
    """
    kept = stored_files(start.folder)
    files = {
        name: kept[name]
        for name in ("special_tokens_map.json", TEMPLATE_FILE, "chat_template.json")
        if name in kept
    }
    config = dict(start.config)
    if "added_tokens_decoder" in config:
        added = cast("list[dict[str, object]]", data["added_tokens"])
        config["added_tokens_decoder"] = {
            str(entry["id"]): {key: value for key, value in entry.items() if key != "id"} for entry in added
        }
    config.setdefault("tokenizer_class", "PreTrainedTokenizerFast")
    return {**files, "tokenizer.json": _dump(data), _CONFIG: _dump(config)}


def with_template(files: Mapping[str, bytes], template: str | None) -> dict[str, bytes]:
    """Return tokenizer files with another chat template, in a separate file as in transformers 5."""
    kept = {name: content for name, content in files.items() if not name.startswith("chat_template.")}
    if _CONFIG in kept:
        config = cast("dict[str, object]", json.loads(kept[_CONFIG]))
        if config.pop("chat_template", None) is not None:
            kept[_CONFIG] = _dump(config)
    return kept if template is None else {**kept, TEMPLATE_FILE: template.encode()}


def _dump(data: Mapping[str, object]) -> bytes:
    return (json.dumps(data, indent=2, ensure_ascii=False) + "\n").encode()

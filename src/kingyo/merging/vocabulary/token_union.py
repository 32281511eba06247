"""Unite the tokens of the models of a merge, and write tokenizer files, also with another chat template.

Tokens of the tokenizer that is extended keep their ids. Merges from other tokenizers come after its own. So
it splits text as before, and then joins pieces that form a token of another tokenizer.
"""

import json
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from functools import cached_property
from pathlib import Path
from typing import cast

from tokenizers import Tokenizer

from kingyo.core.io.units import counted
from kingyo.errors import KingyoError, suggest
from kingyo.merging.vocabulary.tokenizer_json import (
    TEMPLATE_FILE,
    TOKENIZER_FILES,
    StoredTokenizer,
    read_tokenizer,
)
from kingyo.merging.vocabulary.tokenizer_key import BASE, UNION, ModelToken, TokenizerChoice

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
    """Return a ``tokenizer.json`` with the tokens ``keep`` and ``additions``, and further BPE merges by rank.

    An addition that is in ``keep`` becomes an added token, matched before text is split.
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
    scored = cast("list[tuple[str, float]]", vocab if isinstance(vocab, list) else [])
    return {piece: float(score) for piece, score in scored}


def _all_merges(stored: StoredTokenizer, tokens: Mapping[str, int], more: Sequence[Merge]) -> Iterator[Merge]:
    seen: set[Merge] = set()
    for pair in (*merges_of(stored), *more):
        if pair not in seen and all(part in tokens for part in (*pair, "".join(pair))):
            seen.add(pair)
            yield pair


def _find_problem(data: Mapping[str, object], tokens: Mapping[str, int]) -> str:
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

    Older formats (tokenizer.model, vocab.json, merges.txt) are left out, since they would contradict it.
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


_SPECIAL = {"single_word": False, "lstrip": False, "rstrip": False, "normalized": False, "special": True}
"""Flags of a token that no model has: matched exactly, and left out of decoded text."""


@dataclass(frozen=True, kw_only=True)
class TokenModels:
    """The models of a merge: folders of merged ones and the base, in the recipe's order, and ``others``.

    ``others`` are named only in the tokenizer's choice; ``rows`` are those of each embedding, also of theirs.
    """

    folders: Mapping[str, Path]
    rows: Mapping[str, int]
    base: str | None = None
    others: Mapping[str, Path] = field(default_factory=dict[str, Path])

    @property
    def first(self) -> str:
        """The base, else the first model: the meaning of ``base``, and the start of a union."""
        return next(iter(self.folders)) if self.base is None else self.base

    @cached_property
    def stored(self) -> Mapping[str, StoredTokenizer]:
        folders = {**self.others, **self.folders}
        return {reference: read_tokenizer(reference, folder) for reference, folder in folders.items()}

    def tokenizer(self, reference: str, where: str) -> StoredTokenizer:
        if reference not in self.stored:
            known = suggest(reference, self.stored)
            raise KingyoError(where, "a model of the recipe", f"'{reference}'", known)
        return self.stored[reference]

    def row(self, reference: str, token: str) -> int | None:
        row = self.stored[reference].tokens.get(token)
        return None if row is None or row >= self.rows[reference] else row

    def holders(self, token: str) -> list[tuple[str, int]]:
        """Return the merged models that have a row for a token, in order, with these rows."""
        rows = ((reference, self.row(reference, token)) for reference in self.folders)
        return [(reference, row) for reference, row in rows if row is not None]


@dataclass(frozen=True, kw_only=True)
class Gathered:
    """The tokens of the output: those of ``start`` to keep, and ``additions`` with ids after them.

    ``merges`` are the BPE merges that form the additions.
    """

    start: StoredTokenizer
    keep: Mapping[str, int]
    additions: tuple[Addition, ...]
    merges: tuple[Merge, ...]

    @property
    def tokens(self) -> dict[str, int]:
        return {**self.keep, **{each.token: each.row for each in self.additions}}

    @property
    def is_unchanged(self) -> bool:
        return not self.additions and len(self.keep) == len(self.start.tokens)


class Gathering:
    """Find the tokens of the output, and remember the tokenizer that each comes from.

    A token whose id is beyond its model's embedding is ignored, since the model cannot generate it.
    """

    def __init__(self, choice: TokenizerChoice, models: TokenModels) -> None:
        self._choice = choice
        self._models = models
        source = models.first if choice.source in (UNION, BASE) else choice.source
        self._start = models.tokenizer(source, "tokenizer: source")
        limit = models.rows[source] if source in models.folders else None
        every = self._start.tokens.items()
        self._keep = {token: row for token, row in every if limit is None or row < limit}
        self._free = max(self._keep.values(), default=-1) + 1
        self._owners = dict.fromkeys(self._keep, self._start)
        self._additions: dict[str, Addition] = {}
        self._merges: list[Merge] = []

    def run(self) -> Gathered:
        if self._choice.source == UNION:
            for reference in self._models.folders:
                self._unite(self._models.stored[reference])
        else:
            self._restore()
        for token, entry in self._choice.tokens.items():
            if token not in self._owners:
                self._add_listed(token, entry.source.model if isinstance(entry.source, ModelToken) else None)
        return Gathered(
            start=self._start,
            keep=self._keep,
            additions=tuple(self._additions.values()),
            merges=tuple(self._merges),
        )

    def _restore(self) -> None:
        scores = scores_of(self._start)
        dropped = self._start.tokens.keys() - self._keep.keys()
        for token in sorted(dropped, key=lambda each: self._start.tokens[each]):
            if self._models.holders(token):
                self._add(token, self._start, scores.get(token))

    def _unite(self, other: StoredTokenizer) -> None:
        scores = scores_of(other)
        before = self._free
        for token in other.tokens:
            if self._models.row(other.reference, token) is not None:
                self._add(token, other, scores.get(token))
        new = [each for each in self._additions.values() if each.row >= before]
        pieces = [each.token for each in new if each.flags is None]
        if pieces:
            self._check_spelling(other, pieces)
        if pieces and self._start.kind == "BPE":
            names = {each.token for each in new}
            self._merges += [m for m in merges_of(other) if names.intersection((*m, "".join(m)))]

    def _add(self, token: str, other: StoredTokenizer, score: float | None) -> None:
        """Add a token, or make an existing one an added token if its owner's rules never produce it."""
        flags = other.added.get(token)
        owner = self._owners.get(token)
        if owner is None:
            self._owners[token] = other
            self._additions[token] = Addition(token=token, row=self._free, flags=flags, score=score)
            self._free += 1
        elif flags is not None and token not in owner.added and not owner.can_write(token):
            row = self._keep[token] if token in self._keep else self._additions[token].row
            self._additions[token] = Addition(token=token, row=row, flags=flags, score=score)
            self._owners[token] = other

    def _add_listed(self, token: str, model: str | None) -> None:
        holder = None if model is None else self._models.tokenizer(model, f"tokenizer: tokens: '{token}'")
        flags = dict(_SPECIAL) if holder is None else dict(holder.added.get(token, _SPECIAL))
        self._additions[token] = Addition(token=token, row=self._free, flags=flags)
        self._free += 1

    def _check_spelling(self, other: StoredTokenizer, pieces: Sequence[str]) -> None:
        if other.spelling != self._start.spelling:
            raise KingyoError(
                f"the tokenizers of {self._start.reference} and {other.reference}",
                "tokenizers of the same spelling, to unite them",
                f"{_describe(self._start)} and {_describe(other)}, with '{pieces[0]}' and "
                f"{counted(len(pieces) - 1, 'more piece')} that only the second has",
                "Set `tokenizer_source: base`, or remove one of the models.",
            )


def _describe(stored: StoredTokenizer) -> str:
    kind, space, *_ = stored.spelling
    return f"{kind} with '{space}' for a space"

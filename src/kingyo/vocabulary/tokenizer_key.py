"""Parse a recipe's ``tokenizer`` key, with mergekit's keys."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from typing import Final, cast

from kingyo.errors import KingyoError, suggest
from kingyo.recipe.checks import check_keys, mapping

UNION: Final = "union"
BASE: Final = "base"

_KEYS = ("source", "tokens", "pad_to_multiple_of")
_LARGEST_MULTIPLE = 1 << 16
_ENTRY_KEYS = ("source", "force")
_KINDS = ("zero", "model_token")
_MODEL_TOKEN_KEYS = ("kind", "model", "token", "token_id")


@dataclass(frozen=True, kw_only=True)
class Zero:
    """A row of zeros."""


@dataclass(frozen=True, kw_only=True)
class ModelToken:
    """A model's row of another token or id; of the same token if neither is given.

    Attributes:
        model: reference of the model, which need not be merged.
        token, token_id: at most one of them.
    """

    model: str
    token: str | None = None
    token_id: int | None = None


@dataclass(frozen=True, kw_only=True)
class TokenEntry:
    """The exception for one token.

    Attributes:
        source: its row in models that lack it; None applies the rule for missing tokens.
        force: use this row also in models that have the token.
    """

    source: Zero | ModelToken | None = None
    force: bool = False


@dataclass(frozen=True, kw_only=True)
class TokenizerChoice:
    """The vocabulary of the output, and the source of rows that a model lacks.

    Attributes:
        source: ``union``, ``base``, or the reference of the model that gives the tokenizer.
        tokens: exceptions by token; a token that the vocabulary lacks is added.
        pad_to_multiple_of: round the number of rows up to a multiple of this. None: one row per token, but at
            least as many as the model has whose tokenizer is extended.
    """

    source: str = UNION
    tokens: Mapping[str, TokenEntry] = field(default_factory=dict[str, TokenEntry])
    pad_to_multiple_of: int | None = None

    @property
    def references(self) -> tuple[str, ...]:
        """References in ``source`` and ``tokens``, without duplicates; some may not be merged."""
        references = [] if self.source in (UNION, BASE) else [self.source]
        references += [e.source.model for e in self.tokens.values() if isinstance(e.source, ModelToken)]
        return tuple(dict.fromkeys(references))

    def renamed(self, place: Callable[[str], str]) -> TokenizerChoice:
        """Return a copy with every model reference replaced by ``place(reference)``."""
        tokens = {
            token: replace(entry, source=replace(entry.source, model=place(entry.source.model)))
            if isinstance(entry.source, ModelToken)
            else entry
            for token, entry in self.tokens.items()
        }
        source = self.source if self.source in (UNION, BASE) else place(self.source)
        return replace(self, source=source, tokens=tokens)

    def to_dict(self) -> dict[str, object]:
        """Return the mapping for YAML's ``tokenizer`` key; the inverse of ``parse_tokenizer``."""
        data: dict[str, object] = {"source": self.source}
        if self.tokens:
            data["tokens"] = {token: _dump_entry(entry) for token, entry in self.tokens.items()}
        if self.pad_to_multiple_of is not None:
            data["pad_to_multiple_of"] = self.pad_to_multiple_of
        return data


def parse_tokenizer(data: object, where: str = "tokenizer") -> TokenizerChoice:
    """Parse the value of ``tokenizer`` (a mapping) or ``tokenizer_source`` (a text).

    Args:
        data: the value from the YAML.
        where: file and key, for messages.

    Raises:
        KingyoError: a key is unknown, or a value has the wrong type.
    """
    if isinstance(data, str):
        return TokenizerChoice(source=_text(data, where))
    pairs = _mapping(data, _KEYS, where, "Write union, base or a model, or lines such as `source: union`.")
    source = pairs.get("source")
    tokens = pairs.get("tokens")
    return TokenizerChoice(
        source=UNION if source is None else _text(source, f"{where}.source"),
        tokens={} if tokens is None else _parse_tokens(tokens, f"{where}.tokens"),
        pad_to_multiple_of=_multiple(pairs.get("pad_to_multiple_of"), f"{where}.pad_to_multiple_of"),
    )


def _parse_tokens(data: object, where: str) -> dict[str, TokenEntry]:
    pairs = mapping(data, where, "Write one line for each token, such as `<|im_start|>: {...}`.")
    for token in pairs:
        if not isinstance(cast("object", token), str):
            remedy = f"Put it in quotes: '{token}'."
            raise KingyoError(where, expected="tokens that are text", received=repr(token), remedy=remedy)
    return {token: _parse_entry(entry, f"{where}: '{token}'") for token, entry in pairs.items()}


def _parse_entry(data: object, where: str) -> TokenEntry:
    if data is None:
        return TokenEntry()
    pairs = _mapping(data, _ENTRY_KEYS, where, "Write `source:` below it, with a model or {kind: zero}.")
    force = pairs.get("force", False)
    if not isinstance(force, bool):
        remedy = "Write true or false without quotes."
        raise KingyoError(f"{where}: force", expected="true or false", received=repr(force), remedy=remedy)
    source = pairs.get("source")
    if force and source is None:
        raise KingyoError(
            where,
            expected="a source to force",
            received="force without source",
            remedy="Add `source:` with a model or {kind: zero}, or delete force.",
        )
    return TokenEntry(
        source=None if source is None else _parse_source(source, f"{where}: source"), force=force
    )


def _parse_source(data: object, where: str) -> Zero | ModelToken:
    if isinstance(data, str):
        return ModelToken(model=_text(data, where))
    pairs = _mapping(data, _MODEL_TOKEN_KEYS, where, "Write a model, or {kind: zero}.")
    kind = pairs.get("kind")
    if kind not in _KINDS:
        remedy = (
            suggest(kind, _KINDS) if isinstance(kind, str) else "Write `kind: zero` or `kind: model_token`."
        )
        raise KingyoError(f"{where}: kind", expected=" or ".join(_KINDS), received=repr(kind), remedy=remedy)
    if kind == "zero":
        _mapping(pairs, ("kind",), where, "Remove all other keys.")
        return Zero()
    model, token, token_id = (pairs.get(key) for key in _MODEL_TOKEN_KEYS[1:])
    if model is None or (token is None) == (token_id is None):
        raise KingyoError(
            where,
            expected="a model, and either token or token_id",
            received=", ".join(f"{key} {value!r}" for key, value in pairs.items()),
            remedy="Write it as {kind: model_token, model: path/to/model, token: <token>}.",
        )
    if token_id is not None and (isinstance(token_id, bool) or not isinstance(token_id, int) or token_id < 0):
        remedy = "Write the id as a whole number of at least 0."
        raise KingyoError(f"{where}: token_id", expected="an id", received=repr(token_id), remedy=remedy)
    return ModelToken(
        model=_text(model, f"{where}: model"),
        token=None if token is None else _text(token, f"{where}: token"),
        token_id=token_id,
    )


def _mapping(data: object, known: Sequence[str], where: str, remedy: str) -> Mapping[str, object]:
    """Return data that are a mapping with known keys."""
    pairs = mapping(data, where, remedy)
    check_keys(pairs, known, where)
    return pairs


def _text(value: object, where: str) -> str:
    if not isinstance(value, str) or not value:
        raise KingyoError(
            where,
            expected="text",
            received=repr(value),
            remedy="Write a text, in quotes if it looks like a number.",
        )
    return value


def _multiple(value: object, where: str) -> int | None:
    if value is not None and (
        isinstance(value, bool) or not isinstance(value, int) or not 1 <= value <= _LARGEST_MULTIPLE
    ):
        raise KingyoError(
            where,
            expected=f"a whole number from 1 to {_LARGEST_MULTIPLE}",
            received=repr(value),
            remedy="Write a number such as 64, or remove the key.",
        )
    return value


def _dump_entry(entry: TokenEntry) -> dict[str, object]:
    data: dict[str, object] = {}
    if isinstance(entry.source, Zero):
        data["source"] = {"kind": "zero"}
    elif entry.source is not None:
        data["source"] = _dump_model_token(entry.source)
    if entry.force:
        data["force"] = True
    return data


def _dump_model_token(source: ModelToken) -> object:
    if source.token is None and source.token_id is None:
        return source.model
    chosen = {"token": source.token} if source.token is not None else {"token_id": source.token_id}
    return {"kind": "model_token", "model": source.model, **chosen}

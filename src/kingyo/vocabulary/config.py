"""Update ``config.json`` and ``generation_config.json`` to a new vocabulary: its size and token ids.

Ids are found by the names of keys, at any depth and in any architecture.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Final, cast

from kingyo.errors import KingyoError
from kingyo.vocabulary.tokenizer_json import StoredTokenizer

_IDS: Final = re.compile(
    r"(_token_ids?|_token_index|^suppress_tokens|^begin_suppress_tokens|^bad_words_ids)$"
)
_SIZE: Final = re.compile(r"vocab_size$")
_ROLES: Final = ("bos_token", "eos_token", "pad_token")


@dataclass(frozen=True, kw_only=True)
class ConfigUpdate:
    """Translation of the ids in a model's configs into those of the output.

    Attributes:
        like: tokenizer of the model that the configs come from.
        rows: number of rows of that model's embedding.
        start: the tokenizer that the output's extends.
        tokens: tokens of the output, with their ids.
        n_rows: number of rows of the output's embedding.
    """

    like: StoredTokenizer
    rows: int
    start: StoredTokenizer
    tokens: Mapping[str, int]
    n_rows: int

    def of(self, config: Mapping[str, object]) -> dict[str, object]:
        """Return the keys of a config that change, with new values; nested configs are complete.

        Raises:
            KingyoError: the config names a token that the output lacks, and no other token replaces it.
        """
        changed: dict[str, object] = {}
        for key, value in config.items():
            new = self._update(key, value)
            if new != value:
                changed[key] = new
        return changed

    def _update(self, key: str, value: object) -> object:
        if isinstance(value, Mapping):
            nested = cast("Mapping[str, object]", value)
            return {**nested, **self.of(nested)}
        if _SIZE.search(key):
            return self.n_rows if value == self.rows else value
        return self._ids(key, value) if _IDS.search(key) else value

    def _ids(self, key: str, value: object) -> object:
        if isinstance(value, list):
            translated = [self._ids("", each) for each in cast("list[object]", value)]
            ids = [each for each in translated if each is not None]
            new = self._new_role(key)
            return ids if new is None or new in ids else [new, *ids]
        if isinstance(value, bool) or not isinstance(value, int):
            return value
        new = self._new_role(key)
        return self._id(key, value) if new is None else new

    def _new_role(self, key: str) -> int | None:
        """Return the new id of a role such as ``eos_token`` if its token changes, else None."""
        role = key.removesuffix("_id")
        token = self.start.named.get(role) if role in _ROLES else None
        return None if token is None or token == self.like.named.get(role) else self.tokens.get(token)

    def _id(self, key: str, value: int) -> int | None:
        token = self.like.by_id.get(value)
        if token is None:  # not an id of a token, such as -1
            return value
        if token in self.tokens:
            return self.tokens[token]
        if not key or key.removesuffix("_id") in _ROLES:  # an entry of a list, or a role that may be absent
            return None
        raise KingyoError(
            f"{key} in config.json",
            expected="a token of the output",
            received=f"'{token}' of {self.like.reference}, which the output lacks",
            remedy=f"Add it below `tokenizer: tokens:` as `'{token}': {{}}`, or set `source: union`.",
        )

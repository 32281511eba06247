"""What a new vocabulary changes in ``config.json`` and ``generation_config.json``: sizes and token ids.

Ids are found by their keys' names, at any depth, so it knows no architecture.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from typing import Final, cast

from kingyo.errors import KingyoError
from kingyo.vocabulary.stored import StoredTokenizer

_IDS: Final = re.compile(
    r"(_token_ids?|_token_index|^suppress_tokens|^begin_suppress_tokens|^bad_words_ids)$"
)
_SIZE: Final = re.compile(r"vocab_size$")
_ROLES: Final = ("bos_token", "eos_token", "pad_token")


class ConfigUpdate:
    """Translates the ids of one model's configs into those of the output.

    Args:
        like: the tokenizer of the model whose configs are taken over.
        rows: how many rows that model's embedding has.
        start: the tokenizer that the output's begins with.
        tokens: the output's tokens.
        n_rows: the rows of its embedding.
    """

    def __init__(
        self,
        like: StoredTokenizer,
        rows: int,
        *,
        start: StoredTokenizer,
        tokens: Mapping[str, int],
        n_rows: int,
    ) -> None:
        self._like = like
        self._rows = rows
        self._start = start
        self._tokens = tokens
        self._n_rows = n_rows

    def of(self, config: Mapping[str, object]) -> dict[str, object]:
        """The keys of a config that change, with their new values; a nested config appears whole.

        Raises:
            KingyoError: it names a token that the output lacks and that nothing stands in for.
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
            return self._n_rows if value == self._rows else value
        return self._ids(key, value) if _IDS.search(key) else value

    def _ids(self, key: str, value: object) -> object:
        if isinstance(value, list):
            found = [self._ids("", each) for each in cast("list[object]", value)]
            kept = [each for each in found if each is not None]
            new = self._new_role(key)
            return kept if new is None or new in kept else [new, *kept]
        if isinstance(value, bool) or not isinstance(value, int):
            return value
        new = self._new_role(key)
        return self._id(key, value) if new is None else new

    def _new_role(self, key: str) -> int | None:
        """The id of a role's token where the new tokenizer has another token for it than the old one."""
        role = key.removesuffix("_id")
        named = self._start.named.get(role) if role in _ROLES else None
        return None if named is None or named == self._like.named.get(role) else self._tokens.get(named)

    def _id(self, key: str, value: int) -> int | None:
        token = self._like.by_id.get(value)
        if token is None:  # no token, such as -1: nothing to translate
            return value
        if token in self._tokens:
            return self._tokens[token]
        if not key or key.removesuffix("_id") in _ROLES:  # in a list, or a role that the new tokenizer lacks
            return None
        raise KingyoError(
            f"{key} in config.json",
            expected="a token of the output",
            received=f"'{token}' of {self._like.reference}, which the output lacks",
            remedy=f"Add it below `tokenizer: tokens:`, as `'{token}': {{}}`, or take `source: union`.",
        )

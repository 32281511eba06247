"""Prompt templates, parsed once and filled for every row: ``{field}`` is replaced, other braces stay."""

from __future__ import annotations

import re
from collections.abc import Mapping

from kingyo.errors import KingyoError, suggest

_PIECES = re.compile(r"(\{\{|\}\}|\{[^{}\n]*\})")


class Template:
    """A prompt with places for the fields of a row.

    A brace is literal when doubled, or when what it holds is neither a column nor shaped like a name:
    ``{"json": 1}`` needs no care, ``\\frac{{a}}{{b}}`` does.
    """

    def __init__(self, source: str) -> None:
        self._pieces = _PIECES.split(source)

    def fill(self, fields: Mapping[str, str], where: str) -> str:
        """Return the prompt of one row.

        Args:
            fields: the columns of the row; their own braces mean nothing.
            where: the file and line, for messages.

        Raises:
            KingyoError: the template names a field that the row lacks.
        """
        return "".join(self._piece(piece, fields, where) for piece in self._pieces)

    def uses(self, fields: Mapping[str, str]) -> bool:
        """Whether any column appears in the template."""
        return any(piece[1:-1] in fields for piece in self._pieces if piece.startswith("{"))

    @staticmethod
    def _piece(piece: str, fields: Mapping[str, str], where: str) -> str:
        if piece in ("{{", "}}"):
            return piece[0]
        name = piece[1:-1] if piece.startswith("{") and piece.endswith("}") else ""
        if name in fields:
            return fields[name]
        if name.isidentifier():
            raise KingyoError(
                f"{where}: prompt",
                expected=f"a field '{name}' in the row",
                received="none",
                remedy=f"{suggest(name, fields)} Write {{{{ and }}}} for literal braces.",
            )
        return piece

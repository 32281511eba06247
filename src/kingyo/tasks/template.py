"""Prompt templates: ``{field}`` is replaced by a column of the row, other braces stay."""

from __future__ import annotations

import re
from collections.abc import Mapping

from kingyo.errors import KingyoError, suggest

_PIECES = re.compile(r"(\{\{|\}\}|\{[^{}\n]*\})")


class Template:
    """A prompt with placeholders for the fields of a row.

    Doubled braces are literal, and so are braces around anything but a column or an identifier:
    ``{"json": 1}`` needs no doubling, ``\\frac{{a}}{{b}}`` does.
    """

    def __init__(self, source: str) -> None:
        self._pieces = _PIECES.split(source)

    def fill(self, fields: Mapping[str, str], where: str) -> str:
        """Return the prompt of one row.

        Args:
            fields: the columns of the row; braces in their text are literal.
            where: the file and line, for messages.

        Raises:
            KingyoError: the template names a field that the row lacks.
        """
        return "".join(self._piece(piece, fields, where) for piece in self._pieces)

    def uses(self, fields: Mapping[str, str]) -> bool:
        """Return whether the template uses any column."""
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
                received="no such field",
                remedy=f"{suggest(name, fields)} Write {{{{ and }}}} for literal braces.",
            )
        return piece

"""Put untrusted text into Markdown so that it cannot break out of a cell, fence or list."""

from __future__ import annotations

import re
from collections.abc import Iterable, Sequence


def cell(text: str) -> str:
    """Escape text for Markdown and its tables: no markup, no pipes, one line."""
    plain = " ".join(text.split())
    return re.sub(r"([\\`*_\[\]|<>#])", r"\\\1", plain)


def fence(text: str, language: str) -> str:
    """Put text into a code fence longer than any in the text."""
    longest = max((len(run) for run in re.findall(r"`+", text)), default=0)
    ticks = "`" * max(3, longest + 1)
    return f"{ticks}{language}\n{text.rstrip()}\n{ticks}"


def bullets(lines: Iterable[str]) -> str:
    """Return a bulleted list."""
    return "\n".join(f"- {line}" for line in lines)


def table(head: Sequence[str], rows: Iterable[Sequence[str]]) -> str:
    """Return a table."""
    lines = [head, ["---"] * len(head), *rows]
    return "\n".join(f"| {' | '.join(line)} |" for line in lines)

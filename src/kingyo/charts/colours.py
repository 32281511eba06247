"""The colours of pages and pictures, by name: a light and a dark theme."""

from __future__ import annotations

import re
from collections.abc import Mapping

LIGHT: Mapping[str, str] = {
    "page": "#fdfdfc",
    "card": "#ffffff",
    "ink": "#1c1c1e",
    "muted": "#63666b",
    "rule": "#e6e5e2",
    "wash": "#f5f4f1",
    "accent": "#cf3a1d",
    "accent-text": "#b93116",
    "accent-wash": "#fdf1ed",
    "grey": "#8b8e93",
    "grey-light": "#cdcecf",
    "blue": "#0072b2",
    "ochre": "#b07400",
    "green": "#00795a",
    "violet": "#7a4fb0",
    "pink": "#b8477f",
    "brown": "#8a5a3c",
}
DARK: Mapping[str, str] = {
    "page": "#131416",
    "card": "#1a1c1f",
    "ink": "#ececea",
    "muted": "#a1a4a9",
    "rule": "#2e3034",
    "wash": "#1d1f22",
    "accent": "#ff6b47",
    "accent-text": "#ff8667",
    "accent-wash": "#2b1a15",
    "grey": "#7b7f85",
    "grey-light": "#4b4e53",
    "blue": "#56b4e9",
    "ochre": "#e69f00",
    "green": "#2fc79a",
    "violet": "#b394e6",
    "pink": "#ee8fbb",
    "brown": "#c79a78",
}
SERIES = tuple(f"var(--{name})" for name in ("accent", "blue", "ochre", "green", "violet", "grey"))
"""Colours of series shown side by side."""
SOURCES = tuple(f"var(--{name})" for name in ("green", "ochre", "violet", "pink", "brown", "grey"))
"""Colours of models; they avoid the red and blue used for positive and negative numbers."""

_VARIABLE = re.compile(r"var\(--([a-z-]+)\)")


def variables(theme: Mapping[str, str]) -> str:
    """Return a theme as CSS declarations."""
    return " ".join(f"--{name}: {colour};" for name, colour in theme.items())


def resolve_variables(text: str) -> str:
    """Replace CSS variables with the light theme's colours, for renderers without CSS."""
    return _VARIABLE.sub(lambda match: LIGHT[match.group(1)], text)

"""The colours of pictures on paper: those of the page's light theme, as matplotlib names them."""

from __future__ import annotations

from matplotlib.colors import LinearSegmentedColormap

INK, MUTED, RULE, ACCENT, GREY = "#1c1c1e", "#63666b", "#e6e5e2", "#cf3a1d", "#8b8e93"
SOURCES = ("#00795a", "#b07400", "#7a4fb0", "#b8477f", "#8a5a3c", GREY)
SIGNED = LinearSegmentedColormap.from_list("signed", ["#2f6d9e", "#f3f1ee", ACCENT])
POSITIVE = LinearSegmentedColormap.from_list("positive", ["#f3f1ee", ACCENT])
